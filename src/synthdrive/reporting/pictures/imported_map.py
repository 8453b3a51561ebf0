"""A whole lane map as one picture file, with the synthetic drives on it if there are any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D

from synthdrive.core.artifacts import atomic_file
from synthdrive.core.errors import ParameterError
from synthdrive.reporting.drawing import MapDrawing, Points, View, centrelines, map_drawing
from synthdrive.reporting.picture import colour
from synthdrive.reporting.pictures.driving import SPEED_EDGES, speed_legend, speeds_of
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import SceneStore

MARGIN = 12.0  # m around the lanes
WIDTH = 8.0  # inches
TALLEST, FLATTEST = 0.7, 3.5  # width to height; a map that is longer than that gets wider margins
DOTS_PER_INCH = 130
ARROW = 0.1  # inches that an arrow takes; where a lane segment is shorter, arrows would hide the map
SHORTEST_ARROW, LONG_SEGMENT = 12.0, 40.0  # m; of the segments that get one

_KINDS = (("lane", "lane"), ("warped", "in a junction"), ("truth", "left turn"), ("forecast", "right turn"))
SUFFIXES = (".svg", ".png")


def draw_lane_map(lane_map: LaneMap, path: Path, tracks: Sequence[Points] = ()) -> None:
    """Draw the lanes, arrows along them, and tracks at 10 Hz (metres, city frame) coloured by speed.

    Args:
        path: a .svg or .png file; the same map gives the same bytes.

    Raises:
        ParameterError: a file of another kind.
    """
    check_suffix(path)
    segments = lane_map.segments
    points = segments.points[segments.valid]
    given = View.around(points, MARGIN, aspect=None)
    view = View.around(points, MARGIN, aspect=float(np.clip(given.half_width / given.half_height, TALLEST, FLATTEST)))
    with map_drawing(view, width=WIDTH) as panel:
        marks = (
            _add_drives(panel, lane_map, tracks) if tracks else _add_lanes(panel, lane_map, 2 * view.half_width / WIDTH)
        )
        lines = [Line2D([], [], color=colour(role), linewidth=1.6, label=label) for role, label in marks]
        panel.axes.legend(handles=lines, loc="upper right", frameon=False, fontsize=7.5, ncols=2)
    with atomic_file(path) as partial:
        if path.suffix == ".svg":
            partial.write_text(panel.svg, encoding="utf-8")
        else:
            panel.axes.figure.savefig(  # type: ignore[union-attr]
                partial, format="png", dpi=DOTS_PER_INCH, metadata={"Software": "SynthDrive"}
            )


def check_suffix(path: Path) -> None:
    """Refuse a picture that is neither SVG nor PNG; raises ParameterError."""
    if Path(path).suffix not in SUFFIXES:
        raise ParameterError("picture", repr(str(path)), f"a file that ends with {' or '.join(SUFFIXES)}")


def tracks_in(store: SceneStore, city: str) -> list[npt.NDArray[np.float64]]:
    """(50, 2) metres, city frame, the agent of each window in this city."""
    rows = [row for row, name in enumerate(store.cities) if name == city]
    return [store[row].agent.astype(np.float64) + store.origins[row] for row in rows]


def _add_lanes(panel: MapDrawing, lane_map: LaneMap, metres_per_inch: float) -> Sequence[tuple[str, str]]:
    segments = lane_map.segments
    turns = (segments.turn < 0, segments.turn > 0)
    junction = segments.is_intersection & ~turns[0] & ~turns[1]
    plain = ~junction & ~turns[0] & ~turns[1]
    for (role, _), chosen in zip(_KINDS, (plain, junction, *turns), strict=True):
        panel.add_lanes(centrelines(segments, np.flatnonzero(chosen)), role, width=1.0)
    lengths = np.hypot(*(np.diff(segments.points, axis=1) * segments.valid[:, 1:, None]).transpose(2, 0, 1)).sum(axis=1)
    rows = np.flatnonzero(lengths >= SHORTEST_ARROW)
    if ARROW * metres_per_inch < LONG_SEGMENT:
        middle = segments.counts[rows] // 2
        tip, tail = segments.points[rows, middle], segments.points[rows, middle - 1]
        way = (tip - tail) / np.maximum(np.linalg.norm(tip - tail, axis=1), 1e-6)[:, None]
        panel.axes.quiver(
            *((tip + tail) / 2).T, *way.T, angles="xy", pivot="mid", scale=140.0, width=0.0012, headwidth=5.0,
            headlength=6.0, headaxislength=5.0, color=colour("ink"), zorder=5,
        )  # fmt: skip
    return _KINDS


def _add_drives(panel: MapDrawing, lane_map: LaneMap, tracks: Sequence[Points]) -> Sequence[tuple[str, str]]:
    panel.add_lanes(centrelines(lane_map.segments), width=0.8)
    panel.add_by_scale(tracks, [speeds_of(track) for track in tracks], SPEED_EDGES, width=1.6)
    return [("lane", "lane"), *((entry.role, entry.label) for entry in speed_legend())]
