"""Where the focal agent may end up: sparse goals along lanes, dense ones on a grid around the best.

And all else of a scene that DenseTNT computes without its weights. See docs/method.md 1.5 and 5.
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

VELOCITY_STEPS = 5  # the velocity of the focal agent is taken over the last half second
SAME_POINT = 0.01  # metres; lane points that fall into the same cell of this size are one goal
_KEY_SPAN = 1 << 24  # cells to either side of the origin that a key can tell apart


@dataclass(frozen=True)
class GoalScenes(TensorGroup):
    """What DenseTNT reads of B scenes: functions of their raw points alone, in the agent frame.

    Attributes:
        frame: the agent frame.
        actors, lanes: the observed polylines.
        goals: (G, 2) metres, the sparse goals, at least one a scene; `items`: which scene each belongs to.
        future: (B, T, 2) metres, the focal agent's; T is 0 where there is none.
        lane: (B,) int64, lane with the point nearest to the true endpoint; 0 where there is no future.
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
    """Makes `GoalScenes`, on the device that the batch is on.

    Attributes:
        model: sizes.
        timing: of the scenes.
    """

    model: ModelParameters
    timing: Timing

    def __call__(self, batch: Batch, with_future: bool = True) -> GoalScenes:
        """Prepare a batch; without `with_future`, as if its scenes had no future.

        Only `future` and `lane`, which only training needs, depend on what lies after the last observed step.
        """
        check_timing(self.timing, batch)
        model, with_index = self.model, self.model.polyline_index
        frame = AgentFrame.of(batch.agent, self.timing)
        actors = actor_polylines(batch, frame, True, with_index)
        lanes = batch.lanes
        points = frame[lanes.scene].to_agent(batch.lane_xy)
        goals, items = sparse_goals(points, batch.lane_valid, lanes, model.goal_spacing)
        track = frame.to_agent(batch.agent)
        now, end = self.timing.history_steps, self.timing.steps if with_future else self.timing.history_steps
        observed, future = track[:, :now], track[:, now:end]
        if model.max_goal_acceleration:
            goals, items = reachable_goals(goals, items, observed, model.max_goal_acceleration, self.timing)
        goals, items = with_goal_everywhere(goals, items, observed, self.timing.future_steps)
        if future.shape[1]:
            lane = nearest_lane(points, batch.lane_valid, lanes, future[:, -1])
        else:
            lane = torch.zeros_like(batch.sample_seeds)
        for grouped in (actors.items, lanes, items):
            _ = grouped.longest  # kept from here on
        return GoalScenes(
            frame, actors, lane_polylines(batch, frame, actors.items.counts, with_index), goals, items, future, lane
        )


def sparse_goals(lane_points: Tensor, lane_valid: Tensor, lanes: Ragged, spacing: float) -> tuple[Tensor, Ragged]:
    """Points along every lane, no further apart than `spacing` on average.

    Per lane its points that no earlier lane point of the scene coincides with, then n - 1 points that divide each
    interval evenly, where n is the smallest number with mean interval / n <= spacing.

    Args:
        lane_points: (M, 10, 2) metres, agent frame.
        lane_valid: (M, 10) bool.
        lanes: which scene each lane belongs to.
        spacing: metres.

    Returns:
        (G, 2) goals, scene by scene and lane by lane, and which scene each belongs to.
    """
    points = lane_valid.shape[1]
    step = lane_points[:, 1:] - lane_points[:, :-1]
    inside = lane_valid[:, 1:]
    mean = (torch.linalg.vector_norm(step, dim=-1) * inside).sum(1) / inside.sum(1).clamp(min=1)
    extra = (torch.ceil(mean / spacing).long() - 1).clamp(min=0)  # [M] points inserted in every interval
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
    """The goals that the focal agent can get to: no further than a t^2 / 2 from where its velocity leads in the time
    t to forecast.

    Whatever its direction, a constant acceleration a displaces it by that much, and a changing one by less. The
    velocity is the mean over the last half second.

    Args:
        goals: (G, 2) metres, agent frame; `items`: which scene each belongs to.
        observed: (B, T, 2) the focal agent's history, metres, agent frame.
        acceleration: a, m/s2.
        timing: says what t is.

    Returns:
        The goals left, which may be none in a scene, and which scene each belongs to.
    """
    steps = timing.future_steps / VELOCITY_STEPS
    last = observed[:, timing.last_observed]
    centre = last + steps * (last - observed[:, timing.last_observed - VELOCITY_STEPS])  # [B, 2]
    radius = acceleration * (timing.future_steps * timing.step_seconds) ** 2 / 2
    keep = torch.nonzero((goals - centre[items.scene]).square().sum(-1) <= radius**2).squeeze(1)
    return goals[keep], Ragged.from_scene(items.scene[keep], len(items.counts))


def with_goal_everywhere(goals: Tensor, items: Ragged, observed: Tensor, future_steps: int) -> tuple[Tensor, Ragged]:
    """Give a scene without goals one: where the focal agent would be at its observed mean velocity.

    Args:
        goals: (G, 2) and `items`: the sparse goals.
        observed: (B, T, 2) the focal agent's history, agent frame.
        future_steps: to the end of the forecast.
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
    """All integer points within +-radius of the rounded best sparse goals, each once.

    Args:
        best: (B, K, 2) metres, agent frame.
        best_valid: (B, K) bool.
        radius: metres, in x and in y.

    Returns:
        (N, 2) goals, scene by scene, at most K (2 radius + 1)^2 of each, and which scene each belongs to.
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
    """(B,) int64, place among its scene's lanes of the lane that has the point nearest to the true endpoint.

    Args:
        lane_points, lane_valid, lanes: see `sparse_goals`.
        endpoint: (B, 2) metres, agent frame.
    """
    distance = torch.linalg.vector_norm(lane_points - endpoint[lanes.scene][:, None], dim=-1)
    nearest = torch.where(lane_valid, distance, torch.inf).amin(dim=1)
    return lanes.pad(nearest, torch.inf).argmin(dim=1)


def _first_of_each(lane_points: Tensor, lane_valid: Tensor, lanes: Ragged) -> Tensor:
    """(M, 10) bool, True at the valid points whose cell no earlier point of the scene has."""
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
