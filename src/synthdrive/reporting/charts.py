"""Charts of the report: lines with a spread, estimates with intervals, bars and histograms; all return SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.reporting.drawing import drawing, quiet_grid, svg_of

SMALLEST_FRACTION = 0.02  # per cent, lower end of a logarithmic axis

Values = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        label: its name in the legend.
        colour: light shade of its role.
        x: (N,) positions.
        runs: (R, N) values, one row per repetition (seed).
    """

    label: str
    colour: str
    x: Values
    runs: Values


def line_chart(series: Sequence[Series], x_label: str, y_label: str) -> str:
    """Draw the mean over the repetitions as a line and their range as a band.

    Args:
    """
    with drawing(3.5, 2.4) as (figure, axes):
        for entry in series:
            mean = entry.runs.mean(axis=0)
            if len(entry.runs) > 1:
                axes.fill_between(entry.x, entry.runs.min(axis=0), entry.runs.max(axis=0), color=entry.colour,
                                  alpha=0.18, linewidth=0)  # fmt: skip
            axes.plot(entry.x, mean, color=entry.colour, linewidth=1.5, label=entry.label)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        quiet_grid(axes)
        return svg_of(figure)


@dataclass(frozen=True)
class Estimate:
    """One row of an interval chart.

    Attributes:
        label: name of the row.
        colour: light shade of its role.
        value: the estimate.
        low, high: ends of its interval; equal to `value` if it has none.
        dots: the single values behind it (one per seed).
        published: the published value; None if there is none.
    """

    label: str
    colour: str
    value: float
    low: float
    high: float
    dots: tuple[float, ...] = ()
    published: float | None = None


def interval_chart(rows: Sequence[Estimate], x_label: str, published_colour: str, zero: str | None = None) -> str:
    """Draw estimates with their intervals, one per row from top to bottom, and published values as diamonds.

    The axis is scaled to the estimates: an interval that is far wider is cut off and ends in an arrow.

    Args:
        zero: colour of a vertical line at 0; None for no line.
    """
    low, high = _axis_limits(rows, zero is not None)
    with drawing(3.5, 0.55 + 0.3 * len(rows)) as (figure, axes):
        if zero is not None:
            axes.axvline(0.0, color=zero, linewidth=0.9)
        for place, row in enumerate(rows):
            ends = max(row.low, low), min(row.high, high)
            axes.plot(ends, [place, place], color=row.colour, linewidth=1.6, solid_capstyle="butt")
            for cut, end, marker in ((row.low < low, low, "<"), (row.high > high, high, ">")):
                if cut:
                    axes.plot([end], [place], marker=marker, color=row.colour, markersize=4.5, clip_on=False)
            if row.dots:
                axes.scatter(
                    row.dots, [place] * len(row.dots), s=12, c="none", edgecolors=row.colour, linewidths=0.8, zorder=3
                )
            axes.scatter([row.value], [place], s=24, c=row.colour, edgecolors="none", zorder=4)
            if row.published is not None:
                axes.scatter([row.published], [place], s=26, c="none", edgecolors=published_colour, marker="D",
                             linewidths=1.1, zorder=5)  # fmt: skip
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(low, high)
        axes.set_xlabel(x_label)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=True, axis="x")
        return svg_of(figure)


def _axis_limits(rows: Sequence[Estimate], zero: bool) -> tuple[float, float]:
    """Return the limits of the x axis: the range of the values, at most tripled to show the intervals."""
    values = [value for row in rows for value in (row.value, *row.dots)]
    values += [row.published for row in rows if row.published is not None] + [0.0] * zero
    least, most = min(values), max(values)
    room = max(most - least, 1e-3 * max(abs(least), abs(most)), 1e-3)
    low = max(min(row.low for row in rows), least - room)
    high = min(max(row.high for row in rows), most + room)
    low, high = min(low, least), max(high, most)
    margin = max(0.04 * (high - low), 1e-3)
    return low - margin, high + margin


@dataclass(frozen=True)
class Bars:
    """One group of a bar chart.

    Attributes:
        label: name of the group.
        values: (label, colour, value) of each bar, from top to bottom.
    """

    label: str
    values: tuple[tuple[str, str, float], ...]


def bar_chart(groups: Sequence[Bars], x_label: str) -> str:
    """Draw groups of horizontal bars, each with its value; the page explains the colours."""
    count = sum(len(group.values) + 1 for group in groups)
    with drawing(3.5, 0.5 + 0.17 * count) as (figure, axes):
        place, ticks = 0, []
        longest = max(value for group in groups for *_, value in group.values)
        for group in groups:
            ticks.append((place + (len(group.values) - 1) / 2, group.label))
            for _, shade, value in group.values:
                axes.barh(place, value, height=0.8, color=shade)
                axes.text(value + 0.01 * longest, place, f"{value:.3g}", va="center", fontsize=6.5)
                place += 1
            place += 1
        axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks])
        axes.set_ylim(place - 1.4, -0.6)
        axes.set_xlim(0.0, 1.14 * longest)
        axes.set_xlabel(x_label)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=True, axis="x")
        return svg_of(figure)


def distribution_chart(
    distributions: Sequence[tuple[str, Values]], edges: Values, x_label: str, y_label: str, log: bool = False
) -> str:
    """Draw histograms of several samples over the same bins, as outlines.

    Args:
        distributions: (colour, sample) of each.
        edges: (B + 1,) edges of the bins; the outermost bins include all values beyond them.
        log: whether the fractions are on a logarithmic axis, for distributions with a long tail.
    """
    with drawing(3.5, 2.2) as (figure, axes):
        for shade, sample in distributions:
            counts, _ = np.histogram(np.clip(sample, edges[0], edges[-1]), bins=edges)
            floor = SMALLEST_FRACTION if log else 0.0
            fraction = np.maximum(100.0 * counts / max(len(sample), 1), floor)
            axes.stairs(fraction, edges, baseline=floor, color=shade, linewidth=1.5)
            axes.stairs(fraction, edges, baseline=floor, fill=True, color=shade, alpha=0.12, linewidth=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_xlim(edges[0], edges[-1])
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(bottom=SMALLEST_FRACTION if log else 0.0)
        quiet_grid(axes)
        return svg_of(figure)
