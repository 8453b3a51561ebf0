"""Lane centrelines in the form that Argoverse 1 gives them: pieces of a street, of at most ten points each."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from synthdrive.core.geometry import arc_length, distance_to_polyline, interpolate
from synthdrive.scenes.lane_segments import MAX_POINTS

Points = npt.NDArray[np.float64]

_MIN_SPACING = 0.5  # m; pieces shorter than 4.5 m have fewer than ten points


def cut(points: Points, pieces: int) -> list[Points]:
    """A polyline cut into pieces of equal length, each drawn by 2 to 10 points at equal steps.

    Args:
        points: (P, 2) metres.

    Returns:
        `pieces` arrays (2 to 10, 2); each starts at the point where the one before ends.
    """
    ends = np.linspace(0.0, arc_length(points)[-1], pieces + 1)
    count = min(MAX_POINTS, max(2, math.ceil(ends[1] / _MIN_SPACING) + 1))
    drawn = [
        interpolate(points, np.linspace(start, end, count)) for start, end in zip(ends[:-1], ends[1:], strict=True)
    ]
    drawn[0][0], drawn[-1][-1] = points[0], points[-1]
    return drawn


def pieces_needed(points: Points, max_length: float, max_deviation: float) -> int:
    """Into how many pieces `cut` must cut a polyline so that each is short enough and keeps its shape.

    Args:
        points: (P, 2) metres.
        max_length: m, of a piece.
        max_deviation: m, from any corner of the polyline to the piece drawn there.
    """
    length = arc_length(points)[-1]
    fewest = max(1, math.ceil(length / max_length - 1e-9))
    for pieces in range(fewest, fewest + 10):
        line = np.concatenate(cut(points, pieces))
        if length / pieces < MAX_POINTS * _MIN_SPACING or distance_to_polyline(points, line).max() <= max_deviation:
            return pieces
    return pieces
