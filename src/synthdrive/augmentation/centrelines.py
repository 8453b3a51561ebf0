"""Centrelines of lanes: joined along a route, densified, resampled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.maps.lane_segments import MAX_POINTS, LaneSegments

Floats = npt.NDArray[np.float64]

SAME_POINT = 0.01  # m; consecutive points closer than this are one point (the official maps repeat end points)


def lane_points(segments: LaneSegments, row: int) -> Floats:
    """(P, 2) centreline points of one lane, metres, city frame."""
    return segments.points[row, : segments.counts[row]]


def joined_centreline(segments: LaneSegments, lanes: npt.NDArray[np.int64]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The centreline along consecutive lanes.

    Args:
        lanes: (M,) rows of `segments`, each a successor of the one before.

    Returns:
        (N, 2) points in metres, without repeated ones, and (N,) the position in `lanes` that each point came from.
    """
    counts = segments.counts[lanes]
    points = segments.points[lanes][np.arange(MAX_POINTS) < counts[:, None]]
    position = np.repeat(np.arange(len(lanes)), counts)
    new = np.concatenate([[True], step_lengths(points) > SAME_POINT])
    return points[new], position[new]


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


def resample(points: Floats, spacing: float) -> Floats:
    """The polyline at equal steps of at most `spacing` metres, both ends kept."""
    length = arc_length(points)
    count = max(2, int(np.ceil(length[-1] / spacing)) + 1)
    return interpolate(points, np.linspace(0.0, length[-1], count), length)


def densify(points: Floats, spacing: float) -> Floats:
    """The same polyline with points inserted so that no step is longer than `spacing` metres; given points stay."""
    return densify_intervals(points, spacing)[0]


def densify_intervals(points: Floats, spacing: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """`densify`, and for each point (M,) the given step it lies in (the last for the end)."""
    pieces = np.maximum(1, np.ceil(step_lengths(points) / spacing - 1e-9)).astype(np.int64)
    interval = np.repeat(np.arange(len(pieces)), pieces)
    first = np.cumsum(pieces) - pieces
    fraction = (np.arange(len(interval)) - first[interval]) / pieces[interval]
    inserted = points[interval] + fraction[:, None] * (points[interval + 1] - points[interval])
    return np.concatenate([inserted, points[-1:]]), np.append(interval, len(pieces) - 1)


def headings(points: Floats) -> Floats:
    """(N,) heading of a polyline at its points, radians, without jumps of a full turn: central differences."""
    slope = np.gradient(points, axis=0)
    return np.unwrap(np.arctan2(slope[:, 1], slope[:, 0]))
