"""Charts of results: changes by pre-training, levels, training curves, and losses beside those of simple predictors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from synthdrive.reporting.charts import Bars, Estimate, Series, bar_chart, interval_chart, line_chart
from synthdrive.reporting.picture import VARIANTS, LegendEntry, Panel, Picture, colour, variant_colour
from synthdrive.reporting.run_results import Curve
from synthdrive.reporting.tables import Row
from synthdrive.reporting.wording import HEADLINE, counted, label_of, metric

Floats = npt.NDArray[np.float64]

SMOOTHED = 5  # neighbouring points that are averaged, because single batches differ more than epochs
CURVES = {
    "pretrain": {"loss": "loss", "map": "map loss", "trajectory": "trajectory loss"},
    "finetune": {
        "loss": "loss",
        "completion": "completion loss",
        "top1_fde": "FDE of the likeliest goal (m)",
    },
}
TITLES = {"pretrain": "Pre-training", "finetune": "Fine-tuning"}
TASKS = {"lanes": ("straight", "straight extrapolation"), "trajectory": ("quadratic", "a quadratic")}


def effects_picture(rows: Sequence[Row], variants: Sequence[str], scenes: int, seeds: int) -> Picture | None:
    """Draw relative paired differences from the baseline beside the published changes; None without a difference."""
    learned = [row for row in rows if row.kind == "learned"]
    panels = []
    for name in HEADLINE:
        estimates = []
        for row in learned:
            entry = row.entries[name]
            if entry.difference is None or entry.difference.relative is None:
                continue
            relative, low, high = entry.difference.relative
            dots = tuple(100.0 * value / entry.difference.reference for value in entry.difference.seeds)
            shade = _shade(row.name, variants)
            estimates.append(Estimate(row.label, shade, relative, low, high, dots, entry.published_change))
        if estimates:
            what = metric(name).label
            chart = interval_chart(estimates, f"change in {what} (%)", colour("ink"), zero=colour("muted"))
            panels.append(Panel(f"difference-{what.lower()}", f"{what} against no pre-training", chart))
    if not panels:
        return None
    return Picture(
        name="differences",
        title="What pre-training changes",
        caption=f"Difference from the baseline on the same {counted(scenes, 'scene')} and {counted(seeds, 'seed')}; "
        f"left of zero is better. The line is the 95 % interval over scenes{' and seeds' if seeds > 1 else ''}; an "
        "arrow means that it continues. If it crosses zero, the difference is not statistically significant.",
        panels=tuple(panels),
        legend=(
            LegendEntry("variant1", "measured, 95 % interval"),
            LegendEntry("variant1", "one seed", "ring"),
            LegendEntry("ink", "published change", "diamond"),
        ),
        panel_width=320,
        chart=True,
    )


def level_picture(rows: Sequence[Row], variants: Sequence[str]) -> Picture:
    """Draw the levels of baselines, variants and own forecasts with their 95 % intervals and seeds."""
    measured = [row for row in rows if row.kind != "not run"]
    legend = [LegendEntry("others", "no training"), LegendEntry("variant0", "trained variants")]
    if any(row.kind == "own" for row in measured):
        legend.append(LegendEntry("ink", "your own forecasts"))
    panels = []
    for name in HEADLINE:
        estimates = []
        for row in measured:
            level = row.entries[name].level
            if level is not None:
                dots = level.seeds if len(level.seeds) > 1 else ()
                shade = colour("ink") if row.kind == "own" else _shade(row.name, variants)
                estimates.append(Estimate(row.label, shade, level.mean, level.low, level.high, dots))
        label = f"{metric(name).label} ({metric(name).unit})"
        chart = interval_chart(estimates, label, colour("ink"))
        panels.append(Panel(f"level-{metric(name).label.lower()}", label, chart))
    return Picture(
        name="levels",
        title="Errors of every variant",
        caption="Mean over seeds and scenes with its 95 % interval over scenes; rings are single seeds. A trained "
        "variant should lie clearly left of the baselines without training.",
        panels=tuple(panels),
        legend=tuple(legend),
        panel_width=320,
        chart=True,
    )


def training_curves(stage: str, curves: Mapping[str, Mapping[str, Curve]], variants: Sequence[str]) -> Picture | None:
    """Draw the losses of a stage over its epochs; None if no variant has a curve.

    Args:
        stage: pretrain or finetune.
        curves: variant -> run -> its curve.
        variants: all variants of the run; their order determines the colours.
    """
    trained = [variant for variant in variants if curves.get(variant)]
    if not trained:
        return None
    panels = []
    for column, label in CURVES[stage].items():
        series = []
        for variant in trained:
            columns = [curve for curve in curves[variant].values() if column in curve]
            runs = [curve[column] for curve in columns]
            if runs and len({len(run) for run in runs}) == 1 and np.abs(runs).max() > 0:
                shade = variant_colour(variants.index(variant))
                series.append(Series(label_of(variant), shade, columns[0]["epoch"], smoothed(np.stack(runs))))
        if series:
            chart = line_chart(series, "epoch", label)
            panels.append(Panel(column.replace("_", "-"), f"{TITLES[stage]}: {label}", chart))
    seeds = max(len(curves[variant]) for variant in trained)
    spread = f"The line is the mean of {seeds} seeds, the band their range. " if seeds > 1 else ""
    return Picture(
        name=f"curves-{stage}",
        title=f"{TITLES[stage]} curves",
        caption=f"Loss on the training data, averaged over {SMOOTHED} neighbouring points. {spread}Losses "
        "of different tasks cannot be compared. The losses of map and trajectory are shares of the whole loss, so a "
        "variant that masks lanes in 70 % of the samples has 70 % of the loss of one that always does.",
        panels=tuple(panels),
        legend=_variant_legend(trained, variants),
        panel_width=320,
        chart=True,
    )


def smoothed(runs: Floats) -> Floats:
    """Average (R, N) values over SMOOTHED neighbours, fewer at the ends."""
    half = SMOOTHED // 2
    windows = [runs[:, max(0, place - half) : place + half + 1].mean(axis=1) for place in range(runs.shape[1])]
    return np.stack(windows, axis=1)


def floors_picture(reconstruction: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Picture | None:
    """Draw the losses of masked pre-training beside those of simple predictors; None if there are none."""
    panels, gains = [], []
    roles = (("loss", "forecast"), ("blind", "others"))
    for task, (floor, words) in TASKS.items():
        trained = {variant: tasks[task] for variant, tasks in reconstruction.items() if task in tasks}
        if not trained:
            continue
        bars = [
            Bars(label_of(variant), tuple(
                (key, colour(role), losses[key]) for key, role in (*roles, (floor, "truth")) if key in losses
            ))
            for variant, losses in trained.items()
        ]  # fmt: skip
        panels.append(Panel(task, f"{task.capitalize()}; green: {words}", bar_chart(bars, f"{task} loss")))
        gains += [f"{label_of(variant).lower()}, {task} {losses['gain']:.0%}" for variant, losses in trained.items()]
    if not panels:
        return None
    return Picture(
        name="reconstruction-floors",
        title="Does pre-training use the encoder?",
        caption="Loss on held-out synthetic windows, compared with the losses of the same decoder trained without "
        "access to the encoder (blind) and of a predictor without training. If the network is no better than the blind "
        "decoder, pre-training left nothing in the encoder that fine-tuning could use. "
        f"Encoder gain (1 - loss / blind loss): {'; '.join(gains)}. Means over seeds.",
        panels=tuple(panels),
        legend=(
            LegendEntry("forecast", "trained", "band"),
            LegendEntry("others", "decoder without access to the encoder", "band"),
            LegendEntry("truth", "no training: straight extrapolation (lanes), quadratic (trajectory)", "band"),
        ),
        panel_width=320,
        chart=True,
    )


def _shade(name: str, variants: Sequence[str]) -> str:
    return variant_colour(variants.index(name)) if name in variants else colour("others")


def _variant_legend(shown: Sequence[str], variants: Sequence[str]) -> tuple[LegendEntry, ...]:
    return tuple(LegendEntry(VARIANTS[variants.index(one) % len(VARIANTS)], label_of(one)) for one in shown)
