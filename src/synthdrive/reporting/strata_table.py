"""Errors by kind of scene: each variant's mean over seeds in every stratum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthdrive.reporting.metric_names import metric
from synthdrive.reporting.results_table import label_of

NAMES = {
    "all": "all scenes", "left": "left turns", "straight": "straight on", "right": "right turns", "slow": "slow",
    "medium": "medium speed", "fast": "fast", "intersection": "at intersections",
    "no_intersection": "away from intersections",
}  # fmt: skip


@dataclass(frozen=True)
class StratumRow:
    """One stratum.

    Attributes:
        name: in words; scenes: how many; values: as shown, one a column of the table.
    """

    name: str
    scenes: int
    values: tuple[str, ...]


@dataclass(frozen=True)
class StrataTable:
    """A metric by stratum and variant.

    Attributes:
        metric: label with unit; columns: labels of baselines and variants; rows: the strata.
    """

    metric: str
    columns: tuple[str, ...]
    rows: tuple[StratumRow, ...]


def strata_table(by_name: Mapping[str, Sequence[Mapping[str, Any]]], name: str = "minFDE6") -> StrataTable:
    """The table of one metric; `by_name`: variant or baseline -> the strata of each of its seeds."""
    what = metric(name)
    first = next(iter(by_name.values()))[0]
    rows = []
    for stratum in sorted(first, key=stratum_order):
        content = first[stratum]
        if not content["scenes"]:
            continue
        values = []
        for runs in by_name.values():
            means = [run[stratum][name]["mean"] * what.scale for run in runs]
            values.append(what.text(sum(means) / len(means)))
        rows.append(StratumRow(stratum_words(stratum), content["scenes"], tuple(values)))
    return StrataTable(f"{what.label} ({what.unit})", tuple(map(label_of, by_name)), tuple(rows))


def stratum_order(stratum: str) -> tuple[int, float, str]:
    """Strata in the order of NAMES, then by displacement, then by name."""
    if stratum in NAMES:
        return list(NAMES).index(stratum), 0.0, stratum
    parts = stratum.removeprefix("displacement_").removeprefix("from_").split("_")
    return len(NAMES), float(parts[0]) if parts[0].replace(".", "").isdigit() else np.inf, stratum


def stratum_words(stratum: str) -> str:
    """The stratum as a reader would say it."""
    if stratum.startswith("displacement_from_"):
        return f"gets {stratum.removeprefix('displacement_from_')} m or further"
    if stratum.startswith("displacement_"):
        low, high = stratum.removeprefix("displacement_").split("_")
        return f"gets {low} to {high} m"
    return NAMES.get(stratum, stratum.replace("_", " "))
