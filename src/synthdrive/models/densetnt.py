"""DenseTNT: score lanes, sparse goals along them, and dense goals around the best; then complete the trajectory."""

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

_PROBABILITY_UNITS = 2**40  # integer that stands for probability 1


@dataclass(frozen=True)
class GoalDistribution:
    """Distribution over the focal agent's position at the last future step, in each of B scenes.

    Attributes:
        goals: (B, D, 2) metres, agent frame: the dense goals, then the sparse ones.
        log_prob: (B, D) float32 log-probabilities, -inf at padding; the probabilities of a scene sum to 1.
        valid: (B, D) bool, False at padding.
        lane_log_prob: (B, M) log-probabilities of the lanes, -inf at padding.
        kept_lanes: (B,) int64, number of lanes kept by the lane scorer.
        agent: (B, S) the focal agent's feature.
        tokens: (B, P, S) and `token_valid` (B, P): the polylines' features, for the completion.
        frame: the agent frame; `frame.to_city` transforms points back to the city's axes.
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
    """Goal-based trajectory prediction on top of the vector encoder.

    Args:
        model: sizes of the network.
        timing: timing of the scenes to forecast.
        goal_label_std: metres, standard deviation of the goals' soft label in training (`FinetuneParameters`);
            forecasts do not depend on it.
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
        """Return the mean over scenes of goal loss + lane NLL + smooth-L1 loss of the completion.

        A scene's loss does not depend on the other scenes of the batch.
        """
        scenes = self._prepared(batch, with_future=True)
        return self.losses(self._goal_distribution(scenes), scenes.future, scenes.lane)

    def losses(self, distribution: GoalDistribution, future: Tensor, lane: Tensor) -> Losses:
        """Return the losses of a goal distribution and of the trajectory completed to the true endpoint.

        Args:
            distribution: the network's output for B scenes.
            future: (B, T, 2) true future, metres, agent frame.
            lane: (B,) int64, the lane with the point nearest to the true endpoint.
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
        """Encode the observed part of the scenes and score their goals; no later step is used."""
        return self._goal_distribution(self._prepared(batch, with_future=False))

    def _prepared(self, batch: Batch, with_future: bool) -> GoalScenes:
        return batch.prepared if isinstance(batch.prepared, GoalScenes) else self.prepare(batch, with_future)

    def _goal_distribution(self, scenes: GoalScenes) -> GoalDistribution:
        features = self.encoder(scenes.actors, scenes.lanes)
        return self.decode(features, self.encoder.agent_state(features), scenes.goals, scenes.items, scenes.frame)

    def decode(
        self, features: SceneFeatures, agent: Tensor, sparse: Tensor, items: Ragged, frame: AgentFrame
    ) -> GoalDistribution:
        """Score lanes, then sparse goals, then the dense goals around the best sparse ones.

        The result contains sparse and dense goals. Both are scored with the same weights, so sparse goals are scored
        only once. No gradient flows through the choice of the best ones.

        Args:
            features: output of the encoder.
            agent: (B, S) the focal agent's row of the global graph.
            sparse: (G, 2) metres, agent frame, at least one goal in each scene; `items`: the scene of each.
            frame: the agent frame, stored in the result.
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
        """Return trajectories (B, K, T, 2) that lead to goals (B, K, 2), all in metres, agent frame."""
        completion: Tensor = self.completion(goals, distribution.agent, distribution.tokens, distribution.token_valid)
        return completion


def goal_losses(log_prob: Tensor, distance: Tensor, valid: Tensor, label_std: float = 0.0) -> Tensor:
    """Return the (B,) cross entropies between the goals' distributions and their labels.

    Args:
        log_prob: (B, D) log-probabilities, -inf at padding.
        distance: (B, D) metres from each goal to the true endpoint.
        valid: (B, D) bool, True for at least one goal in each row.
        label_std: metres. The label gives each goal a weight in proportion to exp(-distance^2 / (2 label_std^2)); if
            this is 0, the label is the nearest goal.
    """
    distance = torch.where(valid, distance, torch.inf)
    if not label_std:
        return -log_prob.gather(1, distance.argmin(dim=1, keepdim=True)).squeeze(1)
    label = (-0.5 * (distance / label_std).square()).softmax(dim=1)
    return -(label * torch.where(valid, log_prob, 0.0)).sum(dim=1)


class LaneScorer(nn.Module):
    """Probability of each lane that it is the one nearest to the endpoint."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.attention = CrossAttention(size)
        self.decoder = ResidualDecoder(3 * size, size, 1)

    def forward(self, agent: Tensor, lanes: Tensor, lane_valid: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """Return the lanes' log-probabilities (B, M), -inf at padding.

        Args:
            agent: (B, S) the focal agent's feature.
            lanes: (B, M, S) features of the lanes, `lane_valid` (B, M).
            tokens: (B, P, S) features of all polylines, `valid` (B, P).
        """
        seen = self.attention(lanes, tokens, valid)
        score = self.decoder(torch.cat([agent[:, None].expand_as(lanes), lanes, seen], dim=-1)).squeeze(-1)
        score = torch.where(lane_valid, full_precision(score), -torch.inf)
        # The softmax of a scene without lanes would be NaN; its row must be -inf.
        empty = ~lane_valid.any(dim=1, keepdim=True)
        return torch.where(lane_valid, torch.where(empty, 0.0, score).log_softmax(dim=1), -torch.inf)


@torch.no_grad()
def most_probable_lanes(log_prob: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Select the most probable lanes, as many as it takes for their probabilities to sum to more than `probability`.

    Args:
        log_prob: (B, M) log-probabilities, -inf at padding.
        probability: the sum to exceed.

    Returns:
        Indices of the lanes (B, N) int64 in descending order of probability, where N is the largest number selected in
        any scene (at least 1), and (B, N) bool, True at selected lanes.
    """
    ordered, index = log_prob.sort(dim=1, descending=True)
    # Summed as integers: cumulative sums of floats are not repeatable on every version of CUDA.
    units = (ordered.exp().double() * _PROBABILITY_UNITS).round().long()
    kept = (units.cumsum(1) - units <= round(probability * _PROBABILITY_UNITS)) & (ordered > -torch.inf)
    most = max(int(kept.sum(1).max()), 1)
    return index[:, :most], kept[:, :most]


class TrajectoryCompletion(nn.Module):
    """Decoder of the trajectory that leads to a given endpoint. Its loss sends no gradient to the rest of the network.

    Args:
        size: width of the features.
        detach_query: leave the endpoint encoder untrained, as the paper's release does (docs/method.md 8.5).
        steps: number of steps in a trajectory.
        coordinate_scale: metres that count as 1 in the endpoint's encoding and in the decoder's output.
        second_scale: second scale of the endpoint's encoding, see `layers.CoordinateMLP`; 0 for none.
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
        """Return trajectories (B, K, steps, 2), metres, agent frame. Their last point may differ from the endpoint.

        Args:
            endpoints: (B, K, 2) metres, agent frame.
            agent: (B, S) the focal agent's feature.
            tokens: (B, P, S) features of all polylines before the global graph, `valid` (B, P).
        """
        tokens, agent = full_precision(tokens.detach()), full_precision(agent.detach())
        with coordinates_exact(endpoints.device):  # cheap: there are few endpoints in a scene
            query = self.endpoint_encoder(endpoints)
            if self.detach_query:
                query = query.detach()
            seen = self.attention(query, tokens, valid)
            trajectory: Tensor = self.decoder(torch.cat([agent[:, None].expand_as(seen), query, seen], dim=-1))
        return self.coordinate_scale * trajectory.view(*endpoints.shape[:2], self.steps, 2)
