"""Lane centrelines in the form that Argoverse 1 gives them: pieces of a street, of at most ten points each."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from synthdrive.scenes.lane_segments import MAX_POINTS

Points = npt.NDArray[np.float64]

_MIN_SPACING = 0.5  # m; pieces shorter than 4.5 m have fewer than ten points


def arc_length(points: Points) -> npt.NDArray[np.float64]:
    """(P,) float64, metres along a (P, 2) polyline, from 0."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])


def along(points: Points, at: npt.NDArray[np.float64]) -> Points:
    """(N, 2) float64, the places `at` (N,) metres along a (P, 2) polyline."""
    length = arc_length(points)
    return np.stack([np.interp(at, length, points[:, 0]), np.interp(at, length, points[:, 1])], axis=-1)


def distance_to_polyline(points: Points, line: Points) -> npt.NDArray[np.float64]:
    """(N,) float64, metres from each of (N, 2) points to a (P, 2) polyline."""
    start, step = line[:-1], np.diff(line, axis=0)  # [P - 1, 2]
    squared = np.maximum((step**2).sum(axis=-1), 1e-12)
    offset = points[:, None] - start  # [N, P - 1, 2]
    share = np.clip((offset * step).sum(axis=-1) / squared, 0.0, 1.0)
    away: npt.NDArray[np.float64] = np.linalg.norm(offset - share[..., None] * step, axis=-1).min(axis=1)
    return away


def cut(points: Points, pieces: int) -> list[Points]:
    """A polyline cut into pieces of equal length, each drawn by 2 to 10 points at equal steps.

    Args:
        points: (P, 2) metres.

    Returns:
        `pieces` arrays (2 to 10, 2); each starts at the point where the one before ends.
    """
    ends = np.linspace(0.0, arc_length(points)[-1], pieces + 1)
    count = min(MAX_POINTS, max(2, math.ceil(ends[1] / _MIN_SPACING) + 1))
    drawn = [along(points, np.linspace(start, end, count)) for start, end in zip(ends[:-1], ends[1:], strict=True)]
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
