"""Ways that the lanes of a scene's map crop leave open to an agent.

A crop holds lanes without their links: a lane continues in those that start where it ends, in about its direction.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.maps.lane_segments import LaneSegments

Floats = npt.NDArray[np.float64]

MAX_PATHS = 6
NEAR = 4.0  # m, the agent may be this far from the centreline of a lane that it follows
NEAR_ANGLE = np.radians(60.0)  # and its heading this far from the lane's
FAR_COST = 2.0  # a lane is considered while its cost is no more than this above the best one's
LINK_GAP = 1.5  # m between a lane's end and the start of its successor
LINK_ANGLE = np.radians(75.0)
SAME_PATH = 2.0  # m between the ends of two paths that count as one


def lane_paths(
    lanes: LaneSegments, origin: Floats, position: Floats, heading: Floats, reach: float
) -> tuple[list[Floats], Floats]:
    """Centrelines ahead of an agent, likeliest first.

    Args:
        lanes: of the map crop, city frame.
        origin: (2,) metres, city frame; all else is relative to it.
        position: (2,) metres.
        heading: (2,) unit vector.
        reach: metres that each path covers at least where there are lanes enough.

    Returns:
        At most six paths (P, 2) in metres, relative to `origin`, from the point nearest to the agent on, and their
        weights, which fall with the distance from the agent's position and heading. None where no lane is near.
    """
    points = lanes.points - origin  # [L, 10, 2]
    if not len(lanes):
        return [], np.empty(0)
    starts = _nearest_positions(points, lanes.counts, position, heading)
    if not starts:
        return [], np.empty(0)
    successors = _successors(points, lanes.counts)
    cheapest = min(cost for cost, *_ in starts)
    found: list[tuple[float, Floats]] = []
    for cost, lane, foot, segment in starts:
        if cost > cheapest + FAR_COST:
            continue
        first = np.concatenate([foot[None], points[lane, segment + 1 : lanes.counts[lane]]])
        ways = _extend(first, lane, points, lanes.counts, successors, reach)
        found += [(np.exp(cheapest - cost) / len(ways), way) for way in ways]
    return _distinct(found, reach)


def points_along(path: Floats, distances: Floats) -> Floats:
    """(N, 2) points at these distances along a path; straight on beyond its end."""
    steps = np.diff(path, axis=0)
    length = np.hypot(steps[:, 0], steps[:, 1])
    travelled = np.concatenate([[0.0], np.cumsum(length)])
    inside = np.stack([np.interp(distances, travelled, path[:, axis]) for axis in (0, 1)], axis=1)
    moving = np.flatnonzero(length > 0)
    if not moving.size:
        return inside
    direction = steps[moving[-1]] / length[moving[-1]]
    beyond: Floats = inside + np.maximum(distances - travelled[-1], 0.0)[:, None] * direction
    return beyond


def _nearest_positions(
    points: Floats, counts: npt.NDArray[np.int64], position: Floats, heading: Floats
) -> list[tuple[float, int, Floats, int]]:
    """Cost, lane, nearest point and its segment of the lanes that the agent may be on."""
    start, step = points[:, :-1], np.diff(points, axis=1)  # [L, 9, 2]
    square = np.square(step).sum(-1)
    valid = (np.arange(points.shape[1] - 1) < counts[:, None] - 1) & (square > 0)
    share = np.clip(((position - start) * step).sum(-1) / np.where(valid, square, 1.0), 0.0, 1.0)
    foot = start + share[..., None] * step
    distance = np.hypot(*np.moveaxis(position - foot, -1, 0))  # [L, 9]
    along = (step @ heading) / np.sqrt(np.where(valid, square, 1.0))
    angle = np.arccos(np.clip(along, -1.0, 1.0))
    fits = valid & (distance < NEAR) & (angle < NEAR_ANGLE)
    cost = np.where(fits, distance + 4.0 * angle / NEAR_ANGLE, np.inf)
    segment = cost.argmin(axis=1)
    rows = np.flatnonzero(np.isfinite(cost.min(axis=1)))
    return [(float(cost[row, segment[row]]), int(row), foot[row, segment[row]], int(segment[row])) for row in rows]


def _successors(points: Floats, counts: npt.NDArray[np.int64]) -> list[npt.NDArray[np.intp]]:
    """Lanes that start where each lane ends, in about its direction."""
    rows = np.arange(len(points))
    first, last = points[:, 0], points[rows, counts - 1]
    leaving = _unit(last - points[rows, counts - 2])
    entering = _unit(points[:, 1] - first)
    gap = np.hypot(*np.moveaxis(last[:, None] - first[None], -1, 0))
    turn = np.arccos(np.clip(leaving @ entering.T, -1.0, 1.0))
    linked = (gap < LINK_GAP) & (turn < LINK_ANGLE)
    np.fill_diagonal(linked, False)
    return [np.flatnonzero(row) for row in linked]


def _extend(
    path: Floats,
    lane: int,
    points: Floats,
    counts: npt.NDArray[np.int64],
    successors: list[npt.NDArray[np.intp]],
    reach: float,
) -> list[Floats]:
    """All ways on from a lane until they are long enough, end, or come back to a lane."""
    done: list[Floats] = []
    open_ways: list[tuple[Floats, tuple[int, ...]]] = [(path, (lane,))]
    while open_ways and len(done) + len(open_ways) <= 4 * MAX_PATHS:
        way, visited = open_ways.pop(0)
        following = [] if _length(way) >= reach else [n for n in successors[visited[-1]] if int(n) not in visited]
        if not following:
            done.append(way)
        for lane_row in following:
            more = points[lane_row, : counts[lane_row]]
            open_ways.append((np.concatenate([way, more[1:]]), (*visited, int(lane_row))))
    return done + [way for way, _ in open_ways]


def _distinct(found: list[tuple[float, Floats]], reach: float) -> tuple[list[Floats], Floats]:
    """The likeliest paths with different ends; a path's weight includes those of its likes."""
    found.sort(key=lambda item: -item[0])
    kept: list[Floats] = []
    ends: list[Floats] = []
    weights: list[float] = []
    for weight, path in found:
        end = points_along(path, np.array([reach]))[0]
        same = [k for k, other in enumerate(ends) if np.hypot(*(end - other)) < SAME_PATH]
        if same:
            weights[same[0]] += weight
        else:
            kept.append(path)
            ends.append(end)
            weights.append(weight)
    order = np.argsort(-np.array(weights), kind="stable")[:MAX_PATHS]
    return [kept[k] for k in order], np.array(weights)[order]


def _unit(vectors: Floats) -> Floats:
    length = np.hypot(vectors[..., 0], vectors[..., 1])[..., None]
    unit: Floats = vectors / np.where(length > 0, length, 1.0)
    return unit


def _length(path: Floats) -> float:
    return float(np.hypot(*np.diff(path, axis=0).T).sum())
