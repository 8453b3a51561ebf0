"""Routes over the lane graph: random walks that prefer lanes not driven yet (docs/method.md 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.scenes.lane_map import LaneMap, Links

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Route:
    """A way through a city.

    Attributes:
        index: number of the route in its city, from 0.
        lanes: (M,) int64 rows of the map's segments, each a successor of the one before.
        fresh: (M,) bool, True where no earlier route, nor this one before, has driven the lane.
    """

    index: int
    lanes: Rows
    fresh: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RouteSampling:
    """How routes are sampled; lengths in metres, the angle in radians.

    Attributes:
        count: most routes in a city; fewer where the city is covered before.
        length: a route ends once it is this long.
        min_length: shorter routes are not kept.
        min_fresh: routes with less new road than this are not kept.
        lead_out: road kept behind the last fresh lane, for the driver to look ahead on.
        max_joint_angle: successors that set off at a larger angle are not driven.
    """

    count: int
    length: float
    min_length: float
    min_fresh: float
    lead_out: float
    max_joint_angle: float


def sample_routes(lane_map: LaneMap, sampling: RouteSampling, random: np.random.Generator) -> list[Route]:
    """Routes that together cover the map as far as their number allows; the same `random` gives the same routes."""
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
    """(L,) metres along each lane's centreline."""
    steps = np.diff(lane_map.segments.points, axis=1)
    lengths: npt.NDArray[np.float64] = (np.hypot(steps[..., 0], steps[..., 1]) * lane_map.segments.valid[:, 1:]).sum(1)
    return lengths


def smooth_successors(lane_map: LaneMap, max_angle: float) -> Links:
    """The map's successor links without those at whose joint the heading turns by more than `max_angle` radians."""
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
    """A route continued straight ahead at both ends by at least these metres, as far as the map goes."""
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
    """One walk from `start`, cut off `lead_out` metres behind its last fresh lane."""
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
    """Angle, radians, between the overall directions of two lanes."""
    segments = lane_map.segments
    a, b = (segments.points[row, segments.counts[row] - 1] - segments.points[row, 0] for row in (first, second))
    return float(abs(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)))
