"""DenseTNT's heads: lane scores, goal scores, and the trajectory to a goal (docs/method.md 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.goal_attention import GoalLayout, InBlocks, Looked, SceneByScene, lay_out
from synthdrive.models.layers import (
    MLP,
    CoordinateMLP,
    CrossAttention,
    ResidualDecoder,
    coordinates_exact,
    full_precision,
    in_products,
)
from synthdrive.models.ragged import Ragged

_UNITS = 2**40  # of probability 1


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


class GoalEncoder(nn.Module):
    """A goal's feature, from its position and the focal agent's: three MLPs, which half of the latter joins twice."""

    def __init__(self, size: int, coordinate_scale: float = 1.0, second_scale: float = 0.0) -> None:
        super().__init__()
        self.joined = size // 2
        first = CoordinateMLP(2, self.joined, coordinate_scale, second_scale)
        self.layers = nn.ModuleList([first, MLP(first.width + self.joined, self.joined), MLP(size, size)])

    def agent_parts(self, agent: Tensor) -> list[Tensor]:
        """What the focal agent's feature (B, S) adds to each later layer, (B, out), for all goals alike."""
        part = agent[:, : self.joined]
        linears = [layer.linear for layer in list(self.layers)[1:] if isinstance(layer, MLP)]
        return [functional.linear(part, linear.weight[:, -self.joined :], linear.bias) for linear in linears]

    def forward(self, goals: Tensor, agent_parts: list[Tensor], layout: GoalLayout) -> Tensor:
        """(..., 2) goals as they are laid out, and what `agent_parts` gave -> (..., S)."""
        first, *others = self.layers
        hidden: Tensor = first(goals)
        for layer, same in zip(others, agent_parts, strict=True):
            assert isinstance(layer, MLP)
            own = functional.linear(hidden, layer.linear.weight[:, : -self.joined])
            hidden = layer.activate(own.add_(layout.of_each(same)))
        return hidden


@dataclass(frozen=True)
class GoalContext:
    """Whatever is the same for all goals of a scene, computed once for each of B scenes.

    Attributes:
        encoded: what the focal agent adds to the goals' encoder.
        constant: (B, S + spare) what the focal agent brings to the score.
        weight: (S + spare, S) of a goal's own feature.
        looked: the two sets of features that goals attend to; what each brings goes into the score.
        spare: columns beside the hidden layer's, of which the first is the direct way to the score.
    """

    encoded: list[Tensor]
    constant: Tensor
    weight: Tensor
    looked: tuple[Looked, Looked]
    spare: int


class GoalScorer(nn.Module):
    """Scores before the softmax, in float32 whatever the rest of the network is trained in: the gradients of a scene's
    scores add up to zero over its thousands of goals, and what bfloat16 rounds away is many times what the sum leaves.

    Args:
        size: width of the features.
        coordinate_scale: metres that count as 1 where a goal is encoded.
        second_scale: a second one, see `layers.CoordinateMLP`; 0: none.
    """

    def __init__(self, size: int, coordinate_scale: float = 1.0, second_scale: float = 0.0) -> None:
        super().__init__()
        self.size = size
        self.encoder = GoalEncoder(size, coordinate_scale, second_scale)
        self.attention = CrossAttention(size)
        self.decoder = ResidualDecoder(4 * size, size, 1)

    def context(self, agent: Tensor, tokens: Tensor, valid: Tensor, lanes: Tensor, lane_valid: Tensor) -> GoalContext:
        """What goals look at.

        Args:
            agent: (B, S).
            tokens: (B, P, S), `valid` (B, P): every polyline, before the global graph.
            lanes: (B, N, S), `lane_valid` (B, N): the lanes kept by stage one.
        """
        with coordinates_exact(agent.device):
            agent, tokens, lanes = (full_precision(features) for features in (agent, tokens, lanes))
            spare = SceneByScene.spare if in_products(agent.device) else InBlocks.spare
            # The decoder joins its hidden layer with its own input. The input's direct way to the score is one more row
            # of the hidden layer's linear map, before norm and ReLU; the map's columns belong to agent, goal and both
            # looks.
            direct = self.decoder.output.weight[:, : 4 * self.size]
            weight = functional.pad(torch.cat([self.decoder.mlp.linear.weight, direct]), (0, 0, 0, spare - 1))
            bias = functional.pad(torch.cat([self.decoder.mlp.linear.bias, self.decoder.output.bias]), (0, spare - 1))
            for_agent, for_goal, for_seen, for_lane = weight.split_with_sizes([self.size] * 4, dim=1)
            looked = self._looked(tokens, valid, for_seen, spare), self._looked(lanes, lane_valid, for_lane, spare)
            constant = functional.linear(agent, for_agent, bias)
            return GoalContext(self.encoder.agent_parts(agent), constant, for_goal, looked, spare)

    def forward(self, goals: Tensor, items: Ragged, context: GoalContext) -> Tensor:
        """(G,) scores of packed goals (G, 2), float32."""
        with coordinates_exact(goals.device):
            layout = lay_out(items)
            goal = self.encoder(layout.place(goals), context.encoded, layout)  # [..., S]
            mixed = functional.linear(goal, context.weight)  # [..., S + spare]
            mixed = mixed.add_(layout.of_each(context.constant))
            for looked in context.looked:
                mixed = mixed.add_(layout.look(goal, looked, self.size**-0.5))
            hidden, score, _ = mixed.split_with_sizes([self.size, 1, context.spare - 1], dim=-1)
            through_hidden = self.decoder.output.weight[0, 4 * self.size :]
            score = score.squeeze(-1) + self.decoder.mlp.activate(hidden) @ through_hidden
            return layout.pack(score)

    def _looked(self, features: Tensor, valid: Tensor, weight: Tensor, spare: int) -> Looked:
        """Keys and values of (B, P, S) features, the values through `weight` (S + spare, S)."""
        attention = self.attention
        key = functional.linear(attention.key(features), attention.query.weight.T)  # [B, P, S]
        value = functional.linear(attention.value(features), weight)  # [B, P, S + spare]
        padded = key if spare == SceneByScene.spare else functional.pad(key, (0, spare))
        return Looked(padded, value, valid)


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
        coordinate_scale: float = 1.0,
        steps: int = ARGOVERSE1.future_steps,
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
