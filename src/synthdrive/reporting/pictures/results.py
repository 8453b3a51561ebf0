"""The results as pictures: paired differences beside the published change, and levels with their seeds."""

from __future__ import annotations

from collections.abc import Sequence

from synthdrive.reporting.metric_names import HEADLINE, counted, metric
from synthdrive.reporting.palette import VARIANTS, colour
from synthdrive.reporting.picture import LegendEntry, Panel, Picture
from synthdrive.reporting.pictures.charts import Estimate, interval_chart
from synthdrive.reporting.results_table import Row


def difference_picture(rows: Sequence[Row], scenes: int, seeds: int) -> Picture | None:
    """Relative paired differences to the baseline variant with the published change; None where there is one variant only."""
    learned = [row for row in rows if row.kind == "learned"]
    panels = []
    for name in HEADLINE:
        estimates = []
        for place, row in enumerate(learned):
            cell = row.cells[name]
            if cell.difference is None or cell.difference.relative is None:
                continue
            relative, low, high = cell.difference.relative
            dots = tuple(100.0 * value / cell.difference.reference for value in cell.difference.seeds)
            shade = colour(VARIANTS[place % len(VARIANTS)])
            estimates.append(Estimate(row.label, shade, relative, low, high, dots, cell.published_change))
        if estimates:
            chart = interval_chart(
                estimates, f"change in {metric(name).label} (%)", colour("ink"), zero=colour("muted")
            )
            panels.append(
                Panel(f"difference-{metric(name).label.lower()}", f"{metric(name).label} against the baseline", chart)
            )
    if not panels:
        return None
    return Picture(
        name="differences",
        title="What pre-training changes",
        caption=f"Paired difference to the baseline on the same {counted(scenes, 'scene')} and "
        f"{counted(seeds, 'seed')}, relative to the baseline, with its 95 % interval; left of zero is better. Rings "
        "are single seeds, the diamond is the published change. An interval that holds zero shows no effect.",
        panels=tuple(panels),
        legend=(
            LegendEntry("variant1", "measured, 95 % interval"),
            LegendEntry("variant1", "one seed", "ring"),
            LegendEntry("ink", "published change", "diamond"),
        ),
        panel_width=320,
        chart=True,
    )


def level_picture(rows: Sequence[Row]) -> Picture:
    """Levels of baselines and variants with their 95 % intervals and seeds."""
    measured = [row for row in rows if row.kind != "not run"]
    learned = [row.name for row in rows if row.kind == "learned"]
    panels = []
    for name in HEADLINE:
        estimates = []
        for row in measured:
            level = row.cells[name].level
            if level is None:
                continue
            shade = colour(VARIANTS[learned.index(row.name) % len(VARIANTS)] if row.name in learned else "others")
            dots = level.seeds if len(level.seeds) > 1 else ()
            estimates.append(Estimate(row.label, shade, level.mean, level.low, level.high, dots))
        label = f"{metric(name).label} ({metric(name).unit})"
        panels.append(
            Panel(f"level-{metric(name).label.lower()}", label, interval_chart(estimates, label, colour("ink")))
        )
    return Picture(
        name="levels",
        title="Levels",
        caption="Mean over seeds and scenes with its 95 % interval over scenes; rings are single seeds. A trained variant "
        "must lie clearly left of the two forecasts that learn nothing.",
        panels=tuple(panels),
        legend=(LegendEntry("others", "no training"), LegendEntry("variant0", "trained variants")),
        panel_width=320,
        chart=True,
    )
