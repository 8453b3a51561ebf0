"""Geometry of polylines in the plane: arc length, interpolation, distance and heading.

`ingestion.statistics.Centrelines` computes distances to the many centrelines of a city.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHORTEST_SQUARE = 1e-12  # m2; a segment whose squared length is smaller counts as a point


def step_lengths(points: Floats) -> Floats:
    """Return the (N - 1,) distances between consecutive points (N, 2), in their unit."""
    steps = np.diff(points, axis=0)
    return np.hypot(steps[:, 0], steps[:, 1])


def arc_length(points: Floats) -> Floats:
    """Return the (N,) arc lengths, from 0, of the points of a polyline (N, 2), in their unit."""
    return np.concatenate([[0.0], np.cumsum(step_lengths(points))])


def interpolate(points: Floats, at: Floats, length: Floats | None = None) -> Floats:
    """Return the points (..., 2) of a polyline (N, 2) at the arc lengths `at` (...), clamped to its ends.

    Args:
        length: (N,) `arc_length(points)`, if it is known.
    """
    length = arc_length(points) if length is None else length
    return np.stack([np.interp(at, length, points[:, 0]), np.interp(at, length, points[:, 1])], axis=-1)


def fraction_along(offset: Floats, step: Floats) -> Floats:
    """Return where (...) the nearest point of a line segment to another point lies: 0 at its start, 1 at its end.

    Args:
        offset: (..., 2) metres, from the start of the segment to the point.
        step: (..., 2) metres, from the start of the segment to its end.
    """
    square = np.maximum((step**2).sum(axis=-1), SHORTEST_SQUARE)
    fraction: Floats = np.clip((offset * step).sum(axis=-1) / square, 0.0, 1.0)
    return fraction


def distance_to_pieces(offset: Floats, step: Floats) -> Floats:
    """Return the distances (...), metres, from points to line segments; see `fraction_along` for the arguments."""
    gap = offset - fraction_along(offset, step)[..., None] * step
    distance: Floats = np.hypot(gap[..., 0], gap[..., 1])
    return distance


def distance_to_polyline(points: Floats, line: Floats) -> Floats:
    """Return the (N,) distances from points (N, 2) to a polyline (P, 2), metres."""
    nearest: Floats = distance_to_pieces(points[:, None] - line[:-1], np.diff(line, axis=0)).min(axis=1)
    return nearest


def polyline_of_points(dense: Floats, count: int) -> Floats:
    """Resample a polyline (N, 2) to (count, 2) points that lie closer together where it turns.

    The points are equally spaced in a measure to which length and turning each contribute half.
    """
    steps = step_lengths(dense)
    direction = np.arctan2(np.diff(dense[:, 1]), np.diff(dense[:, 0]))
    turning = np.abs((np.diff(direction) + np.pi) % (2 * np.pi) - np.pi)
    per_step = np.concatenate([[0.0], turning]) + np.concatenate([turning, [0.0]])
    measure = steps / steps.sum() + (per_step / per_step.sum() if per_step.sum() > 0.01 else 0.0)
    along = np.concatenate([[0.0], np.cumsum(measure)])
    at = np.interp(np.linspace(0.0, along[-1], count), along, np.concatenate([[0.0], np.cumsum(steps)]))
    return interpolate(dense, at)


def heading_change(points: Floats) -> float:
    """Return the total angle, radians, by which a polyline (P, 2), metres, turns; left is positive."""
    steps = np.diff(points, axis=0)
    steps = steps[np.hypot(*steps.T) > 1e-3]
    if len(steps) < 2:
        return 0.0
    heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    return float(heading[-1] - heading[0])
