"""Polylines in the plane: their arc length, and how far points are from them.

`maps.centreline_distance` asks the same of a whole city, prepared and indexed for that.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHORTEST_SQUARE = 1e-12  # m2; a piece as short counts as a point


def step_lengths(points: Floats) -> Floats:
    """(N - 1,) distances between consecutive points (N, 2)."""
    steps = np.diff(points, axis=0)
    return np.hypot(steps[:, 0], steps[:, 1])


def arc_length(points: Floats) -> Floats:
    """(N,) metres along a polyline (N, 2), from 0."""
    return np.concatenate([[0.0], np.cumsum(step_lengths(points))])


def interpolate(points: Floats, at: Floats, length: Floats | None = None) -> Floats:
    """Points of a polyline (N, 2) at arc lengths `at` (any shape): (..., 2); ends are held."""
    length = arc_length(points) if length is None else length
    return np.stack([np.interp(at, length, points[:, 0]), np.interp(at, length, points[:, 1])], axis=-1)


def fraction_along(offset: Floats, step: Floats) -> Floats:
    """(...) where on a straight piece its nearest point to another point lies: 0 at the start, 1 at the end.

    Args:
        offset: (..., 2) metres, from the start of the piece to the point.
        step: (..., 2) metres, from the start of the piece to its end.
    """
    square = np.maximum((step**2).sum(axis=-1), SHORTEST_SQUARE)
    fraction: Floats = np.clip((offset * step).sum(axis=-1) / square, 0.0, 1.0)
    return fraction


def distance_to_pieces(offset: Floats, step: Floats) -> Floats:
    """(...) metres from points to straight pieces; see `fraction_along`."""
    gap = offset - fraction_along(offset, step)[..., None] * step
    distance: Floats = np.hypot(gap[..., 0], gap[..., 1])
    return distance


def distance_to_polyline(points: Floats, line: Floats) -> Floats:
    """(N,) metres from points (N, 2) to a polyline (P, 2)."""
    nearest: Floats = distance_to_pieces(points[:, None] - line[:-1], np.diff(line, axis=0)).min(axis=1)
    return nearest


def polyline_of_points(dense: Floats, count: int) -> Floats:
    """(count, 2) points of a polyline (N, 2), closer together where it turns: at equal steps of a measure that is half
    length, half turning."""
    steps = step_lengths(dense)
    direction = np.arctan2(np.diff(dense[:, 1]), np.diff(dense[:, 0]))
    turning = np.abs((np.diff(direction) + np.pi) % (2 * np.pi) - np.pi)
    per_step = np.concatenate([[0.0], turning]) + np.concatenate([turning, [0.0]])
    measure = steps / steps.sum() + (per_step / per_step.sum() if per_step.sum() > 0.01 else 0.0)
    along = np.concatenate([[0.0], np.cumsum(measure)])
    at = np.interp(np.linspace(0.0, along[-1], count), along, np.concatenate([[0.0], np.cumsum(steps)]))
    return interpolate(dense, at)


def heading_change(points: Floats) -> float:
    """Radians by which a (P, 2) polyline turns in all, left positive."""
    steps = np.diff(points, axis=0)
    steps = steps[np.hypot(*steps.T) > 1e-3]
    if len(steps) < 2:
        return 0.0
    heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    return float(heading[-1] - heading[0])
