"""Matplotlib set up once: quiet axes, text as text, the same bytes for the same drawing."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from synthdrive.reporting.palette import colour

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


@contextmanager
def drawing(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of `width` x `height` inches with one pair of axes, in the report's style.

    Use `svg_of(figure)` inside the block: the style holds only there.
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
    with matplotlib.rc_context({**_SETTINGS, **colours}):
        figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03))
        yield figure, figure.add_subplot()


def svg_of(figure: Figure) -> str:
    """The figure as SVG text, without date, coordinates to a hundredth of a point."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": "SynthDrive"})
    return _DIGITS.sub(r"\1", stream.getvalue())


def quiet_grid(axes: Axes, axis: Literal["x", "y"] = "y") -> None:
    """Light grid lines along one axis, and no tick marks on it."""
    axes.grid(visible=True, axis=axis)
    axes.tick_params(axis=axis, length=0)
