"""The cells of a run: every variant with every seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synthdrive.core.errors import ParameterError
from synthdrive.parameters.loading import DEFAULT_PATH, read_parameters


@dataclass(frozen=True)
class SelectedRuns:
    """Variants and seeds of a run.

    Attributes:
        variants: in the order of the run; the first is the baseline that the others are compared with.
        seeds: training seeds; every variant is trained with each.
    """

    variants: tuple[str, ...]
    seeds: tuple[int, ...]


def load_selected_runs(path: Path = DEFAULT_PATH) -> SelectedRuns:
    """`run_variants` and `seeds` of a parameter file.

    Raises:
        ParameterError: one of them is missing, empty, of the wrong type, or names something twice.
    """
    values = read_parameters(path)
    found = []
    for key, kind, what in (("run_variants", str, "names of variants"), ("seeds", int, "whole numbers")):
        entries = values.get(key)
        if not isinstance(entries, list) or not entries or any(type(entry) is not kind for entry in entries):
            raise ParameterError(f"{path}: {key}", repr(entries), f"a list of {what}")
        if len(set(entries)) != len(entries):
            raise ParameterError(f"{path}: {key}", repr(entries), "each of them once")
        found.append(tuple(entries))
    return SelectedRuns(variants=found[0], seeds=found[1])
