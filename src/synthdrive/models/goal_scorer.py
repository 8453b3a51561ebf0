"""Scores of goals: a goal is encoded with AGENT, looks at the scene and likely lanes, and is scored (docs/method.md 5).

Most of the work of DenseTNT is here: some 1,800 goals a scene. Whatever is the same for all goals of a scene is
computed once for the scene: a linear map of joined parts [h, g] is W_h h + W_g g; the query and value projections of
the attention are folded into the keys and into what follows, (W_q g) . (W_k x) = g . (W_q^T W_k x).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.models.attention import CrossAttention, additive_mask, attend, coordinates_exact, full_precision
from synthdrive.models.layers import MLP, ResidualDecoder
from synthdrive.vectors.ragged import Blocks, Ragged

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
