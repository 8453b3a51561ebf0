"""The outcome of a check in plain words: the expectations that are not met, and the outliers by name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthdrive.core.errors import from_extra

with from_extra("pipeline"):
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult

EXAMPLES = 5  # rows that a message names


@dataclass(frozen=True)
class Outlier:
    """A row that does not meet an expectation.

    Attributes:
        table: name of the row's table.
        row: the row's keys, separated by spaces: a scene's id, or a lane's city and id.
        expected: the expectation in words.
        found: the value, as text.
    """

    table: str
    row: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.table}: {self.row} ({self.found}): {self.expected}"


@dataclass(frozen=True)
class Outcome:
    """The result of checking one or more tables.

    Attributes:
        success: whether every expectation is met.
        evaluated: number of expectations.
        failures: for each expectation that is not met, what was expected and what was found, in plain words.
        outliers: every row beyond a limit that permits outliers.
    """

    success: bool
    evaluated: int
    failures: list[str]
    outliers: list[Outlier]

    def report(self, section: str, out: Path, docs: Path) -> int:
        """Print the outcome; return the stage's exit status: 0, or 1 to stop the pipeline."""
        if self.success:
            print(f"{section}: all {self.evaluated} expectations are met")
        else:
            print(f"{section}: {len(self.failures)} of {self.evaluated} expectations are not met:", file=sys.stderr)
            for failure in self.failures:
                print(f"  - {failure}", file=sys.stderr)
            print(
                f"Section {section} of params.yaml sets the limits and how many outliers they permit. "
                f"Details: {docs}/index.html",
                file=sys.stderr,
            )
        if self.outliers:
            rows = len({(outlier.table, outlier.row) for outlier in self.outliers})
            print(f"{section}: {rows} rows are beyond a limit that permits outliers; all are listed in {out}")
            for outlier in self.outliers[:EXAMPLES]:
                print(f"  {outlier}")
        return 0 if self.success else 1


def find_outliers(table: str, keys: Sequence[str], result: ExpectationValidationResult) -> list[Outlier]:
    """Return the rows of a table that miss a limit which permits outliers; none for other expectations."""
    config = result.expectation_config
    if config is None or config.kwargs.get("mostly", 1.0) >= 1:
        return []
    words = str(config.description).partition(" (outliers permitted")[0]  # a note by `suites`
    listed = result.result.get("partial_unexpected_index_list") or []
    return [Outlier(table, _row_name(entry, keys), words, _values(entry, keys)) for entry in listed]


def describe_failure(table: str, keys: Sequence[str], result: ExpectationValidationResult) -> str:
    """Say in plain words what a table was expected to hold and what was found."""
    config, found = result.expectation_config, result.result
    expected = f"{table}: {config.description or config.type}" if config else table
    if "unexpected_count" in found:
        missing = found.get("missing_count") or 0
        count, rows = found["unexpected_count"] + missing, found["element_count"]
        examples = [_example(entry, keys) for entry in found.get("partial_unexpected_index_list", [])[:EXAMPLES]]
        listed = f"; e.g. {', '.join(examples)}" if examples else ""
        return f"{expected}. Found {count} of {rows} rows otherwise{listed}"
    if "observed_value" in found:
        return f"{expected}. Found {found['observed_value']}"
    return f"{expected}. Could not be checked: {_exception_message(result.exception_info)}"


def _example(entry: dict[str, Any], keys: Sequence[str]) -> str:
    name, values = _row_name(entry, keys), _values(entry, keys)
    return f"{name} ({values})" if values else name


def _row_name(entry: dict[str, Any], keys: Sequence[str]) -> str:
    return " ".join(str(entry[key]) for key in keys if key in entry)


def _values(entry: dict[str, Any], keys: Sequence[str]) -> str:
    return ", ".join(f"{column} {_number(value)}" for column, value in entry.items() if column not in keys)


def _number(value: object) -> str:
    return f"{float(value):.4g}" if isinstance(value, float) else str(value)


def _exception_message(information: dict[str, Any]) -> str:
    entries = [information, *(entry for entry in information.values() if isinstance(entry, dict))]
    return next((str(entry["exception_message"]) for entry in entries if entry.get("exception_message")), "unknown")
