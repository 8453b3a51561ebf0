"""Drawing with matplotlib in the report's style; the same drawing always gives the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import from_extra

with from_extra("report"):
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

from synthdrive.reporting.picture import SCALE, colour
from synthdrive.scenes.lane_map import LaneSegments

_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "synthdrive",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
    "path.simplify_threshold": 0.3,
    "axes.unicode_minus": True,
}

_DIGITS = re.compile(r"(-?\d+\.\d{2})\d+")
_TAG = re.compile(r"<[^>]+>")


@contextmanager
def drawing(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Open a figure of `width` x `height` inches with one pair of axes, in the report's style.

    Call `svg_of(figure)` inside the block: the style applies only there.
    """
    colours: dict[str, Any] = {
        "text.color": colour("ink"),
        "axes.labelcolor": colour("muted"),
        "axes.edgecolor": colour("muted"),
        "axes.titlecolor": colour("ink"),
        "xtick.color": colour("muted"),
        "ytick.color": colour("muted"),
        "grid.color": colour("grid"),
        "figure.facecolor": colour("paper"),
        "axes.facecolor": colour("paper"),
        "savefig.facecolor": colour("paper"),
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # ignore the matplotlibrc of the user and of the working directory
        matplotlib.rcParams.update({**_SETTINGS, **colours})
        figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03))
        yield figure, figure.add_subplot()


def svg_of(figure: Figure) -> str:
    """Return the figure as SVG text, without a date, with coordinates (not labels) cut to a hundredth of a point."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": "SynthDrive"})
    return _TAG.sub(lambda tag: _DIGITS.sub(r"\1", tag[0]), stream.getvalue())


def quiet_grid(axes: Axes) -> None:
    """Draw light grid lines at the values of y, and remove its tick marks."""
    axes.grid(visible=True, axis="y")
    axes.tick_params(axis="y", length=0)


Points = npt.NDArray[np.floating[Any]]

SHEET_PANEL = 2.6  # inches, side of a panel of `map_sheet`
_BAR_LENGTHS = (5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000)


@dataclass(frozen=True)
class View:
    """A rectangle of the map, in metres.

    Attributes:
        centre: its middle, in the frame of the drawn points.
        half_width, half_height: half the lengths of its sides.
    """

    centre: tuple[float, float]
    half_width: float
    half_height: float

    @classmethod
    def around(cls, points: Points, margin: float, smallest: float = 25.0, aspect: float | None = 1.0) -> View:
        """Return the view that contains all points with a margin.

        Args:
            points: (N, 2) metres, at least one.
            margin: metres around them.
            smallest: metres, minimum of half a side.
            aspect: width to height; None for that of the points.

        Raises:
            ValueError: there is no point.
        """
        low, high = points.min(axis=0), points.max(axis=0)
        half = np.maximum((high - low) / 2 + margin, smallest)
        if aspect is not None:
            width = max(half[0], half[1] * aspect)
            half = np.array([width, width / aspect])
        middle = (low + high) / 2
        return cls((float(middle[0]), float(middle[1])), float(half[0]), float(half[1]))


@dataclass
class MapDrawing:
    """One map panel; every `add_` method takes points (N, 2) in metres, in the frame of the view."""

    axes: Axes
    svg: str = ""
    raster: bool = False

    def add_lanes(self, lines: Iterable[Points], role: str = "lane", width: float = 0.9) -> None:
        """Draw centrelines, as one path."""
        self._draw(lines, role, width, zorder=1)

    def add_line(self, line: Points, role: str, width: float = 1.8, dashed: bool = False, zorder: float = 4) -> None:
        """Draw a track or a trajectory."""
        self._draw([line], role, width, dashed=dashed, zorder=zorder)

    def add_lines(self, lines: Iterable[Points], role: str, width: float = 1.2, zorder: float = 3) -> None:
        """Draw several tracks in one colour."""
        self._draw(lines, role, width, zorder=zorder)

    def add_dots(self, points: Points, role: str, size: float, zorder: float = 5, hollow: bool = False) -> None:
        """Draw dots of `size` square points; for many small dots use `add_many_dots`."""
        face = "none" if hollow else colour(role)
        self.axes.scatter(
            points[:, 0], points[:, 1], s=size, c=face, edgecolors=colour(role) if hollow else "none",
            linewidths=1.0 if hollow else 0.0, zorder=zorder,
        )  # fmt: skip

    def add_many_dots(self, points: Points, role: str, size: float, zorder: float = 3, square: bool = False) -> None:
        """Draw dots of a diameter of `size` points, all as one path, which keeps the file small."""
        if not len(points):
            return
        if self.raster:  # PNG output does not draw lines of zero length
            marker = "s" if square else "o"
            self.axes.scatter(
                points[:, 0], points[:, 1], s=size**2, c=colour(role), marker=marker, linewidths=0.0, zorder=zorder
            )
            return
        pairs = np.repeat(np.asarray(points, dtype=np.float64), 2, axis=0)  # a line of zero length shows only its caps
        codes = np.tile([Path.MOVETO, Path.LINETO], len(points))
        path = Path(pairs, codes)
        path.should_simplify = False
        self.axes.add_patch(
            PathPatch(path, edgecolor=colour(role), facecolor="none", linewidth=size,
                      capstyle="projecting" if square else "round", zorder=zorder)
        )  # fmt: skip

    def add_by_scale(
        self, lines: Sequence[Points], values: Sequence[Points], edges: Sequence[float], width: float = 1.5
    ) -> None:
        """Draw tracks coloured step by step by a quantity, in six classes.

        Args:
            lines: (T, 2) metres, each.
            values: (T,) the quantity at each point of each line.
            edges: the five edges between the classes, in the quantity's unit.
        """
        pieces: list[list[Points]] = [[] for _ in SCALE]
        for line, value in zip(lines, values, strict=True):
            classes = np.digitize((value[:-1] + value[1:]) / 2, edges)
            starts = np.flatnonzero(np.diff(classes, prepend=-1))
            for start, stop in zip(starts, [*starts[1:], len(classes)], strict=True):
                pieces[classes[start]].append(line[start : stop + 1])
        for role, part in zip(SCALE, pieces, strict=True):
            self._draw(part, role, width, zorder=4)

    def _draw(self, lines: Iterable[Points], role: str, width: float, *, dashed: bool = False, zorder: float) -> None:
        broken = [np.vstack([line, [[np.nan, np.nan]]]) for line in lines if len(line)]
        if not broken:
            return
        points = np.vstack(broken)
        style = (0, (3.0, 2.0)) if dashed else "-"
        self.axes.plot(points[:, 0], points[:, 1], color=colour(role), linewidth=width, linestyle=style, zorder=zorder)


@contextmanager
def map_drawing(view: View, width: float = 2.6, bar: bool = True) -> Iterator[MapDrawing]:
    """Open a map panel of `width` inches; its `svg` is set when the block ends."""
    height = width * view.half_height / view.half_width
    with drawing(width, height) as (figure, axes):
        figure.set_layout_engine("none")
        axes.set_position((0.0, 0.0, 1.0, 1.0))
        _set_view(axes, view, bar)
        panel = MapDrawing(axes)
        yield panel
        panel.svg = svg_of(figure)


@contextmanager
def map_sheet(path: PurePath, views: Sequence[View], columns: int) -> Iterator[list[MapDrawing]]:
    """Open square map panels in rows, written as one PNG when the block ends, for places that do not show SVG."""
    rows = -(-len(views) // columns)
    with drawing(columns * SHEET_PANEL, rows * SHEET_PANEL) as (figure, axes):
        figure.set_layout_engine("none")
        axes.remove()
        panels = []
        for place, view in enumerate(views):
            left, top = place % columns / columns, 1 - place // columns / rows
            one = figure.add_axes((left + 0.004, top - 1 / rows + 0.004, 1 / columns - 0.008, 1 / rows - 0.008))
            _set_view(one, view, bar=True)
            panels.append(MapDrawing(one, raster=True))
        yield panels
        figure.savefig(path, format="png", dpi=150, metadata={"Software": None})


def _set_view(axes: Axes, view: View, bar: bool) -> None:
    axes.set_axis_off()
    axes.set_xlim(view.centre[0] - view.half_width, view.centre[0] + view.half_width)
    axes.set_ylim(view.centre[1] - view.half_height, view.centre[1] + view.half_height)
    axes.set_autoscale_on(False)
    if bar:
        _scale_bar(axes, view)


def _scale_bar(axes: Axes, view: View) -> None:
    length = max([bar for bar in _BAR_LENGTHS if bar <= view.half_width * 0.6], default=_BAR_LENGTHS[0])
    fraction = length / (2 * view.half_width)
    axes.plot([0.04, 0.04 + fraction], [0.05, 0.05], transform=axes.transAxes, color=colour("ink"), linewidth=1.4,
              solid_capstyle="butt", zorder=9)  # fmt: skip
    axes.text(0.04, 0.065, f"{length} m", transform=axes.transAxes, fontsize=7.5, color=colour("ink"), zorder=9)


def centrelines(lanes: LaneSegments, rows: npt.NDArray[np.integer[Any]] | None = None) -> list[npt.NDArray[np.float64]]:
    """Return the valid points of these lanes, one (P, 2) array per lane, in metres, city frame."""
    chosen = np.arange(len(lanes)) if rows is None else rows
    return [lanes.points[row, : lanes.counts[row]] for row in chosen]
