"""Candidate goals: sparse ones along lanes, dense ones on a grid around the best (docs/method.md 1.5, 5).

`GoalPreparation` computes everything that DenseTNT needs from a scene before its weights are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from synthdrive.config.training import ModelParameters
from synthdrive.core.timing import Timing
from synthdrive.models.batch import Batch, check_timing
from synthdrive.models.polylines import AgentFrame, Polylines, actor_polylines, lane_polylines
from synthdrive.models.ragged import Ragged
from synthdrive.models.tensor_group import TensorGroup

VELOCITY_STEPS = 5  # the focal agent's velocity is its mean over the last half second
SAME_POINT = 0.01  # metres; lane points in the same cell of this size count as one goal
_KEY_SPAN = 1 << 24  # greatest coordinate of a cell that fits into a key


@dataclass(frozen=True)
class GoalScenes(TensorGroup):
    """Inputs and labels of DenseTNT for B scenes, in the agent frame.

    Attributes:
        frame: the agent frame.
        actors, lanes: the observed polylines.
        goals: (G, 2) metres, the sparse goals, at least one in each scene; `items`: the scene of each goal.
        future: (B, T, 2) metres, the focal agent's true future; T is 0 without a future.
        lane: (B,) int64, the lane with the point nearest to the true endpoint; 0 without a future.
    """

    frame: AgentFrame
    actors: Polylines
    lanes: Polylines
    goals: Tensor
    items: Ragged
    future: Tensor
    lane: Tensor


@dataclass(frozen=True)
class GoalPreparation:
    """Function that makes `GoalScenes` from a batch, on the batch's device.

    Attributes:
        model: sizes of the network, and the spacing and reach of goals.
        timing: timing of the scenes.
    """

    model: ModelParameters
    timing: Timing

    def __call__(self, batch: Batch, with_future: bool = True) -> GoalScenes:
        """Prepare a batch.

        Args:
            batch: the scenes.
            with_future: also fill in `future` and `lane`, which only training needs. Nothing else depends on the steps
                after the last observed one.
        """
        check_timing(self.timing, batch)
        model, with_index = self.model, self.model.polyline_index
        frame = AgentFrame.of(batch.agent, self.timing)
        actors = actor_polylines(batch, frame, True, with_index)
        lanes = batch.lanes
        points = frame[lanes.scene].to_agent(batch.lane_xy)
        goals, items = sparse_goals(points, batch.lane_valid, lanes, model.goal_spacing)
        track = frame.to_agent(batch.agent)
        history = self.timing.history_steps
        observed, future = track[:, :history], track[:, history : None if with_future else history]
        if model.max_goal_acceleration:
            goals, items = reachable_goals(goals, items, observed, model.max_goal_acceleration, self.timing)
        goals, items = with_goal_everywhere(goals, items, observed, self.timing.future_steps)
        if future.shape[1]:
            lane = nearest_lane(points, batch.lane_valid, lanes, future[:, -1])
        else:
            lane = torch.zeros_like(batch.sample_seeds)
        for grouped in (actors.items, lanes, items):
            _ = grouped.longest  # a cached property, which travels to the device with the rest
        return GoalScenes(
            frame, actors, lane_polylines(batch, frame, actors.items.counts, with_index), goals, items, future, lane
        )


def sparse_goals(lane_points: Tensor, lane_valid: Tensor, lanes: Ragged, spacing: float) -> tuple[Tensor, Ragged]:
    """Return goals along every lane, no further apart than `spacing` on average.

    The goals of a lane are its points, except those that coincide with an earlier lane point of the scene, and n - 1
    points that divide each interval evenly, where n is the smallest number with mean interval / n <= spacing.

    Args:
        lane_points: (M, 10, 2) metres, agent frame.
        lane_valid: (M, 10) bool, False at padding.
        lanes: the scene of each lane.
        spacing: metres.

    Returns:
        Goals (G, 2), scene by scene and lane by lane, and the scene of each.
    """
    points = lane_valid.shape[1]
    step = lane_points[:, 1:] - lane_points[:, :-1]
    inside = lane_valid[:, 1:]
    mean = (torch.linalg.vector_norm(step, dim=-1) * inside).sum(1) / inside.sum(1).clamp(min=1)
    extra = (torch.ceil(mean / spacing).long() - 1).clamp(min=0)  # [M] points inserted into each interval
    counts = points + inside.sum(1) * extra
    lane = torch.repeat_interleave(counts)  # [N] candidates: 10 points, then the inserted ones
    place = torch.arange(len(lane), device=lane.device) - (counts.cumsum(0) - counts)[lane]
    is_point = place < points
    inserted = (place - points).clamp(min=0)
    per_interval = extra[lane].clamp(min=1)
    interval = torch.where(is_point, place, inserted // per_interval)
    fraction = torch.where(is_point, 0, inserted % per_interval + 1).to(step.dtype) / (extra[lane] + 1).to(step.dtype)
    padded_step = torch.nn.functional.pad(step, (0, 0, 0, 1))
    goals = lane_points[lane, interval] + fraction[:, None] * padded_step[lane, interval]
    kept = torch.nonzero(~is_point | _first_of_each(lane_points, lane_valid, lanes)[lane, interval]).squeeze(1)
    return goals[kept], Ragged.from_scene(lanes.scene[lane[kept]], len(lanes.counts))


def reachable_goals(
    goals: Tensor, items: Ragged, observed: Tensor, acceleration: float, timing: Timing
) -> tuple[Tensor, Ragged]:
    """Return the goals that the focal agent can reach with an acceleration of at most a.

    They lie within a t^2 / 2 of the point that it would reach at its present velocity, where t is the time to forecast.
    A constant acceleration a in any direction displaces it by that much, a changing one by less. The present velocity
    is the mean over the last half second.

    Args:
        goals: (G, 2) metres, agent frame; `items`: the scene of each goal.
        observed: (B, T, 2) the focal agent's history, metres, agent frame.
        acceleration: a, m/s2.
        timing: timing of the scenes, which determines t.

    Returns:
        The reachable goals, possibly none in a scene, and the scene of each.
    """
    steps = timing.future_steps / VELOCITY_STEPS
    last = observed[:, timing.last_observed]
    centre = last + steps * (last - observed[:, timing.last_observed - VELOCITY_STEPS])  # [B, 2]
    radius = acceleration * (timing.future_steps * timing.step_seconds) ** 2 / 2
    keep = torch.nonzero((goals - centre[items.scene]).square().sum(-1) <= radius**2).squeeze(1)
    return goals[keep], Ragged.from_scene(items.scene[keep], len(items.counts))


def with_goal_everywhere(goals: Tensor, items: Ragged, observed: Tensor, future_steps: int) -> tuple[Tensor, Ragged]:
    """Add a goal to each scene without one: the point that the focal agent would reach at its mean observed velocity.

    Args:
        goals: (G, 2) sparse goals, metres, agent frame; `items`: the scene of each.
        observed: (B, T, 2) the focal agent's history, metres, agent frame.
        future_steps: number of steps to forecast.
    """
    empty = torch.nonzero(items.counts == 0).squeeze(1)
    if len(empty) == 0:
        return goals, items
    steps = observed.shape[1] - 1
    velocity = (observed[empty, -1] - observed[empty, 0]) / steps
    scene, order = torch.cat([items.scene, empty]).sort(stable=True)
    goals = torch.cat([goals, observed[empty, -1] + velocity * future_steps])[order]
    return goals, Ragged.from_scene(scene, len(items.counts))


def dense_goals(best: Tensor, best_valid: Tensor, radius: int) -> tuple[Tensor, Ragged]:
    """Return all points with whole-metre coordinates within +-radius of the rounded best sparse goals, each once.

    Args:
        best: (B, K, 2) best sparse goals, metres, agent frame.
        best_valid: (B, K) bool, False at padding.
        radius: metres, in x and in y.

    Returns:
        Goals (N, 2), scene by scene, at most K (2 radius + 1)^2 in each, and the scene of each goal.
    """
    side = torch.arange(-radius, radius + 1, device=best.device)
    offset = torch.cartesian_prod(side, side)  # [R, 2]
    grid = (best.round().long()[:, :, None] + offset).flatten(1, 2)  # [B, K R, 2]
    key = (grid[..., 0] + _KEY_SPAN) * (2 * _KEY_SPAN) + grid[..., 1] + _KEY_SPAN
    none = torch.iinfo(key.dtype).max
    key = torch.where(best_valid.repeat_interleave(len(offset), dim=1), key, none).sort(dim=1).values
    first = torch.cat([key[:, :1] != none, (key[:, 1:] != key[:, :-1]) & (key[:, 1:] != none)], dim=1)
    scene, place = torch.nonzero(first).unbind(1)
    key = key[scene, place]
    goals = torch.stack([key // (2 * _KEY_SPAN) - _KEY_SPAN, key % (2 * _KEY_SPAN) - _KEY_SPAN], dim=-1)
    return goals.to(best.dtype), Ragged.from_scene(scene, len(best))


def nearest_lane(lane_points: Tensor, lane_valid: Tensor, lanes: Ragged, endpoint: Tensor) -> Tensor:
    """Return the lane with the point nearest to the true endpoint, as an index (B,) int64 among its scene's lanes.

    Args:
        lane_points, lane_valid, lanes: see `sparse_goals`.
        endpoint: (B, 2) metres, agent frame.
    """
    distance = torch.linalg.vector_norm(lane_points - endpoint[lanes.scene][:, None], dim=-1)
    nearest = torch.where(lane_valid, distance, torch.inf).amin(dim=1)
    return lanes.pad(nearest, torch.inf).argmin(dim=1)


def _first_of_each(lane_points: Tensor, lane_valid: Tensor, lanes: Ragged) -> Tensor:
    """Return (M, 10) bool, True at valid points that share their cell with no earlier point of the scene."""
    cell = (lane_points / SAME_POINT).round().long()
    rows = torch.nonzero(lane_valid.flatten()).squeeze(1)
    x, y = cell.flatten(0, 1)[rows].unbind(-1)
    scene = lanes.scene[rows // lane_points.shape[1]]
    key = ((scene * (2 * _KEY_SPAN) + x + _KEY_SPAN) * (2 * _KEY_SPAN)) + y + _KEY_SPAN
    key, order = key.sort(stable=True)
    first = torch.cat([torch.ones_like(key[:1], dtype=torch.bool), key[1:] != key[:-1]])
    result = torch.zeros_like(lane_valid).flatten()
    result[rows[order]] = first
    return result.view_as(lane_valid)
