"""The study's figure: error against the number of real training scenes, for all scenes and by city."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studies.argoverse1_folds.analysis import Level, metric_label, unit_of
from studies.argoverse1_folds.plan import BASELINE, Plan
from synthdrive.reporting.drawing import drawing, quiet_grid, svg_of
from synthdrive.reporting.picture import colour, variant_colour

CITIES = {"MIA": "Miami", "PIT": "Pittsburgh"}
SPREAD = 0.24  # width over which the variants are spread at one number of scenes, in steps of the axis


def error_figure(levels: Sequence[Level], plan: Plan, scenes: dict[int, int], metric: str) -> str:
    """Draw a panel for all scenes and one per city: a line per variant, a ring per training, a dashed baseline; SVG.

    Args:
        scenes: fraction of the training scenes (%) -> their mean number in a fold.
    """
    shown = [percent for percent in plan.percents if scenes.get(percent)]  # a fraction without a run has no number
    positions = {percent: place for place, percent in enumerate((0, *shown))}
    cities = sorted({city for level in levels for city in level.cities[metric]})
    names = list(plan.variants)
    with drawing(7.0, 2.9) as (figure, first):
        first.remove()
        panels = figure.subplots(1, len(cities), sharey=True, squeeze=False)[0]
        for axes, city in zip(panels, cities, strict=True):
            for level in (level for level in levels if level.variant == BASELINE):
                axes.axhline(level.cities[metric][city], color=colour("muted"), linewidth=1.1, linestyle="--",
                             label="Lane following")  # fmt: skip
            for place, name in enumerate(names):
                own = sorted((level for level in levels if level.variant == name), key=lambda level: level.percent)
                if not own:
                    continue
                shift = SPREAD * (place / max(len(names) - 1, 1) - 0.5)
                x = np.array([positions[level.percent] + shift for level in own])
                shade = variant_colour(place)
                axes.plot(x, [level.cities[metric][city] for level in own], color=shade, linewidth=1.4, marker="o",
                          markersize=2.6, label=plan.variants[name].label)  # fmt: skip
                for at, level in zip(x, own, strict=True):
                    rings = level.trainings[metric][city]
                    axes.scatter([at] * len(rings), rings, s=9, c="none", edgecolors=shade, linewidths=0.6)
            axes.set_title(CITIES.get(city, city) if city else "All scenes")
            axes.set_xticks(list(positions.values()), [f"{scenes.get(percent, 0):,}" for percent in positions])
            axes.set_xlim(-0.4, len(positions) - 0.6)
            quiet_grid(axes)
        panels[0].set_ylabel(f"{metric_label(metric)} ({unit_of(metric)})")
        panels[len(panels) // 2].set_xlabel("number of real training scenes")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
        return svg_of(figure)
