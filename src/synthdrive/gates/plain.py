"""Expectations with their meaning in plain words.

Great Expectations passes over missing values, NaN included: `tables` adds a column `complete` that says where one is.
"""

from __future__ import annotations

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation


def within(column: str, low: float, high: float, words: str, share: float = 1.0) -> Expectation:
    """Values from `low` to `high`, in at least this share of rows; `words` may use {low}, {high} and {share}."""
    text = words.format(low=low, high=high, share=share)
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, mostly=share, description=text
    )


def at_most(column: str, high: float, words: str, share: float = 1.0) -> Expectation:
    """Values of at most `high`, in at least this share of rows; `words` may use {high} and {share}."""
    text = words.format(high=high, share=share)
    return gxe.ExpectColumnValuesToBeBetween(column=column, max_value=high, mostly=share, description=text)


def at_least(column: str, low: float, words: str, share: float = 1.0) -> Expectation:
    """Values of at least `low`, in at least this share of rows; `words` may use {low} and {share}."""
    text = words.format(low=low, share=share)
    return gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, mostly=share, description=text)


def is_true(column: str, words: str, share: float = 1.0) -> Expectation:
    """True, in at least this share of rows; `words` may use {share}."""
    text = words.format(share=share)
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[True], mostly=share, description=text)


def one_of(column: str, values: list[str], words: str) -> Expectation:
    """One of these values."""
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=values, description=words)
