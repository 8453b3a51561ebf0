"""The centreline along a route and the corridor of lanes around it: densify, warp, reduce to ten points per lane."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.augmentation.transforms import Transform
from synthdrive.core.geometry import arc_length, interpolate, polyline_of_points, step_lengths
from synthdrive.scenes.lane_map import MAX_POINTS, LaneMap, LaneSegments

Floats = npt.NDArray[np.float64]

SAME_POINT = 0.01  # m; consecutive points closer than this count as one (the official maps repeat end points)


def lane_points(segments: LaneSegments, row: int) -> Floats:
    """Return the centreline points of one lane, (P, 2) metres, city frame."""
    return segments.points[row, : segments.counts[row]]


def joined_centreline(segments: LaneSegments, lanes: npt.NDArray[np.int64]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Join the centrelines of consecutive lanes.

    Args:
        lanes: (M,) rows of `segments`, each a successor of the one before.

    Returns:
        (N, 2) points in metres, without repeated ones, and (N,) the index in `lanes` of each point's lane.
    """
    counts = segments.counts[lanes]
    points = segments.points[lanes][np.arange(MAX_POINTS) < counts[:, None]]
    position = np.repeat(np.arange(len(lanes)), counts)
    new = np.concatenate([[True], step_lengths(points) > SAME_POINT])
    return points[new], position[new]


def resample(points: Floats, spacing: float) -> Floats:
    """Resample a polyline (N, 2) at equal steps of at most `spacing` metres; both ends are kept."""
    length = arc_length(points)
    count = max(2, int(np.ceil(length[-1] / spacing)) + 1)
    return interpolate(points, np.linspace(0.0, length[-1], count), length)


def densify(points: Floats, spacing: float) -> Floats:
    """Insert points into a polyline (N, 2) so that no step is longer than `spacing` metres; the given points stay."""
    return densify_intervals(points, spacing)[0]


def densify_intervals(points: Floats, spacing: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return what `densify` returns and, for each point (M,), the index of the given step that it lies in."""
    pieces = np.maximum(1, np.ceil(step_lengths(points) / spacing - 1e-9)).astype(np.int64)
    interval = np.repeat(np.arange(len(pieces)), pieces)
    first = np.cumsum(pieces) - pieces
    fraction = (np.arange(len(interval)) - first[interval]) / pieces[interval]
    inserted = points[interval] + fraction[:, None] * (points[interval + 1] - points[interval])
    return np.concatenate([inserted, points[-1:]]), np.append(interval, len(pieces) - 1)


def headings(points: Floats) -> Floats:
    """Return the unwrapped heading at each point of a polyline (N, 2), from central differences: (N,) radians."""
    slope = np.gradient(points, axis=0)
    return np.unwrap(np.arctan2(slope[:, 1], slope[:, 0]))


Rows = npt.NDArray[np.int64]

MIN_BEND = 1e-4  # 1/m; where the second derivative of a transform is below this, a lane counts as not bent
MILLIMETRE = 3  # decimals of generated positions
CENTRELINE_SPACING = 1.0  # m between the points of a driven centreline
REACH_STEP = 10.0  # m between the positions around which the lanes of a corridor are collected


def warp_segments(segments: LaneSegments, transform: Transform, spacing: float) -> LaneSegments:
    """Apply a transform to lanes; positions are rounded to 1 mm.

    A lane that the transform bends is densified first and then resampled to ten points, closer together in bends; a
    lane that is only shifted or sheared keeps its own points.

    Args:
        spacing: metres between the points of a densified lane; 0 warps the given points only, as the release does.
    """
    points, counts = transform.warp(segments.points), segments.counts.copy()
    if spacing > 0:
        for row in np.flatnonzero(_bent(segments, transform)):
            dense = transform.warp(densify(segments.points[row, : counts[row]], spacing))
            points[row], counts[row] = polyline_of_points(dense, MAX_POINTS), MAX_POINTS
    points[np.arange(MAX_POINTS) >= counts[:, None]] = 0.0
    return segments.with_points(np.round(points, MILLIMETRE), counts)


def warp_centreline(points: Floats, transform: Transform, spacing: float) -> tuple[Floats, Rows]:
    """Densify a polyline and apply a transform to it; positions are rounded to 1 mm.

    Args:
        points: (N, 2) metres, city frame.
        spacing: metres between points before the transform; 0 warps the given points and joins them by straight lines.

    Returns:
        (M, 2) points in metres, and (M,) the index of the given step that each point lies in.
    """
    if spacing > 0:
        dense, interval = densify_intervals(points, spacing)
        return np.round(transform.warp(dense), MILLIMETRE), interval
    dense, interval = densify_intervals(transform.warp(points), CENTRELINE_SPACING)
    return np.round(dense, MILLIMETRE), interval


def corridor_rows(lane_map: LaneMap, transform: Transform, positions: Floats, half_width: float) -> Rows:
    """Return the rows of the lanes that, once warped, overlap a square around any of the positions.

    Args:
        positions: (N, 2) metres on the warped map.
        half_width: half the side of the square, metres.
    """
    boxes = lane_map.bounding_boxes
    along = arc_length(positions)
    count = max(2, int(np.ceil(along[-1] / REACH_STEP)) + 1)
    centres = interpolate(positions, np.linspace(0.0, along[-1], count), along)
    reach = half_width + REACH_STEP / 2
    x_low, x_high = centres[:, 0].min() - reach, centres[:, 0].max() + reach
    near = (boxes[:, 0] <= x_high) & (boxes[:, 2] >= x_low)  # the transform moves no point along its axis
    possible = np.flatnonzero(near) if transform.axis == 0 else np.arange(len(boxes))
    warped = lane_map.segments.take(possible)
    warped = warped.with_points(transform.warp(warped.points))
    return possible[overlapping(warped.bounding_boxes(), centres, reach).any(axis=0)]


def overlapping(boxes: Floats, centres: Floats, half_width: float) -> npt.NDArray[np.bool_]:
    """Return (N, L) bool: does a box (L, 4) overlap the square of +-`half_width` metres around a centre (N, 2)?"""
    x, y = centres[:, :1], centres[:, 1:]
    in_x = np.logical_and(boxes[:, 0] <= x + half_width, boxes[:, 2] >= x - half_width)
    in_y = np.logical_and(boxes[:, 1] <= y + half_width, boxes[:, 3] >= y - half_width)
    inside: npt.NDArray[np.bool_] = np.logical_and(in_x, in_y)
    return inside


def _bent(segments: LaneSegments, transform: Transform) -> npt.NDArray[np.bool_]:
    """Return (L,) bool: whether the transform bends anywhere within the range of each lane along its axis."""
    x = np.where(segments.valid, transform.along(segments.points), np.nan)
    low, high = np.nanmin(x, axis=1), np.nanmax(x, axis=1)
    places = max(41, int(np.ceil((high - low).max(initial=0.0))) + 1)  # at least one per metre
    share = np.linspace(0.0, 1.0, places)
    grid = low[:, None] + (high - low)[:, None] * share - transform.anchor
    bent: npt.NDArray[np.bool_] = np.any(np.abs(transform.second_derivative(grid)) > MIN_BEND, axis=1)
    return bent
