"""The paper's table beside ours: one row a variant, levels with their spread, paired differences with their interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from synthdrive.reporting.measurements import Difference, Level, Measurements
from synthdrive.reporting.metric_names import HEADLINE, metric
from synthdrive.reporting.published import Published

LABELS = {
    "none": "No pre-training (baseline)",
    "map": "Map reconstruction",
    "trajectory": "Trajectory reconstruction",
    "combined": "Combined",
    "as_released": "Combined, as released",
    "forecast": "Forecasting pre-training",
    "constant_velocity": "Constant velocity",
    "lane_following": "Lane following",
}


@dataclass(frozen=True)
class Cell:
    """One metric of one row.

    Attributes:
        level: what was measured; None where the variant was not run.
        difference: against the reference variant; None for the reference itself and for baselines.
        published: the paper's value; published_change: its printed change against its baseline, per cent.
    """

    level: Level | None
    difference: Difference | None
    published: float | None
    published_change: float | None


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: variant or baseline; label: as shown.
        kind: learned, baseline or not run.
        cells: by metric name.
    """

    name: str
    label: str
    kind: str
    cells: Mapping[str, Cell]


def label_of(name: str) -> str:
    """A variant's or baseline's name as shown; unknown ones are their own label."""
    return LABELS.get(name, name.replace("_", " "))


def results_table(measured: Measurements, published: Published, metrics: Sequence[str] = HEADLINE) -> list[Row]:
    """Baselines first, then the paper's rows in its order, then variants that it does not have."""
    table = list(published.values["table"])
    names = [*measured.baselines, *table, *(variant for variant in measured.variants if variant not in table)]
    return [_row(name, measured, published, metrics) for name in names]


def losing_rows(rows: Sequence[Row], metrics: Sequence[str] = HEADLINE) -> list[str]:
    """A sentence for every learned row and every baseline without training that beats or equals it in a metric."""
    found = []
    for row in rows:
        for baseline in rows:
            if row.kind != "learned" or baseline.kind != "baseline":
                continue
            lost = []
            for name in metrics:
                ours, theirs = row.cells[name].level, baseline.cells[name].level
                lost += loss(name, ours.mean, theirs.mean) if ours and theirs else []
            if lost:
                found.append(f"{row.label} does not beat {baseline.label.lower()} in {', '.join(lost)}.")
    return found


def loss(name: str, ours: float, theirs: float) -> list[str]:
    """The metric with both of its values where the first is not lower, else nothing."""
    if ours < theirs:
        return []
    what = metric(name)
    return [f"{what.label} ({what.text(ours)} against {what.text(theirs)} {what.unit})"]


def rows_as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The table as plain values."""
    plain = []
    for row in rows:
        cells = {}
        for name, cell in row.cells.items():
            values: dict[str, Any] = asdict(cell)
            if cell.difference is not None and cell.difference.relative is not None:
                names = ("relative", "relative_low", "relative_high")
                values["difference"] |= dict(zip(names, cell.difference.relative, strict=True))
            cells[name] = values
        plain.append({"name": row.name, "label": row.label, "kind": row.kind, "metrics": cells})
    return plain


def _row(name: str, measured: Measurements, published: Published, metrics: Sequence[str]) -> Row:
    baseline, run = name in measured.baselines, name in measured.variants
    cells = {}
    for entry in metrics:
        compared = run and name != measured.reference
        cells[entry] = Cell(
            level=measured.level(name, entry) if baseline or run else None,
            difference=measured.difference(name, measured.reference, entry) if compared else None,
            published=published.level(name, entry),
            published_change=published.change(name, entry),
        )
    return Row(name, label_of(name), "baseline" if baseline else "learned" if run else "not run", cells)
