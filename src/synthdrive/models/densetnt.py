"""DenseTNT: score the lanes, score goals along them, score a dense grid around the best, complete the trajectory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.config.training import ModelParameters
from synthdrive.core.timing import ARGOVERSE1, Timing
from synthdrive.models.batch import Batch, check_timing
from synthdrive.models.encoder import SceneFeatures, VectorEncoder
from synthdrive.models.goals import dense_goals, nearest_lane, reachable_goals, sparse_goals
from synthdrive.models.heads import GoalScorer, LaneScorer, TrajectoryCompletion, most_probable_lanes
from synthdrive.models.layers import Losses
from synthdrive.models.polylines import AgentFrame, actor_polylines, lane_polylines
from synthdrive.models.ragged import Ragged


@dataclass(frozen=True)
class GoalDistribution:
    """Where the focal agent may end up when the time to forecast is over, in each of B scenes.

    Attributes:
        goals: (B, D, 2) metres, agent frame: the dense goals, then the sparse ones.
        log_prob: (B, D) float32, -inf at padding; their exponentials sum to 1.
        valid: (B, D) bool.
        lane_log_prob: (B, M) of the lanes, -inf at padding.
        kept_lanes: (B,) int64, lanes that stage one keeps.
        agent: (B, S) the focal agent's feature.
        tokens: (B, P, S), `token_valid` (B, P): the polylines' features, for the completion.
        frame: the agent frame; `frame.to_city` leads back to the store's axes.
    """

    goals: Tensor
    log_prob: Tensor
    valid: Tensor
    lane_log_prob: Tensor
    kept_lanes: Tensor
    agent: Tensor
    tokens: Tensor
    token_valid: Tensor
    frame: AgentFrame


class DenseTNT(nn.Module):
    """Goal-based trajectory prediction on the shared encoder.

    Args:
        model: sizes.
        timing: of the scenes that it forecasts.
        goal_label_std: metres, by which training softens the goals' label (`FinetuneParameters`); forecasts do not
            depend on it.
    """

    def __init__(self, model: ModelParameters, timing: Timing = ARGOVERSE1, goal_label_std: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self.timing = timing
        self.goal_label_std = goal_label_std
        self.encoder = VectorEncoder(model, timing)
        self.lane_scorer = LaneScorer(model.hidden_size)
        scale, second_scale = model.coordinate_scale, model.second_coordinate_scale
        self.goal_scorer = GoalScorer(model.hidden_size, scale, second_scale)
        self.completion = TrajectoryCompletion(
            model.hidden_size, model.detach_endpoint_query, scale, timing.future_steps, second_scale
        )

    def forward(self, batch: Batch) -> Losses:
        """Mean over the batch's scenes of goal NLL + lane NLL + smooth-L1 error of the completion.

        A scene's loss does not depend on the others in the batch.
        """
        distribution = self.goal_distribution(batch)
        future = distribution.frame.to_agent(batch.agent[:, self.timing.history_steps :])  # [B, T, 2]
        points = distribution.frame[batch.lanes.scene].to_agent(batch.lane_xy)
        lane = nearest_lane(points, batch.lane_valid, batch.lanes, future[:, -1])
        return self.losses(distribution, future, lane)

    def losses(self, distribution: GoalDistribution, future: Tensor, lane: Tensor) -> Losses:
        """Errors of a distribution.

        Args:
            distribution: what `goal_distribution` gave.
            future: (B, T, 2) true future, metres, agent frame.
            lane: (B,) int64, lane with the point nearest to the true endpoint.
        """
        endpoint = future[:, -1]
        distance = torch.linalg.vector_norm(distribution.goals - endpoint[:, None], dim=-1)
        goal_nll = goal_losses(distribution.log_prob, distance, distribution.valid, self.goal_label_std)
        has_lanes = distribution.lane_log_prob.isfinite().any(dim=1)
        lane_nll = -distribution.lane_log_prob.gather(1, lane[:, None]).squeeze(1)
        lane_nll = torch.where(has_lanes, lane_nll, torch.zeros_like(lane_nll))
        completed = self.complete(distribution, endpoint[:, None]).squeeze(1)
        completion = functional.smooth_l1_loss(completed, future.to(completed.dtype), reduction="none").mean((1, 2))
        top = distance.gather(1, distribution.log_prob.argmax(dim=1, keepdim=True))
        parts = {
            "goal": goal_nll.mean(),
            "lane": lane_nll.mean(),
            "completion": completion.mean(),
        }
        total = parts["goal"] + parts["lane"] + parts["completion"]
        parts |= {"top1_fde": top.mean(), "kept_lanes": distribution.kept_lanes.to(top.dtype).mean()}
        return Losses(total, {name: part.detach() for name, part in parts.items()})

    def goal_distribution(self, batch: Batch) -> GoalDistribution:
        """Encode the observed scene and score its goals; nothing after the last observed step is looked at."""
        check_timing(self.timing, batch)
        frame = AgentFrame.of(batch.agent, self.timing)
        with_index = self.model.polyline_index
        actors = actor_polylines(batch, frame, True, with_index)
        features = self.encoder(actors, lane_polylines(batch, frame, actors.items.counts, with_index))
        lanes = batch.lanes
        points = frame[lanes.scene].to_agent(batch.lane_xy)
        goals, items = sparse_goals(points, batch.lane_valid, lanes, self.model.goal_spacing)
        observed = frame.to_agent(batch.agent[:, : self.timing.history_steps])
        if self.model.max_goal_acceleration:
            goals, items = reachable_goals(goals, items, observed, self.model.max_goal_acceleration, self.timing)
        goals, items = _with_goal_everywhere(goals, items, observed, self.timing.future_steps)
        return self.decode(features, self.encoder.agent_state(features), goals, items, frame)

    def decode(
        self, features: SceneFeatures, agent: Tensor, sparse: Tensor, items: Ragged, frame: AgentFrame
    ) -> GoalDistribution:
        """Score lanes, then sparse goals, then the dense goals around the best of them.

        The sparse goals are among the dense ones and are scored by the same weights, so they are scored once; the
        choice of the best has no gradient.

        Args:
            features: the encoder's.
            agent: (B, S) the focal agent's row of the global graph.
            sparse: (G, 2) metres, agent frame, at least one a scene; `items`: which scene each belongs to.
            frame: passed on.
        """
        tokens, valid = features.tokens, features.valid
        lane_log_prob = self.lane_scorer(agent, features.lanes, features.lane_valid, tokens, valid)
        index, kept = most_probable_lanes(lane_log_prob, self.model.kept_lane_probability)
        lanes = features.lanes.gather(1, index[..., None].expand(-1, -1, features.lanes.shape[-1]))
        kept_lanes = kept.sum(dim=1)
        kept = torch.cat([kept[:, :1] | (kept_lanes == 0)[:, None], kept[:, 1:]], dim=1)
        context = self.goal_scorer.context(agent, tokens, valid, lanes, kept)
        sparse_score = items.pad(self.goal_scorer(sparse, items, context), -torch.inf)  # [B, G]
        padded = items.pad(sparse)
        best = sparse_score.detach().topk(min(self.model.dense_from_goals, items.longest), dim=1)
        best_goals = padded.gather(1, best.indices[..., None].expand(-1, -1, 2))
        dense, dense_items = dense_goals(best_goals, best.values > -torch.inf, self.model.dense_radius)
        dense_score = dense_items.pad(self.goal_scorer(dense, dense_items, context), -torch.inf)
        log_prob = torch.cat([dense_score, sparse_score], dim=1).log_softmax(dim=1)
        return GoalDistribution(
            goals=torch.cat([dense_items.pad(dense), padded], dim=1),
            log_prob=log_prob,
            valid=torch.cat([dense_items.valid, items.valid], dim=1),
            lane_log_prob=lane_log_prob,
            kept_lanes=kept_lanes,
            agent=agent,
            tokens=tokens,
            token_valid=valid,
            frame=frame,
        )

    def complete(self, distribution: GoalDistribution, goals: Tensor) -> Tensor:
        """(B, K, 2) endpoints -> (B, K, T, 2) trajectories, metres, agent frame; see `TrajectoryCompletion`."""
        completion: Tensor = self.completion(goals, distribution.agent, distribution.tokens, distribution.token_valid)
        return completion


def goal_losses(log_prob: Tensor, distance: Tensor, valid: Tensor, label_std: float = 0.0) -> Tensor:
    """(B,) cross entropy of the goals' distribution with its label.

    Args:
        log_prob: (B, D), -inf at padding.
        distance: (B, D) metres, of each goal to the true endpoint.
        valid: (B, D) bool, at least one in each row.
        label_std: metres; the label is spread over the goals with weights exp(-distance^2 / (2 label_std^2)). 0: it is
            the nearest goal.
    """
    distance = torch.where(valid, distance, torch.inf)
    if not label_std:
        return -log_prob.gather(1, distance.argmin(dim=1, keepdim=True)).squeeze(1)
    label = (-0.5 * (distance / label_std).square()).softmax(dim=1)
    return -(label * torch.where(valid, log_prob, 0.0)).sum(dim=1)


def _with_goal_everywhere(goals: Tensor, items: Ragged, observed: Tensor, future_steps: int) -> tuple[Tensor, Ragged]:
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
