"""Scores of goals: a goal is encoded with AGENT, looks at the scene and the likely lanes, and is scored (PAPER.md 5).

Most of the work of DenseTNT is here: some 1,800 goals a scene. Whatever is the same for all goals of a scene is
computed once for the scene: a linear map of joined parts [h, g] is W_h h + W_g g; the query and value projections of
the attention are folded into the keys and into what follows, (W_q g) . (W_k x) = g . (W_q^T W_k x).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.models.attention import CrossAttention, attend
from synthdrive.models.layers import MLP, ResidualDecoder
from synthdrive.vectors.ragged import Blocks, Ragged

BLOCK = 128  # goals of one scene that are attended together


class GoalEncoder(nn.Module):
    """A goal's feature, from its position and AGENT's feature: three MLPs, half of AGENT's feature joined in twice."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.joined = size // 2
        self.layers = nn.ModuleList([MLP(2, self.joined), MLP(size, self.joined), MLP(size, size)])

    def forward(self, goals: Tensor, agent: Tensor, scene: Tensor) -> Tensor:
        """(N, Q, 2) goals, (B, S) AGENT and (N,) each block's scene -> (N, Q, S)."""
        first, *others = self.layers
        hidden: Tensor = first(goals)
        for layer in others:
            weight = layer.linear.weight
            same = functional.linear(agent[:, : self.joined], weight[:, self.joined :], layer.linear.bias)  # [B, out]
            hidden = layer.activate(functional.linear(hidden, weight[:, : self.joined]) + same[scene][:, None])
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


class GoalScorer(nn.Module):
    """Scores before the softmax."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.encoder = GoalEncoder(size)
        self.attention = CrossAttention(size)
        self.decoder = ResidualDecoder(4 * size, size, 1)

    def forward(self, goals: Tensor, items: Ragged, context: GoalContext) -> Tensor:
        """(G,) scores of packed goals (G, 2), float32."""
        blocks = Blocks.of(items, BLOCK)
        scene = blocks.scene
        goal = self.encoder(goals[blocks.index], context.agent, scene)  # [N, Q, S]
        hidden_agent, hidden_goal, hidden_seen, hidden_lane = self.decoder.mlp.linear.weight.split(self.size, dim=1)
        output = self.decoder.output.weight.squeeze(0)
        out_agent, out_goal, out_seen, out_lane, out_hidden = output.split(self.size)
        seen, seen_score = self._look(goal, scene, context.tokens, context.valid, hidden_seen, out_seen)
        lane, lane_score = self._look(goal, scene, context.lanes, context.lane_valid, hidden_lane, out_lane)
        same = functional.linear(context.agent, hidden_agent, self.decoder.mlp.linear.bias)  # [B, S]
        hidden = functional.linear(goal, hidden_goal) + seen + lane + same[scene][:, None]
        hidden = self.decoder.mlp.activate(hidden)
        score = hidden @ out_hidden + goal @ out_goal + seen_score + lane_score
        score = score + (context.agent @ out_agent + self.decoder.output.bias)[scene][:, None]
        return blocks.pack(score.float())

    def _look(
        self, goal: Tensor, scene: Tensor, features: Tensor, valid: Tensor, hidden: Tensor, output: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the attention adds to the hidden layer, (N, Q, S), and directly to the score, (N, Q)."""
        attention = self.attention
        key = functional.linear(attention.key(features), attention.query.weight.T)  # [B, P, S]
        value = functional.linear(attention.value(features), torch.cat([hidden, output[None]]))  # [B, P, S + 1]
        # One head size for keys and values: the fused kernels want it.
        spare = 8
        key = functional.pad(key, (0, spare))
        value = functional.pad(value, (0, spare - 1))
        query = functional.pad(goal, (0, spare))
        seen = attend(
            query[:, None], key[scene][:, None], value[scene][:, None], valid[scene], scale=self.size**-0.5
        ).squeeze(1)
        return seen[..., : self.size], seen[..., self.size]
