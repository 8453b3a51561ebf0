"""Baselines without training: constant velocity and lane following."""

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
NEAR = 4.0  # m; greatest distance of the agent from the centreline of a lane that it follows
NEAR_ANGLE = np.radians(60.0)  # greatest difference between its heading and the lane's
FAR_COST = 2.0  # greatest difference between a lane's cost and the lowest one
LINK_GAP = 1.5  # m; greatest distance between a lane's end and the start of its successor
LINK_ANGLE = np.radians(75.0)  # greatest change of direction between them
SAME_PATH = 2.0  # m; paths whose ends are closer than this count as one


def lane_paths(
    lanes: LaneSegments, origin: Floats, position: Floats, heading: Floats, reach: float
) -> tuple[list[Floats], Floats]:
    """Return the paths along lanes that an agent may follow, the most probable first.

    Args:
        lanes: lanes of the map crop, city frame.
        origin: (2,) metres, city frame; positions below are relative to it.
        position: (2,) metres, the agent's position.
        heading: (2,) unit vector, the agent's heading.
        reach: metres that each path should cover, if there are enough lanes.

    Returns:
        At most six paths (P, 2) in metres, relative to `origin`, beginning at the point nearest to the agent, and their
        weights (N,), which fall with the distance from the agent's position and heading. No path if no lane is near.
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
    """Return points (N, 2) at distances (N,) along a path (P, 2), in metres; beyond its end it goes straight on."""
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
    """Return cost, lane, nearest point and its segment for each lane that the agent may be on."""
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
    """Return, for each lane, the lanes that start at its end in about the same direction."""
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
    """Return all continuations of a path on `lane`, each until it is long enough, ends, or would repeat a lane."""
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
    """Return the most probable paths with different ends, and their weights; paths with equal ends are merged."""
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
SPEED_FACTORS = (1.0, 0.75, 1.25, 0.5, 1.5, 0.25)  # of the six trajectories, most probable first
SPEED_WEIGHTS = (1.0, 0.6, 0.6, 0.3, 0.3, 0.2)
OFFSET_METRES = 20.0  # distance driven until the offset from the centreline has fallen to 1/e


class ConstantVelocity:
    """Baseline in which the focal agent keeps the mean velocity of its last 6 steps.

    The other five trajectories are slower or faster.
    """

    name = "constant_velocity"

    def forecast(self, store: SceneStore, indices: Sequence[int]) -> Forecasts:
        """See `forecast_scenes.Forecaster`."""
        agents = observed_tracks(store, indices)
        step = observed_velocity(agents)  # [B, 2]
        times = np.arange(1, store.timing.future_steps + 1)
        factors = np.array(SPEED_FACTORS)
        moved = step[:, None, None] * (factors[:, None] * times)[None, ..., None]  # [B, 6, T, 2]
        weights = np.tile(SPEED_WEIGHTS, (len(agents), 1))
        return Forecasts.ranked(scene_ids(store, indices), agents[:, -1, None, None] + moved, weights)


class LaneFollowing:
    """Baseline in which the focal agent follows the lanes ahead, first each path at its present speed, then at others.

    Pedestrians, cyclists and other agents that do not follow lanes for motor vehicles, and agents without a lane near
    them in their direction, are forecast with constant velocity.
    """

    name = "lane_following"

    def forecast(self, store: SceneStore, indices: Sequence[int]) -> Forecasts:
        """See `forecast_scenes.Forecaster`."""
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
                trajectories[row], weights[row] = _trajectories(
                    paths, likely, position, float(np.hypot(*steps[row])), future
                )
        return Forecasts.ranked(scene_ids(store, indices), trajectories, weights)


BASELINES = {baseline.name: baseline for baseline in (ConstantVelocity, LaneFollowing)}


def observed_tracks(store: SceneStore, indices: Sequence[int]) -> Floats:
    """Return the focal agents' histories (B, T, 2), metres, city axes, relative to each scene's origin."""
    history = store.timing.history_steps
    return np.stack([store[index].agent[:history] for index in indices]).astype(np.float64)


def scene_ids(store: SceneStore, indices: Sequence[int]) -> list[str]:
    """Return the names of the given scenes."""
    return [store.scene_ids[index] for index in indices]


def observed_velocity(agents: Floats) -> Floats:
    """Return the mean velocity (B, 2) over the last observed steps of histories (B, T, 2), in metres per step."""
    velocity: Floats = (agents[:, -1] - agents[:, -1 - VELOCITY_STEPS]) / VELOCITY_STEPS
    return velocity


def heading(agent: Floats) -> Floats:
    """Return the heading at the end of a history (T, 2) in metres, as a unit vector (2,).

    It is measured over at least the last 0.5 m, or over the whole history if that is shorter.
    """
    moved = agent[-1] - agent  # [T, 2]
    length = np.hypot(moved[:, 0], moved[:, 1])
    far = np.flatnonzero(length[:-VELOCITY_STEPS] > 0.5)
    start = int(far[-1]) if far.size else 0
    return moved[start] / length[start] if length[start] > 0 else np.array([1.0, 0.0])


def _reach(step: Floats, future_steps: int) -> float:
    """Return the distance in metres that the fastest trajectory covers."""
    return float(np.hypot(*step)) * future_steps * max(SPEED_FACTORS) + 1.0


def _trajectories(
    paths: list[Floats], likely: Floats, position: Floats, speed: float, future_steps: int
) -> tuple[Floats, Floats]:
    """Return trajectories (6, T, 2) along the paths, every path at the present speed first, and their weights (6,)."""
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
