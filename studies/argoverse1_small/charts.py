"""Charts of the first study's page, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from studies.argoverse1_small.collected import StudyRuns
from studies.argoverse1_small.comparisons import ComparedVariant
from studies.argoverse1_small.plan import AmountCurve
from synthdrive.reporting.charts import SMALLEST_FRACTION, Estimate, Series, interval_chart, line_chart
from synthdrive.reporting.picture import colour, variant_colour
from synthdrive.reporting.wording import label_of, metric

_FURTHEST = 15.0  # largest endpoint error in the chart (m)


def comparison_chart(compared: Sequence[ComparedVariant], name: str) -> str:
    """Draw the relative changes of one metric with their intervals; return SVG, or an empty text if there are none."""
    estimates = []
    for place, row in enumerate(compared):
        difference = row.differences[name]
        if difference is None or difference.relative is None:
            continue
        relative, low, high = difference.relative
        dots = tuple(100.0 * value / difference.reference for value in difference.seeds)
        estimates.append(Estimate(label_of(row.variant), variant_colour(place), relative, low, high, dots))
    label = f"change in {metric(name).label} (%)"
    return interval_chart(estimates, label, colour("ink"), zero=colour("muted")) if estimates else ""


def curve_chart(curve: AmountCurve, points: Mapping[tuple[str, float], ComparedVariant | None], name: str) -> str:
    """Draw one line per series through the amounts that have runs, for the seeds that these have in common."""
    series = []
    for place, label in enumerate(curve.series):
        rows = [(x, row) for x in curve.x if (row := points[label, x]) is not None]
        if len(rows) < 2:
            continue
        seeds = sorted(set.intersection(*(set(row.seeds) for _, row in rows)))
        runs = [[row.levels[name].seeds[row.seeds.index(seed)] for _, row in rows] for seed in seeds]
        if runs:
            series.append(Series(label, variant_colour(place), np.array([x for x, _ in rows]), np.array(runs)))
    label = f"{metric(name).label} ({metric(name).unit})"
    return line_chart(series, curve.x_label, label, legend=True) if series else ""


def spread_chart(variants: Sequence[str], runs: StudyRuns) -> str:
    """Draw the fraction of scenes with a minFDE6 above x; return SVG, or an empty text if no variant has runs."""
    x = np.linspace(0.0, _FURTHEST, 61)
    series = []
    for place, variant in enumerate(variants):
        seeds, (errors,) = runs.paired_errors([variant], "minFDE6")  # [R, S]
        if seeds:
            beyond = 100.0 * (errors[:, :, None] > x).mean(axis=1)  # [R, 61]
            series.append(Series(label_of(variant), variant_colour(place), x, np.maximum(beyond, SMALLEST_FRACTION)))
    return line_chart(series, "minFDE6 (m)", "scenes with a larger error (%)", log=True, legend=True) if series else ""


def learning_chart(variants: Sequence[str], runs: StudyRuns) -> str:
    """Draw the learning curves of fine-tuning; return SVG, or an empty text if no variant has runs."""
    series = []
    for place, variant in enumerate(variants):
        curves = [run.learning["top1_fde"] for run in runs.variants.get(variant, {}).values()]
        if curves:
            epochs = np.arange(1.0, len(curves[0]) + 1.0)
            series.append(Series(label_of(variant), variant_colour(place), epochs, np.array(curves)))
    return line_chart(series, "epoch", "endpoint error (m)", legend=True) if series else ""
