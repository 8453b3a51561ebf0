"""Small charts that several pictures are made of: lines with a spread, and estimates with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.reporting.drawing import drawing, quiet_grid, svg_of

SMALLEST_FRACTION = 0.02  # per cent, where a logarithmic axis begins

Values = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        label: what it is.
        colour: light shade of its role.
        x: (N,) positions.
        runs: (R, N) values, one row a repetition (a seed).
    """

    label: str
    colour: str
    x: Values
    runs: Values


def line_chart(series: Sequence[Series], x_label: str, y_label: str, log: bool = False, legend: bool = False) -> str:
    """Mean over the repetitions as a line, their range as a band; SVG. Without a legend the page names the lines."""
    with drawing(3.5, 2.4) as (figure, axes):
        for entry in series:
            mean = entry.runs.mean(axis=0)
            if len(entry.runs) > 1:
                axes.fill_between(entry.x, entry.runs.min(axis=0), entry.runs.max(axis=0), color=entry.colour,
                                  alpha=0.18, linewidth=0)  # fmt: skip
            axes.plot(entry.x, mean, color=entry.colour, linewidth=1.5, label=entry.label)
        if legend:
            axes.legend(frameon=False, fontsize="small")
        if log:
            axes.set_yscale("log")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        quiet_grid(axes)
        return svg_of(figure)


@dataclass(frozen=True)
class Estimate:
    """One row of an interval chart.

    Attributes:
        label: what it is.
        colour: light shade of its role.
        value: the estimate.
        low, high: its interval; equal to `value` where there is none.
        dots: single values behind it (one a seed).
        published: the published value, None where there is none.
    """

    label: str
    colour: str
    value: float
    low: float
    high: float
    dots: tuple[float, ...] = ()
    published: float | None = None


def interval_chart(rows: Sequence[Estimate], x_label: str, published_colour: str, zero: str | None = None) -> str:
    """Estimates with their intervals, one row each from top to bottom; a diamond is the published value; SVG.

    The axis is made for the estimates: an interval that is far wider goes beyond it, and ends in an arrow.

    Args:
        zero: colour of a line at 0, None for no line.
    """
    low, high = _limits(rows, zero is not None)
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


def _limits(rows: Sequence[Estimate], zero: bool) -> tuple[float, float]:
    """Ends of the axis: all values, zero where it is drawn, and of the intervals as much as the values spread again."""
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
        label: of the group.
        values: (label, role colour, value) of each bar, top to bottom.
    """

    label: str
    values: tuple[tuple[str, str, float], ...]


def bar_chart(groups: Sequence[Bars], x_label: str) -> str:
    """Groups of horizontal bars with their values; SVG. The legend names the bars of a group."""
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
    """Histograms of several samples over the same edges, as outlines; (colour, sample) each; SVG.

    Args:
        log: fractions on a logarithmic axis, for a long tail.
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
