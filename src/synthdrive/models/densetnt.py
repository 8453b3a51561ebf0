"""DenseTNT: score the lanes, score goals along them, score a dense grid around the best, complete the trajectory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.config.training import ModelParameters
from synthdrive.core.timing import Timing
from synthdrive.models.batch import Batch
from synthdrive.models.encoder import SceneFeatures, VectorEncoder
from synthdrive.models.goal_scorer import GoalScorer
from synthdrive.models.goals import GoalPreparation, GoalScenes, dense_goals
from synthdrive.models.layers import (
    MLP,
    CoordinateMLP,
    CrossAttention,
    Losses,
    ResidualDecoder,
    coordinates_exact,
    full_precision,
)
from synthdrive.models.polylines import AgentFrame
from synthdrive.models.ragged import Ragged

_UNITS = 2**40  # of probability 1


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

    def __init__(self, model: ModelParameters, timing: Timing, goal_label_std: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self.timing = timing
        self.prepare = GoalPreparation(model, timing)
        self.goal_label_std = goal_label_std
        self.encoder = VectorEncoder(model, timing)
        self.lane_scorer = LaneScorer(model.hidden_size)
        scale, second_scale = model.coordinate_scale, model.second_coordinate_scale
        self.goal_scorer = GoalScorer(model.hidden_size, scale, second_scale)
        self.completion = TrajectoryCompletion(
            model.hidden_size, model.detach_endpoint_query, timing.future_steps, scale, second_scale
        )

    def forward(self, batch: Batch) -> Losses:
        """Mean over the batch's scenes of goal NLL + lane NLL + smooth-L1 error of the completion.

        A scene's loss does not depend on the others in the batch.
        """
        scenes = self._prepared(batch, with_future=True)
        return self.losses(self._goal_distribution(scenes), scenes.future, scenes.lane)

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
        """Encode the observed scene and score its goals; nothing after the last observed step has an influence."""
        return self._goal_distribution(self._prepared(batch, with_future=False))

    def _prepared(self, batch: Batch, with_future: bool) -> GoalScenes:
        return batch.prepared if isinstance(batch.prepared, GoalScenes) else self.prepare(batch, with_future)

    def _goal_distribution(self, scenes: GoalScenes) -> GoalDistribution:
        features = self.encoder(scenes.actors, scenes.lanes)
        return self.decode(features, self.encoder.agent_state(features), scenes.goals, scenes.items, scenes.frame)

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


class LaneScorer(nn.Module):
    """Probability of each lane to hold the goal."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.attention = CrossAttention(size)
        self.decoder = ResidualDecoder(3 * size, size, 1)

    def forward(self, agent: Tensor, lanes: Tensor, lane_valid: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """(B, M) log-probabilities, -inf at padding.

        Args:
            agent: (B, S).
            lanes: (B, M, S), `lane_valid` (B, M).
            tokens: (B, P, S), `valid` (B, P), every polyline.
        """
        seen = self.attention(lanes, tokens, valid)
        score = self.decoder(torch.cat([agent[:, None].expand_as(lanes), lanes, seen], dim=-1)).squeeze(-1)
        score = torch.where(lane_valid, full_precision(score), -torch.inf)
        # A scene without lanes would give NaN; its row stays -inf.
        empty = ~lane_valid.any(dim=1, keepdim=True)
        return torch.where(lane_valid, torch.where(empty, 0.0, score).log_softmax(dim=1), -torch.inf)


@torch.no_grad()
def most_probable_lanes(log_prob: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Lanes in falling order of probability until their sum exceeds `probability`, the last one included.

    Args:
        log_prob: (B, M), -inf at padding.
        probability: of all kept lanes together.

    Returns:
        (B, N) int64 lane indices, N the most kept in any scene, at least 1, and (B, N) bool, True at kept ones.
    """
    ordered, index = log_prob.sort(dim=1, descending=True)
    # In whole numbers: sums of floats are not repeatable on every version of CUDA.
    fraction = (ordered.exp().double() * _UNITS).round().long()
    kept = (fraction.cumsum(1) - fraction <= round(probability * _UNITS)) & (ordered > -torch.inf)
    most = max(int(kept.sum(1).max()), 1)
    return index[:, :most], kept[:, :most]


class TrajectoryCompletion(nn.Module):
    """The trajectory that leads to a given endpoint; it learns apart from the rest, which it sees without gradient.

    Args:
        size: width of the features.
        detach_query: leave the endpoint encoder untrained, as the paper's release does (docs/method.md 8.5).
        coordinate_scale: metres that count as 1 where an endpoint is encoded, and in what the decoder gives out.
        steps: of a trajectory.
        second_scale: a second one at which an endpoint is encoded, see `layers.CoordinateMLP`; 0: none.
    """

    def __init__(
        self,
        size: int,
        detach_query: bool,
        steps: int,
        coordinate_scale: float = 1.0,
        second_scale: float = 0.0,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.detach_query = detach_query
        self.coordinate_scale = coordinate_scale
        first = CoordinateMLP(2, size, coordinate_scale, second_scale)
        self.endpoint_encoder = nn.Sequential(first, MLP(first.width, size), MLP(size, size))
        self.attention = CrossAttention(size)
        self.decoder = ResidualDecoder(3 * size, size, steps * 2)

    def forward(self, endpoints: Tensor, agent: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """(B, K, 2) endpoints -> (B, K, steps, 2), metres, agent frame; the last point is not forced onto the endpoint.

        Args:
            endpoints: metres, agent frame.
            agent: (B, S).
            tokens: (B, P, S), `valid` (B, P): every polyline, before the global graph.
        """
        tokens, agent = full_precision(tokens.detach()), full_precision(agent.detach())
        with coordinates_exact(endpoints.device):  # a few endpoints a scene: cheap
            query = self.endpoint_encoder(endpoints)
            if self.detach_query:
                query = query.detach()
            seen = self.attention(query, tokens, valid)
            trajectory: Tensor = self.decoder(torch.cat([agent[:, None].expand_as(seen), query, seen], dim=-1))
        return self.coordinate_scale * trajectory.view(*endpoints.shape[:2], self.steps, 2)
