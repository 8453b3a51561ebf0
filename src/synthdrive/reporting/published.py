"""The numbers that the paper and its release state, from their one data file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from synthdrive.core.errors import InputError
from synthdrive.reporting.wording import HEADLINE

_SECTIONS = ("paper", "data", "table", "table_changes", "abstract", "other", "motion", "settings")


@dataclass(frozen=True)
class Published:
    """What is published.

    Attributes:
        values: the file's content; MR6 in per cent, minFDE6 and minADE6 in metres, changes in per cent.
    """

    values: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> Published:
        """Read the file; raises InputError naming the key where a section or a headline metric is missing."""
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(path, "no such file", "the published numbers") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(path, f"unreadable YAML ({error})", "the published numbers") from None
        for section in _SECTIONS:
            if not isinstance(values, dict) or not isinstance(values.get(section), dict):
                raise InputError(path, f"no section {section!r}", f"sections {', '.join(_SECTIONS)}")
        for section in ("table", "table_changes", "other"):
            for row, numbers in values[section].items():
                for metric in HEADLINE:
                    if not isinstance(numbers.get(metric), (int, float)):
                        raise InputError(f"{path}: {section}.{row}", f"no number {metric}", ", ".join(HEADLINE))
        return cls(values)

    def level(self, row: str, metric: str) -> float | None:
        """A value of the main table; None where the variant is not in it."""
        return self._number("table", row, metric)

    def change(self, row: str, metric: str) -> float | None:
        """The printed change against the baseline, per cent; None where there is none."""
        return self._number("table_changes", row, metric)

    def recomputed_change(self, row: str, metric: str, baseline: str = "none") -> float:
        """The change against the baseline, per cent, from the table's own values."""
        table = self.values["table"]
        return 100.0 * (float(table[row][metric]) / float(table[baseline][metric]) - 1.0)

    def fill(self, text: str) -> str:
        """The text with its fields ({table.map.MR6:.2f}) replaced; raises InputError for a field that is not there."""
        try:
            filled = text.format(**{section: _namespace(self.values[section]) for section in _SECTIONS})
        except (AttributeError, KeyError, ValueError, IndexError) as error:
            raise InputError(
                repr(text), f"a field that cannot be filled ({error})", "a number of published.yaml"
            ) from None
        return re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", filled)

    def _number(self, section: str, row: str, metric: str) -> float | None:
        value = self.values[section].get(row, {}).get(metric)
        return None if value is None else float(value)


def _namespace(values: Any) -> Any:
    if isinstance(values, dict):
        return SimpleNamespace(**{str(key): _namespace(value) for key, value in values.items()})
    return values
