"""Other road users around the focal agent: on other lanes, or standing at the roadside.

Beyond the paper, whose focal agent is alone.

They drive where the map lets them, not where the focal agent goes: vehicles that share the focal agent's route would
give away its goal.
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

JOINED = 0.5  # m between the end of a lane and the beginning of the next
HOPS = 6  # lanes in a row that a background agent may drive along
REACH = 100  # m, longest way of a background agent
SHORTEST = 3  # steps of a track


@dataclass(frozen=True)
class BackgroundAgents:
    """N other road users in each of W windows; one that is not there has no valid step.

    Attributes:
        xy: (W, N, T, 2) metres, city frame.
        valid: (W, N, T) bool, one run of steps in each track.
    """

    xy: Floats
    valid: Bools


@dataclass(frozen=True)
class _Ways:
    """A way to drive from each of M lanes: itself and lanes that follow it, with a point every metre.

    Attributes:
        points: (M, REACH + 1, 2) metres; straight on beyond the length.
        lengths: (M,) metres of the way, up to REACH.
        first: (M,) metres of the lane itself.
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
    """Road users on random lanes of each window's crop.

    The first is there all the time, as the recording vehicle is; half of the others appear late, half leave early.

    Args:
        lanes: M lanes around the windows.
        inside: (W, M) which of them lie in the crop of each window.
        agent: (W, T, 2) the focal agent's track, metres, city frame; who comes near it is left out.
    """
    windows, size, steps = len(inside), 2 * parameters.count, agent.shape[1]
    used = np.flatnonzero(inside.any(axis=0))
    if size == 0 or used.size == 0:
        return BackgroundAgents(np.zeros((windows, size, steps, 2)), np.zeros((windows, size, steps), dtype=bool))
    ways = _ways(lanes, used, random)
    order = np.argsort(~inside[:, used], axis=1, kind="stable")
    available = inside.sum(axis=1)
    pick = (random.random((windows, size)) * available[:, None]).astype(np.int64)
    chosen = np.take_along_axis(order, np.minimum(pick, order.shape[1] - 1), axis=1)  # [W, N]
    stands = random.random((windows, size)) < parameters.standing_fraction
    speed = random.uniform(parameters.min_speed, parameters.max_speed, (windows, size))[..., None]
    change = random.normal(0.0, parameters.acceleration_std, (windows, size, 1))
    speed = speed + change * STEP_SECONDS * np.arange(steps)
    speed = np.where(stands[..., None], 0.0, np.clip(speed, 0.0, parameters.max_speed))
    place = random.random((windows, size)) * ways.first[chosen]
    along = place[..., None] + np.cumsum(speed, axis=2) * STEP_SECONDS
    nearest, farthest = parameters.roadside_offset
    beside = -random.uniform(nearest, farthest, (windows, size))
    across = np.where(stands, beside, random.normal(0.0, parameters.lateral_std, (windows, size)))
    xy = _at(ways, chosen, along, across)
    valid = _visible(windows, size, steps, random) & (along <= ways.lengths[chosen][..., None])
    valid &= (np.arange(size) < random.integers(1, size + 1, windows)[:, None])[..., None]
    near = (np.hypot(*np.moveaxis(xy - agent[:, None], -1, 0)) < parameters.clearance) & valid
    valid &= ~near.any(axis=2, keepdims=True) & (available > 0)[:, None, None]
    valid &= valid.sum(axis=2, keepdims=True) >= SHORTEST
    return BackgroundAgents(xy, valid)


def _visible(windows: int, size: int, length: int, random: np.random.Generator) -> Bools:
    """(W, N, T) the run of steps in which each is seen."""
    late, early = random.random((2, windows, size)) < 0.5
    late[:, :1] = early[:, :1] = False
    first = np.where(late, random.integers(0, length, (windows, size)), 0)
    last = np.where(early, random.integers(0, length, (windows, size)), length - 1)
    steps = np.arange(length)
    seen: Bools = (steps >= first[..., None]) & (steps <= last[..., None])
    return seen


def _at(ways: _Ways, chosen: npt.NDArray[np.int64], along: Floats, across: Floats) -> Floats:
    """(W, N, T, 2) positions `along` (W, N, T) metres on the ways, `across` (W, N) metres to the left of them."""
    place = np.clip(along, 0.0, REACH - 1e-6)
    index = place.astype(np.int64)
    rows = chosen[..., None]
    before = ways.points[rows, index]
    step = ways.points[rows, index + 1] - before
    left = np.stack([-step[..., 1], step[..., 0]], axis=-1)
    between: Floats = before + (place - index)[..., None] * step + across[..., None, None] * left
    return between


def _ways(lanes: LaneSegments, used: npt.NDArray[np.int64], random: np.random.Generator) -> _Ways:
    """From each used lane straight on or round a corner: the next lane is any that begins where the last one ends."""
    starts, ends = lanes.points[:, 0], lanes.points[np.arange(len(lanes)), lanes.counts - 1]
    neighbours = cKDTree(starts).query_ball_point(ends, JOINED, return_sorted=True)
    points = np.empty((len(used), REACH + 1, 2))
    lengths, first = np.empty(len(used)), np.empty(len(used))
    grid = np.arange(REACH + 1, dtype=np.float64)
    for row, lane in enumerate(used):
        parts, at = [lanes.points[lane, : lanes.counts[lane]]], lane
        for _ in range(HOPS):
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
    return _Ways(points, lengths, first)
