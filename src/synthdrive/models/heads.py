"""DenseTNT's heads: lane scores, goal scores, and the trajectory to a goal (docs/method.md 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.models.layers import (
    MLP,
    CrossAttention,
    ResidualDecoder,
    additive_mask,
    attend,
    coordinates_exact,
    full_precision,
)
from synthdrive.models.ragged import Blocks, Ragged
from synthdrive.scenes.scene_store import HORIZON


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
    share = ordered.exp()
    kept = (share.cumsum(1) - share <= probability) & (ordered > -torch.inf)
    most = max(int(kept.sum(1).max()), 1)
    return index[:, :most], kept[:, :most]


BLOCK = 128  # goals of one scene that are attended together
SPARE = 8  # columns beside the hidden layer's, of which the first is the direct way to the score


class GoalEncoder(nn.Module):
    """A goal's feature, from its position and AGENT's feature: three MLPs, half of AGENT's feature joined in twice."""

    def __init__(self, size: int, coordinate_scale: float = 1.0) -> None:
        super().__init__()
        self.coordinate_scale = coordinate_scale
        self.joined = size // 2
        self.layers = nn.ModuleList([MLP(2, self.joined), MLP(size, self.joined), MLP(size, size)])

    def forward(self, goals: Tensor, agent: Tensor, scene: Tensor) -> Tensor:
        """(N, Q, 2) goals, (B, S) AGENT and (N,) each block's scene -> (N, Q, S)."""
        first, *others = self.layers
        hidden: Tensor = first(goals / self.coordinate_scale)
        for layer in others:
            assert isinstance(layer, MLP)
            weight, agent_part = layer.linear.weight, agent[:, : self.joined]
            same = functional.linear(agent_part, weight[:, self.joined :], layer.linear.bias)  # [B, out]
            hidden = layer.activate(functional.linear(hidden, weight[:, : self.joined]).add_(same[scene][:, None]))
        return hidden


@dataclass(frozen=True)
class GoalContext:
    """What goals look at, padded, once for each of B scenes.

    Attributes:
        agent: (B, S).
        tokens: (B, P, S), `valid` (B, P): every polyline, before the global graph.
        lanes: (B, N, S), `lane_valid` (B, N): the lanes kept by stage one.
    """

    agent: Tensor
    tokens: Tensor
    valid: Tensor
    lanes: Tensor
    lane_valid: Tensor

    def in_full_precision(self) -> GoalContext:
        """The same in float32 at least."""
        agent, tokens, lanes = (full_precision(features) for features in (self.agent, self.tokens, self.lanes))
        return GoalContext(agent, tokens, self.valid, lanes, self.lane_valid)


class GoalScorer(nn.Module):
    """Scores before the softmax.

    Args:
        size: width of the features.
        coordinate_scale: metres that count as 1 where a goal is encoded.
    """

    def __init__(self, size: int, coordinate_scale: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.encoder = GoalEncoder(size, coordinate_scale)
        self.attention = CrossAttention(size)
        self.decoder = ResidualDecoder(4 * size, size, 1)

    def forward(self, goals: Tensor, items: Ragged, context: GoalContext) -> Tensor:
        """(G,) scores of packed goals (G, 2), float32.

        In float32 throughout, whatever the rest of the network is trained in: the gradients of a scene's scores add up
        to zero over its thousands of goals, and what bfloat16 rounds away is many times what the sum leaves.
        """
        with coordinates_exact(goals.device):
            return self._scores(goals, items, context.in_full_precision())

    def _scores(self, goals: Tensor, items: Ragged, context: GoalContext) -> Tensor:
        blocks = Blocks.of(items, BLOCK)
        scene = blocks.scene
        goal = self.encoder(goals[blocks.index], context.agent, scene)  # [N, Q, S]
        # The decoder joins its hidden layer with its own input. The input's direct way to the score is one more row of
        # the hidden layer's linear map, before norm and ReLU; the map's columns belong to agent, goal and both looks.
        direct = self.decoder.output.weight[:, : 4 * self.size]
        weight = functional.pad(torch.cat([self.decoder.mlp.linear.weight, direct]), (0, 0, 0, SPARE - 1))
        bias = functional.pad(torch.cat([self.decoder.mlp.linear.bias, self.decoder.output.bias]), (0, SPARE - 1))
        for_agent, for_goal, for_seen, for_lane = weight.split_with_sizes([self.size] * 4, dim=1)  # [S + SPARE, S]
        query = functional.pad(goal, (0, SPARE))
        mixed = functional.linear(goal, for_goal)  # [N, Q, S + SPARE]
        mixed = mixed + self._look(query, scene, context.tokens, context.valid, for_seen)
        mixed = mixed.add_(self._look(query, scene, context.lanes, context.lane_valid, for_lane))
        mixed = mixed.add_(functional.linear(context.agent, for_agent, bias)[scene][:, None])
        hidden, score, _ = mixed.split_with_sizes([self.size, 1, SPARE - 1], dim=-1)
        through_hidden = self.decoder.output.weight[0, 4 * self.size :]
        score = score.squeeze(-1) + self.decoder.mlp.activate(hidden) @ through_hidden
        return blocks.pack(score)

    def _look(self, query: Tensor, scene: Tensor, features: Tensor, valid: Tensor, weight: Tensor) -> Tensor:
        """(N, Q, S + SPARE) what attention to (B, P, S) features brings through `weight` (S + SPARE, S)."""
        attention = self.attention
        key = functional.linear(attention.key(features), attention.query.weight.T)  # [B, P, S]
        value = functional.linear(attention.value(features), weight)  # [B, P, S + SPARE]
        key = functional.pad(key, (0, SPARE))  # the fused kernels want one size of keys and values
        mask = additive_mask(valid, key)[scene]
        seen = attend(query[:, None], key[scene][:, None], value[scene][:, None], mask, scale=self.size**-0.5)
        return seen.squeeze(1)


class TrajectoryCompletion(nn.Module):
    """The trajectory that leads to a given endpoint; it learns apart from the rest, which it sees without gradient.

    Args:
        size: width of the features.
        detach_query: leave the endpoint encoder untrained, as the paper's release does (docs/method.md 8.5).
        coordinate_scale: metres that count as 1 where an endpoint is encoded.
    """

    def __init__(self, size: int, detach_query: bool, coordinate_scale: float = 1.0) -> None:
        super().__init__()
        self.detach_query = detach_query
        self.coordinate_scale = coordinate_scale
        self.endpoint_encoder = nn.Sequential(MLP(2, size), MLP(size, size), MLP(size, size))
        self.attention = CrossAttention(size)
        self.decoder = ResidualDecoder(3 * size, size, HORIZON * 2)

    def forward(self, endpoints: Tensor, agent: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """(B, K, 2) endpoints -> (B, K, 30, 2), metres, agent frame; the last point is not forced onto the endpoint.

        Args:
            endpoints: metres, agent frame.
            agent: (B, S).
            tokens: (B, P, S), `valid` (B, P): every polyline, before the global graph.
        """
        tokens, agent = full_precision(tokens.detach()), full_precision(agent.detach())
        with coordinates_exact(endpoints.device):  # a few endpoints a scene: cheap
            query = self.endpoint_encoder(endpoints / self.coordinate_scale)
            if self.detach_query:
                query = query.detach()
            seen = self.attention(query, tokens, valid)
            trajectory: Tensor = self.decoder(torch.cat([agent[:, None].expand_as(seen), query, seen], dim=-1))
        return trajectory.view(*endpoints.shape[:2], HORIZON, 2)
