"""Gate results in the reader's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """One table that a gate looked at.

    Attributes:
        name: what it holds.
        rows: how many rows were looked at; None where the result does not say.
        expectations: in words, and whether each was met.
    """

    name: str
    rows: int | None
    expectations: tuple[tuple[str, bool], ...]

    @property
    def met(self) -> int:
        """How many expectations were met."""
        return sum(met for _, met in self.expectations)


@dataclass(frozen=True)
class Gate:
    """One gate.

    Attributes:
        name: its name; success: whether every expectation was met; tables: what it looked at.
    """

    name: str
    success: bool
    tables: tuple[Table, ...]

    @property
    def evaluated(self) -> int:
        """Number of expectations."""
        return sum(len(table.expectations) for table in self.tables)


def gates(results: Mapping[str, Mapping[str, Any]]) -> list[Gate]:
    """Gates from the checkpoints' descriptions."""
    return [
        Gate(name, bool(result.get("success")), tuple(map(_table, result.get("validation_results", ()))))
        for name, result in results.items()
    ]


def _table(validation: Mapping[str, Any]) -> Table:
    entries = validation.get("expectations", ())
    counts = [entry.get("result", {}).get("element_count") for entry in entries]
    rows = next((count for count in counts if isinstance(count, int)), None)
    met = tuple((_words(entry), bool(entry.get("success"))) for entry in entries)
    return Table(str(validation.get("table", "table")), rows, met)


def _words(entry: Mapping[str, Any]) -> str:
    return str(entry.get("description") or entry.get("expectation_type") or "expectation")
