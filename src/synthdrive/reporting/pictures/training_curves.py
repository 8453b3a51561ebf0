"""Training curves of pre-training and fine-tuning, one panel a loss, one line a variant, a band over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from synthdrive.reporting.palette import VARIANTS, variant_colour
from synthdrive.reporting.picture import LegendEntry, Panel, Picture
from synthdrive.reporting.pictures.charts import Series, line_chart
from synthdrive.reporting.results_table import label_of

Floats = npt.NDArray[np.float64]
Curve = Mapping[str, Floats]  # column -> (N,) values, a row an interval of training

SMOOTHED = 5  # points of a curve that are averaged: single batches differ more than epochs do
SHOWN = {
    "pretrain": {"loss": "loss", "map": "map loss", "trajectory": "trajectory loss"},
    "finetune": {
        "loss": "loss",
        "completion": "completion error (m)",
        "top1_fde": "FDE of the likeliest goal (m)",
    },
}
TITLES = {"pretrain": "Pre-training", "finetune": "Fine-tuning"}


def smoothed(runs: Floats) -> Floats:
    """(R, N) values averaged over SMOOTHED neighbours; fewer at the ends."""
    half = SMOOTHED // 2
    windows = [runs[:, max(0, place - half) : place + half + 1].mean(axis=1) for place in range(runs.shape[1])]
    return np.stack(windows, axis=1)


def training_curves(stage: str, curves: Mapping[str, Sequence[Curve]], variants: Sequence[str]) -> Picture | None:
    """The stage's losses over its epochs; None where no variant has a curve.

    Args:
        stage: pretrain or finetune.
        curves: variant -> the curve of each seed.
        variants: all variants of the run, which settles the colours.
    """
    trained = [variant for variant in variants if curves.get(variant)]
    if not trained:
        return None
    panels = []
    for column, label in SHOWN[stage].items():
        series = []
        for variant in trained:
            runs = [curve[column] for curve in curves[variant] if column in curve]
            if runs and len({len(run) for run in runs}) == 1 and np.abs(runs).max() > 0:
                epochs = curves[variant][0]["epoch"]
                series.append(
                    Series(label_of(variant), variant_colour(variants.index(variant)), epochs, smoothed(np.stack(runs)))
                )
        if series:
            panels.append(
                Panel(column.replace("_", "-"), f"{TITLES[stage]}: {label}", line_chart(series, "epoch", label))
            )
    seeds = max(len(curves[variant]) for variant in trained)
    spread = f"The line is the mean of {seeds} seeds, the band their range. " if seeds > 1 else ""
    return Picture(
        name=f"curves-{stage}",
        title=f"{TITLES[stage]} curves",
        caption=f"Loss on the training data, averaged over {SMOOTHED} neighbouring points. {spread}Look at whether "
        "the curves still fall at the end: then a longer training would change the table. Losses of variants with "
        "different tasks cannot be compared.",
        panels=tuple(panels),
        legend=tuple(
            LegendEntry(VARIANTS[variants.index(variant) % len(VARIANTS)], label_of(variant)) for variant in trained
        ),
        panel_width=320,
        chart=True,
    )
