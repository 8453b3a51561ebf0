"""Baselines without training: what a forecast must beat to be worth its network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from synthdrive.core.geometry import arc_length, fraction_along, interpolate, step_lengths
from synthdrive.forecasting.forecasts import MODES, Forecasts
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import SceneStore, follows_lanes

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
    steps, length, travelled = np.diff(path, axis=0), step_lengths(path), arc_length(path)
    inside = interpolate(path, distances, travelled)
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
    fraction = fraction_along(position - start, step)
    foot = start + fraction[..., None] * step
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
    return float(step_lengths(path).sum())


VELOCITY_STEPS = 6  # the velocity is the mean over the last 6 steps
SPEED_FACTORS = (1.0, 0.75, 1.25, 0.5, 1.5, 0.25)  # of the six guesses, likeliest first
SPEED_WEIGHTS = (1.0, 0.6, 0.6, 0.3, 0.3, 0.2)
OFFSET_METRES = 20.0  # of driving, in which the distance to the centreline falls to 1/e


class ConstantVelocity:
    """The focal agent goes on with the mean velocity of its last 6 steps.

    The other five guesses go slower or faster.
    """

    name = "constant_velocity"

    def forecast(self, store: SceneStore, indices: Sequence[int]) -> Forecasts:
        """Forecasts of these scenes."""
        agents = observed_tracks(store, indices)
        step = observed_velocity(agents)  # [B, 2]
        times = np.arange(1, store.timing.future_steps + 1)
        factors = np.array(SPEED_FACTORS)
        moved = step[:, None, None] * (factors[:, None] * times)[None, ..., None]  # [B, 6, T, 2]
        weights = np.tile(SPEED_WEIGHTS, (len(agents), 1))
        return Forecasts.ranked(scene_ids(store, indices), agents[:, -1, None, None] + moved, weights)


class LaneFollowing:
    """The focal agent follows the lanes ahead at its present speed, one guess a way, then at other speeds.

    An agent that keeps to no lane for motor vehicles (a pedestrian, a cyclist), or has none near it in its direction,
    is forecast with constant velocity.
    """

    name = "lane_following"

    def forecast(self, store: SceneStore, indices: Sequence[int]) -> Forecasts:
        """Forecasts of these scenes."""
        agents, future = observed_tracks(store, indices), store.timing.future_steps
        steps, follows = observed_velocity(agents), follows_lanes(store.manifest)
        fallback = ConstantVelocity().forecast(store, indices)
        trajectories = fallback.trajectories.astype(np.float64)
        weights = fallback.probabilities.astype(np.float64)
        for row, index in enumerate(indices):
            if not follows[index]:
                continue
            scene = store[index]
            lanes = store.lanes.take(scene.lane_rows)
            position, reach = agents[row, -1], _reach(steps[row], future)
            paths, likely = lane_paths(lanes, scene.origin, position, heading(agents[row]), reach)
            if paths:
                trajectories[row], weights[row] = _guesses(
                    paths, likely, position, float(np.hypot(*steps[row])), future
                )
        return Forecasts.ranked(scene_ids(store, indices), trajectories, weights)


BASELINES = {baseline.name: baseline for baseline in (ConstantVelocity, LaneFollowing)}


def observed_tracks(store: SceneStore, indices: Sequence[int]) -> Floats:
    """(B, T, 2) the focal agent's histories, metres, city axes, relative to each scene's origin."""
    history = store.timing.history_steps
    return np.stack([store[index].agent[:history] for index in indices]).astype(np.float64)


def scene_ids(store: SceneStore, indices: Sequence[int]) -> list[str]:
    """Names of these scenes."""
    return [store.scene_ids[index] for index in indices]


def observed_velocity(agents: Floats) -> Floats:
    """(B, 2) metres per step, the mean over the last observed steps."""
    velocity: Floats = (agents[:, -1] - agents[:, -1 - VELOCITY_STEPS]) / VELOCITY_STEPS
    return velocity


def heading(agent: Floats) -> Floats:
    """(2,) unit vector of the last observed half metre at least; of the whole history where it is shorter."""
    moved = agent[-1] - agent  # [T, 2]
    length = np.hypot(moved[:, 0], moved[:, 1])
    far = np.flatnonzero(length[:-VELOCITY_STEPS] > 0.5)
    start = int(far[-1]) if far.size else 0
    return moved[start] / length[start] if length[start] > 0 else np.array([1.0, 0.0])


def _reach(step: Floats, future_steps: int) -> float:
    """Metres of lane that the fastest guess covers."""
    return float(np.hypot(*step)) * future_steps * max(SPEED_FACTORS) + 1.0


def _guesses(
    paths: list[Floats], likely: Floats, position: Floats, speed: float, future_steps: int
) -> tuple[Floats, Floats]:
    """(6, T, 2) trajectories along the paths, and their weights: every path at the present speed first."""
    pairs = [(way, 0) for way in range(len(paths))]
    rest = [(way, factor) for factor in range(1, MODES) for way in range(len(paths))]
    rest.sort(key=lambda pair: -likely[pair[0]] * SPEED_WEIGHTS[pair[1]])
    pairs = (pairs + rest)[:MODES]
    trajectories = np.empty((MODES, future_steps, 2))
    for mode, (way, factor) in enumerate(pairs):
        travelled: Floats = speed * SPEED_FACTORS[factor] * np.arange(1.0, future_steps + 1)
        fade = np.exp(-travelled / OFFSET_METRES)
        offset = position - paths[way][0]
        trajectories[mode] = points_along(paths[way], travelled) + fade[:, None] * offset
    weights = np.array([likely[way] * SPEED_WEIGHTS[factor] for way, factor in pairs])
    return trajectories, weights
