"""Small files that `dvc plots`, `dvc exp show` and `dvc exp diff` read: training curves and headline metrics."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthdrive.core.artifacts import write_json
from synthdrive.reporting.measurements import Measurements
from synthdrive.reporting.metric_names import HEADLINE, metric

Floats = npt.NDArray[np.float64]


def write_curves(folder: Path, curves: Mapping[str, Sequence[Mapping[str, Floats]]]) -> None:
    """One CSV a variant, `<folder>/<variant>.csv`: the mean over its seeds of every column of the curve."""
    folder.mkdir(parents=True, exist_ok=True)
    for variant, runs in curves.items():
        if not runs or len({len(run["epoch"]) for run in runs}) != 1:
            continue
        columns = {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
        rows = zip(*(columns[name] for name in columns), strict=True)
        _write(folder / f"{variant}.csv", list(columns), ([f"{value:.6g}" for value in row] for row in rows))


def write_results(path: Path, measured: Measurements) -> None:
    """One row a variant (or baseline) and seed: the headline metrics with the 95 % interval of the variant's mean."""
    names = [column for name in HEADLINE for column in (name, f"{name}_low", f"{name}_high")]
    rows = []
    for variant in [*measured.baselines, *measured.variants]:
        levels = {name: measured.level(variant, name) for name in HEADLINE}
        for place, seed in enumerate(measured.row(variant).seeds or ("",)):
            numbers = [number for level in levels.values() for number in (level.seeds[place], level.low, level.high)]
            rows.append([variant, str(seed), *(f"{number:.6g}" for number in numbers)])
    _write(path, ["variant", "seed", *names], rows)


def write_metrics(path: Path, measured: Measurements) -> None:
    """One number a variant (or baseline) and headline metric, the mean over seeds, in the units of the metrics files.

    `dvc exp show` makes each a column, `minFDE6.none`; the files by cell have a column for every seed.
    """
    rows = [*measured.variants, *measured.baselines]
    means: dict[str, dict[str, float]] = {}
    for name in HEADLINE:
        values = {row: measured.row(row).values[name].mean() / metric(name).scale for row in rows}
        means[name] = {row: round(float(value), 6) for row, value in values.items()}
    write_json(path, means)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
