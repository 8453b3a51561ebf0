"""Background agents: other road users that drive on lanes around the focal agent or stand at the roadside.

This goes beyond the paper, whose focal agent is alone. Background agents choose their lanes independently of the focal
agent, because vehicles that share its route would give away its goal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from synthdrive.config.synthetic_data import BackgroundAgentParameters
from synthdrive.core.timing import STEP_SECONDS
from synthdrive.scenes.lane_map import LaneSegments

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MAX_GAP = 0.5  # m, largest gap between the end of a lane and the start of the next
MAX_FOLLOWING = 6  # maximum number of lanes after the first on the path of a background agent
REACH = 100  # m, greatest length of such a path
SHORTEST = 3  # steps; shorter tracks are left out


@dataclass(frozen=True)
class BackgroundAgents:
    """N background agents in each of W windows; an unused row has no valid step.

    Attributes:
        xy: (W, N, T, 2) metres, city frame.
        valid: (W, N, T) bool; the valid steps of a track are consecutive.
    """

    xy: Floats
    valid: Bools


@dataclass(frozen=True)
class _LanePaths:
    """A path from each of M lanes along the lane and those after it, with a point every metre.

    Attributes:
        points: (M, REACH + 1, 2) metres; continued straight beyond the length.
        lengths: (M,) length of the path, metres, at most REACH.
        first: (M,) length of the first lane, metres.
    """

    points: Floats
    lengths: Floats
    first: Floats


def draw_background_agents(
    lanes: LaneSegments,
    inside: Bools,
    agent: Floats,
    parameters: BackgroundAgentParameters,
    random: np.random.Generator,
) -> BackgroundAgents:
    """Draw background agents on random lanes of each window's map crop.

    The first is visible all the time, as the AV is; each of the others appears late with probability one half and
    disappears early with probability one half.

    Args:
        lanes: M lanes around the windows.
        inside: (W, M) bool, True where a lane lies in the map crop of a window.
        agent: (W, T, 2) track of the focal agent, metres, city frame; background agents that come near it are left out.
    """
    windows, size, steps = len(inside), 2 * parameters.count, agent.shape[1]
    used = np.flatnonzero(inside.any(axis=0))
    if size == 0 or used.size == 0:
        return BackgroundAgents(np.zeros((windows, size, steps, 2)), np.zeros((windows, size, steps), dtype=bool))
    paths = _lane_paths(lanes, used, random)
    order = np.argsort(~inside[:, used], axis=1, kind="stable")
    available = inside.sum(axis=1)
    pick = (random.random((windows, size)) * available[:, None]).astype(np.int64)
    chosen = np.take_along_axis(order, np.minimum(pick, order.shape[1] - 1), axis=1)  # [W, N]
    stands = random.random((windows, size)) < parameters.standing_fraction
    speed = random.uniform(parameters.min_speed, parameters.max_speed, (windows, size))[..., None]
    change = random.normal(0.0, parameters.acceleration_std, (windows, size, 1))
    speed = speed + change * STEP_SECONDS * np.arange(steps)
    speed = np.where(stands[..., None], 0.0, np.clip(speed, 0.0, parameters.max_speed))
    place = random.random((windows, size)) * paths.first[chosen]
    along = place[..., None] + np.cumsum(speed, axis=2) * STEP_SECONDS
    nearest, farthest = parameters.roadside_offset
    beside = -random.uniform(nearest, farthest, (windows, size))
    across = np.where(stands, beside, random.normal(0.0, parameters.lateral_std, (windows, size)))
    xy = _positions(paths, chosen, along, across)
    valid = _visible(windows, size, steps, random) & (along <= paths.lengths[chosen][..., None])
    valid &= (np.arange(size) < random.integers(1, size + 1, windows)[:, None])[..., None]
    near = (np.hypot(*np.moveaxis(xy - agent[:, None], -1, 0)) < parameters.clearance) & valid
    valid &= ~near.any(axis=2, keepdims=True) & (available > 0)[:, None, None]
    valid &= valid.sum(axis=2, keepdims=True) >= SHORTEST
    return BackgroundAgents(xy, valid)


def _visible(windows: int, size: int, length: int, random: np.random.Generator) -> Bools:
    """Draw the steps in which each agent is visible, (W, N, T) bool."""
    late, early = random.random((2, windows, size)) < 0.5
    late[:, :1] = early[:, :1] = False
    first = np.where(late, random.integers(0, length, (windows, size)), 0)
    last = np.where(early, random.integers(0, length, (windows, size)), length - 1)
    steps = np.arange(length)
    seen: Bools = (steps >= first[..., None]) & (steps <= last[..., None])
    return seen


def _positions(paths: _LanePaths, chosen: npt.NDArray[np.int64], along: Floats, across: Floats) -> Floats:
    """Return positions (W, N, T, 2) at `along` (W, N, T) metres on the paths, `across` (W, N) metres to their left."""
    place = np.clip(along, 0.0, REACH - 1e-6)
    index = place.astype(np.int64)
    rows = chosen[..., None]
    before = paths.points[rows, index]
    step = paths.points[rows, index + 1] - before
    left = np.stack([-step[..., 1], step[..., 0]], axis=-1)
    between: Floats = before + (place - index)[..., None] * step + across[..., None, None] * left
    return between


def _lane_paths(lanes: LaneSegments, used: npt.NDArray[np.int64], random: np.random.Generator) -> _LanePaths:
    """Draw a path from each used lane; the next lane is drawn from those that start where the last one ends."""
    starts, ends = lanes.points[:, 0], lanes.points[np.arange(len(lanes)), lanes.counts - 1]
    neighbours = cKDTree(starts).query_ball_point(ends, MAX_GAP, return_sorted=True)
    points = np.empty((len(used), REACH + 1, 2))
    lengths, first = np.empty(len(used)), np.empty(len(used))
    grid = np.arange(REACH + 1, dtype=np.float64)
    for row, lane in enumerate(used):
        parts, at = [lanes.points[lane, : lanes.counts[lane]]], lane
        for _ in range(MAX_FOLLOWING):
            following = neighbours[at]
            if not following:
                break
            at = following[int(random.random() * len(following))]
            parts.append(lanes.points[at, 1 : lanes.counts[at]])
        line = np.concatenate(parts)
        steps = np.hypot(*np.diff(line, axis=0).T)
        distance = np.concatenate([[0.0], np.cumsum(steps)])
        length = float(distance[-1])
        first[row] = float(steps[: lanes.counts[lane] - 1].sum())
        lengths[row] = min(length, REACH)
        onward = (line[-1] - line[-2]) / max(float(steps[-1]), 1e-9)
        for axis in (0, 1):
            points[row, :, axis] = np.interp(grid, distance, line[:, axis])
        points[row] += np.maximum(grid - length, 0.0)[:, None] * onward
    return _LanePaths(points, lengths, first)
