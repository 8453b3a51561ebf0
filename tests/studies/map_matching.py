"""Map matching: find the most likely sequence of connected lanes for a trajectory, by a Viterbi search."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.augmentation.corridor import lane_points
from synthdrive.core.errors import InputError
from synthdrive.core.geometry import distance_to_pieces
from synthdrive.scenes.lane_map import LaneMap, LaneSegments

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

CANDIDATE_RADIUS = 4.0  # m; lanes farther from a point are not candidates
LATERAL_SCALE = 0.7  # m; a typical distance from the centreline
HEADING_SCALE = 0.35  # rad; a typical difference between a driven heading and the lane's
MAX_HOPS = 4  # lanes that a vehicle may pass between two points used
STRIDE = 3  # every third position is used
HOP_COST = 0.05  # makes the shorter of two equally good routes win


def match_route(lane_map: LaneMap, trajectory: Floats, segments: LaneSegments | None = None) -> Rows:
    """Find the lanes along which a trajectory was driven.

    Args:
        lane_map: the map, with the connections of its lanes.
        trajectory: (T, 2) positions in metres, city frame, in driving order.
        segments: geometry of the lanes, if it differs from that of the map (a warped map).

    Returns:
        (M,) rows of the lanes, each a successor of the one before.

    Raises:
        InputError: a position has no lane nearby, or no connected lanes fit the trajectory.
    """
    segments = lane_map.segments if segments is None else segments
    index = np.unique(np.r_[np.arange(0, len(trajectory), STRIDE), len(trajectory) - 1])
    tangent = np.gradient(trajectory, axis=0)[index]
    boxes = segments.bounding_boxes()
    layers: list[dict[int, tuple[float, int, tuple[int, ...]]]] = []
    for position, heading in zip(trajectory[index], tangent, strict=True):
        cost = _emission(segments, boxes, position, heading)
        if not cost:
            where = f"trajectory on {lane_map.city} at ({position[0]:.1f}, {position[1]:.1f})"
            raise InputError(where, f"no lane within {CANDIDATE_RADIUS} m", "a trajectory on the map's lanes")
        layers.append(_advance(lane_map, layers[-1] if layers else None, cost))
        if not layers[-1]:
            where = f"trajectory on {lane_map.city} at ({position[0]:.1f}, {position[1]:.1f})"
            raise InputError(where, "lanes that are not connected", "a trajectory along successive lanes")
    lane = min(layers[-1], key=lambda row: (layers[-1][row][0], row))
    route = [lane]
    for layer in reversed(layers[1:]):
        _, previous, between = layer[lane]
        if previous != lane or between:
            route.extend(reversed(between))
            route.append(previous)
        lane = previous
    return np.array(route[::-1], dtype=np.int64)


def _emission(segments: LaneSegments, boxes: Floats, position: Floats, heading: Floats) -> dict[int, float]:
    """Return the cost of a position and heading for each lane nearby, by row."""
    reach = CANDIDATE_RADIUS
    near = (boxes[:, 0] <= position[0] + reach) & (boxes[:, 2] >= position[0] - reach)
    near &= (boxes[:, 1] <= position[1] + reach) & (boxes[:, 3] >= position[1] - reach)
    costs: dict[int, float] = {}
    for row in np.flatnonzero(near):
        distance, direction = _nearest(lane_points(segments, int(row)), position)
        if distance > reach:
            continue
        turn = np.arctan2(
            direction[0] * heading[1] - direction[1] * heading[0], direction[0] * heading[0] + direction[1] * heading[1]
        )
        if abs(turn) < np.pi / 2:
            costs[int(row)] = float((distance / LATERAL_SCALE) ** 2 + (turn / HEADING_SCALE) ** 2)
    return costs


def _nearest(points: Floats, position: Floats) -> tuple[float, Floats]:
    """Return the distance from a position to a polyline, and the direction of its nearest piece."""
    step = np.diff(points, axis=0)
    distance = distance_to_pieces(position - points[:-1], step)
    best = int(np.argmin(distance))
    return float(distance[best]), step[best]


def _advance(
    lane_map: LaneMap,
    previous: dict[int, tuple[float, int, tuple[int, ...]]] | None,
    cost: dict[int, float],
) -> dict[int, tuple[float, int, tuple[int, ...]]]:
    """Do one Viterbi step: return total cost, previous lane and lanes passed in between, for each candidate."""
    if previous is None:
        return {row: (value, row, ()) for row, value in cost.items()}
    layer: dict[int, tuple[float, int, tuple[int, ...]]] = {}
    for origin in sorted(previous):
        total = previous[origin][0]
        frontier: dict[int, tuple[int, ...]] = {origin: ()}
        seen = {origin}
        for hops in range(MAX_HOPS + 1):
            for row, between in frontier.items():
                value = total + cost.get(row, np.inf) + HOP_COST * hops
                if value < layer.get(row, (np.inf,))[0]:
                    layer[row] = (value, origin, between)
            onward: dict[int, tuple[int, ...]] = {}
            for row, between in frontier.items():
                for successor in map(int, lane_map.successors.of(row)):
                    if successor not in seen:
                        seen.add(successor)
                        onward[successor] = (*between, row) if row != origin else between
            frontier = onward
    return layer
