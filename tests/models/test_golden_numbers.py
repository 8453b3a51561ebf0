"""Tests of the method against the committed golden numbers, which equal those of the reference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from golden_numbers import FILE, golden_numbers

EXPECTED = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return golden_numbers()


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from leaves(one, f"{name}{key}: ")
    else:
        yield name.removesuffix(": "), value


@pytest.mark.parametrize("part", EXPECTED)
def test_numbers_equal_the_committed_ones(part, found):
    ours, theirs = dict(leaves(found[part])), dict(leaves(EXPECTED[part]))
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        np.testing.assert_allclose(ours[name], expected, rtol=1e-6, atol=1e-7, err_msg=f"{part}: {name}")
