"""Scores of goals, and how packed goals attend to the features of their scene (docs/method.md 5).

They attend scene by scene on a CPU, in blocks of equal size on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.models.layers import (
    MLP,
    CoordinateMLP,
    CrossAttention,
    ResidualDecoder,
    additive_mask,
    attend,
    coordinates_exact,
    full_precision,
    in_products,
)
from synthdrive.models.ragged import Blocks, Ragged

BLOCK = 32  # goals of one scene that are attended together on a GPU


@dataclass(frozen=True)
class Looked:
    """What the goals of B scenes look at.

    Attributes:
        key: (B, P, E).
        value: (B, P, F).
        valid: (B, P) bool, True at the first few of each scene, one at least.
    """

    key: Tensor
    value: Tensor
    valid: Tensor

    @cached_property
    def counts(self) -> list[int]:
        """How many are valid in each scene."""
        counts: list[int] = self.valid.sum(dim=1).tolist()
        return counts

    @cached_property
    def mask(self) -> Tensor:
        """(B, P) 0 where valid, else -inf."""
        return additive_mask(self.valid, self.key)


class GoalLayout(Protocol):
    """How the goals of a batch lie while they are scored.

    Attributes:
        spare: columns that a goal's features are given beside their own, so that kernels run at their best.
    """

    spare: ClassVar[int]

    def place(self, goals: Tensor) -> Tensor:
        """(G, 2) packed goals in this layout."""
        ...

    def of_each(self, features: Tensor) -> Tensor:
        """(B, S) features of the scenes -> those of each goal's scene, to be added to features of goals."""
        ...

    def look(self, query: Tensor, looked: Looked, scale: float) -> Tensor:
        """Softmax attention of the goals, in this layout, to their own scene."""
        ...

    def pack(self, values: Tensor) -> Tensor:
        """Values of the goals in this layout -> (G, ...) packed."""
        ...


def lay_out(items: Ragged) -> GoalLayout:
    """The layout that suits the device."""
    return SceneByScene(items) if in_products(items.scene.device) else InBlocks(items)


class SceneByScene:
    """Goals as they are packed, (G, ...). A scene's scores stay in the processor's cache, and nothing is padded."""

    spare: ClassVar[int] = 1

    def __init__(self, items: Ragged) -> None:
        self._scene: Tensor = items.scene
        self._counts: list[int] = items.counts.tolist()

    def place(self, goals: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return goals

    def of_each(self, features: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return features.index_select(0, self._scene)

    def look(self, query: Tensor, looked: Looked, scale: float) -> Tensor:
        """See `GoalLayout`."""
        return _AttentionByScene.apply(query, looked.key, looked.value, self._counts, looked.counts, scale)  # type: ignore[no-any-return, no-untyped-call]

    def pack(self, values: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return values


class InBlocks:
    """Goals in blocks of one scene each, (N, BLOCK, ...), the last of a scene filled up."""

    # The fused kernels of a GPU want one size of keys and values, and a multiple of 8.
    spare: ClassVar[int] = 8

    def __init__(self, items: Ragged) -> None:
        self._blocks = Blocks.of(items, BLOCK)

    def place(self, goals: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return goals[self._blocks.index]

    def of_each(self, features: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return features.index_select(0, self._blocks.scene)[:, None]

    def look(self, query: Tensor, looked: Looked, scale: float) -> Tensor:
        """See `GoalLayout`."""
        given = (looked.key, looked.value, looked.mask)
        key, value, mask = (part.index_select(0, self._blocks.scene) for part in given)
        spare = key.shape[-1] - query.shape[-1]
        return attend(functional.pad(query, (0, spare))[:, None], key[:, None], value[:, None], mask, scale).squeeze(1)

    def pack(self, values: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return self._blocks.pack(values)


class _AttentionByScene(torch.autograd.Function):
    """Attention of packed queries to the keys of their scene, one scene after the other.

    On a CPU this takes half the time of blocks of all scenes at once, and a third without gradients: what passes
    through memory there stays in the cache here.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, queries: list[int], keys: list[int], scale: float
    ) -> Tensor:
        key = key * scale
        seen = query.new_empty(len(query), value.shape[-1])
        weights: list[Tensor] = []
        parts = zip(*(part.split_with_sizes(queries) for part in (query, seen)), keys, strict=True)
        for scene, (asked, out, count) in enumerate(parts):
            weights.append(torch.mm(asked, key[scene, :count].T).softmax(dim=-1))
            torch.mm(weights[scene], value[scene, :count], out=out)
        ctx.save_for_backward(query, key, value, *weights)
        ctx.queries, ctx.keys, ctx.scale = queries, keys, scale
        return seen

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        query, key, value, *weights = ctx.saved_tensors
        (seen,) = gradients
        to_query, to_key, to_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        packed = (part.split_with_sizes(ctx.queries) for part in (query, seen, to_query))
        for scene, (asked, gradient, out, weight, count) in enumerate(zip(*packed, weights, ctx.keys, strict=True)):
            to_weight = torch.mm(gradient, value[scene, :count].T)
            score = torch.ops.aten._softmax_backward_data(to_weight, weight, -1, weight.dtype)
            torch.mm(score, key[scene, :count], out=out)
            torch.mm(score.T, asked, out=to_key[scene, :count])
            torch.mm(weight.T, gradient, out=to_value[scene, :count])
        return to_query, to_key.mul_(ctx.scale), to_value, None, None, None


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
