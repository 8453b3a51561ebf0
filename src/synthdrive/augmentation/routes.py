"""Routes over the lane graph: random walks that prefer lanes not driven yet (docs/method.md 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.scenes.lane_map import LaneMap, Links

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Route:
    """Successive lanes of a city.

    Attributes:
        index: number of the route in its city, from 0.
        lanes: (M,) int64 rows of the map's segments, each a successor of the one before.
        fresh: (M,) bool, True where neither an earlier route nor an earlier part of this one has driven the lane.
    """

    index: int
    lanes: Rows
    fresh: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RouteSampling:
    """How routes are sampled; lengths in metres, the angle in radians.

    Attributes:
        count: maximum number of routes in a city; there are fewer if these already cover it.
        length: a route ends once it is this long.
        min_length: shorter routes are dropped.
        min_fresh: routes with less new road than this are dropped.
        lead_out: road kept after the last fresh lane, so that the driver can look ahead.
        max_joint_angle: a route does not continue on a successor that departs at a larger angle.
    """

    count: int
    length: float
    min_length: float
    min_fresh: float
    lead_out: float
    max_joint_angle: float


def sample_routes(lane_map: LaneMap, sampling: RouteSampling, random: np.random.Generator) -> list[Route]:
    """Sample routes that together cover as much of the map as their number allows; determined by `random`."""
    lengths = lane_lengths(lane_map)
    successors = smooth_successors(lane_map, sampling.max_joint_angle)
    visited = np.zeros(len(lane_map), dtype=bool)
    routes: list[Route] = []
    for start in random.permutation(len(lane_map)):
        if len(routes) >= sampling.count:
            break
        if visited[start]:
            continue
        lanes, fresh = _walk(int(start), successors, lengths, visited, sampling, random)
        if lengths[lanes].sum() < sampling.min_length or lengths[lanes[fresh]].sum() < sampling.min_fresh:
            continue
        visited[lanes] = True
        routes.append(Route(len(routes), lanes, fresh))
    return routes


def lane_lengths(lane_map: LaneMap) -> npt.NDArray[np.float64]:
    """Return the length of each lane's centreline, (L,) metres."""
    steps = np.diff(lane_map.segments.points, axis=1)
    lengths: npt.NDArray[np.float64] = (np.hypot(steps[..., 0], steps[..., 1]) * lane_map.segments.valid[:, 1:]).sum(1)
    return lengths


def smooth_successors(lane_map: LaneMap, max_angle: float) -> Links:
    """Return the successor links at whose joint the heading changes by at most `max_angle` radians."""
    points, counts = lane_map.segments.points, lane_map.segments.counts
    row = np.arange(len(lane_map))
    leaving = points[row, counts - 1] - points[row, counts - 2]
    entering = points[:, 1] - points[:, 0]
    source = np.repeat(row, np.diff(lane_map.successors.offsets))
    target = lane_map.successors.rows
    cross = leaving[source, 0] * entering[target, 1] - leaving[source, 1] * entering[target, 0]
    dot = (leaving[source] * entering[target]).sum(axis=1)
    kept = np.abs(np.arctan2(cross, dot)) <= max_angle
    offsets = np.concatenate([[0], np.cumsum(np.bincount(source[kept], minlength=len(lane_map)))])
    return Links(offsets.astype(np.int64), target[kept])


def extend_route(lane_map: LaneMap, lanes: Rows, before: float, after: float) -> Rows:
    """Extend a route straight ahead at both ends, as far as the map goes.

    Args:
        lanes: (M,) rows of the map's segments.
        before, after: metres to add at least before the start and after the end.
    """
    lengths = lane_lengths(lane_map)
    extended = [int(lane) for lane in lanes]
    for distance, forward in ((before, False), (after, True)):
        links = lane_map.successors if forward else lane_map.predecessors
        end = -1 if forward else 0
        while distance > 0:
            candidates = [int(row) for row in links.of(extended[end]) if int(row) not in extended]
            if not candidates:
                break
            straightest = min(candidates, key=lambda row: (_bend(lane_map, extended[end], row), row))
            extended.insert(len(extended) if forward else 0, straightest)
            distance -= lengths[straightest]
    return np.array(extended, dtype=np.int64)


def _walk(
    start: int,
    successors: Links,
    lengths: npt.NDArray[np.float64],
    visited: npt.NDArray[np.bool_],
    sampling: RouteSampling,
    random: np.random.Generator,
) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Walk from lane `start`; cut the walk `lead_out` metres after its last fresh lane. Returns lanes and `fresh`."""
    lanes, here = [start], {start}
    length = lengths[start]
    while length < sampling.length:
        onward = successors.of(lanes[-1])
        if not len(onward):
            break
        new = [row for row in onward if not visited[row] and row not in here]
        lane = int(random.choice(new if new else onward))
        lanes.append(lane)
        here.add(lane)
        length += lengths[lane]
    route = np.array(lanes, dtype=np.int64)
    first = np.zeros(len(route), dtype=bool)
    first[np.unique(route, return_index=True)[1]] = True
    fresh = first & ~visited[route]
    stop = int(np.flatnonzero(fresh)[-1]) + 1
    behind = np.cumsum(lengths[route[stop:]])
    stop += int(np.searchsorted(behind, sampling.lead_out)) + 1
    return route[:stop], fresh[:stop]


def _bend(lane_map: LaneMap, first: int, second: int) -> float:
    """Return the angle, radians, between the overall directions of two lanes."""
    segments = lane_map.segments
    a, b = (segments.points[row, segments.counts[row] - 1] - segments.points[row, 0] for row in (first, second))
    return float(abs(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)))
