"""Goal scorer, and attention of packed goals to the features of their scene (docs/method.md 5).

The attention runs scene by scene on a CPU and in blocks of equal size on a GPU.
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
    uses_matrix_products,
)
from synthdrive.models.ragged import Blocks, Ragged

BLOCK = 32  # goals in a block, all of one scene


@dataclass(frozen=True)
class KeysAndValues:
    """Features of B scenes that goals attend to.

    Attributes:
        key: (B, P, E) keys.
        value: (B, P, F) values.
        valid: (B, P) bool, True for the features of each scene, at least one; they precede the padding.
    """

    key: Tensor
    value: Tensor
    valid: Tensor

    @cached_property
    def counts(self) -> list[int]:
        """Number of valid features in each scene."""
        counts: list[int] = self.valid.sum(dim=1).tolist()
        return counts

    @cached_property
    def mask(self) -> Tensor:
        """(B, P) mask: 0 where valid, else -inf."""
        return additive_mask(self.valid, self.key)


class GoalLayout(Protocol):
    """Arrangement of a batch's packed goals while they are scored.

    Attributes:
        extra: columns added to the features of goals: one for the direct path to the score (see `GoalScorer.context`),
            the others to give the row a width that suits the attention kernel.
    """

    extra: ClassVar[int]

    def place(self, goals: Tensor) -> Tensor:
        """Arrange packed goals (G, 2) in this layout."""
        ...

    def per_goal(self, features: Tensor) -> Tensor:
        """Expand features (B, S) of the scenes to this layout, so that they can be added to features of goals."""
        ...

    def attend(self, query: Tensor, attended: KeysAndValues, scale: float) -> Tensor:
        """Compute softmax attention of goals in this layout to the features of their own scene."""
        ...

    def pack(self, values: Tensor) -> Tensor:
        """Pack values of the goals in this layout as (G, ...)."""
        ...


def layout_for(items: Ragged) -> GoalLayout:
    """Return the faster layout on the device of the items."""
    return SceneByScene(items) if uses_matrix_products(items.scene.device) else InBlocks(items)


class SceneByScene:
    """Packed goals (G, ...). Nothing is padded, and the scores of one scene fit into the processor's cache."""

    extra: ClassVar[int] = 1

    def __init__(self, items: Ragged) -> None:
        self._scene: Tensor = items.scene
        self._counts: list[int] = items.counts.tolist()

    def place(self, goals: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return goals

    def per_goal(self, features: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return features.index_select(0, self._scene)

    def attend(self, query: Tensor, attended: KeysAndValues, scale: float) -> Tensor:
        """See `GoalLayout`."""
        return _AttentionByScene.apply(query, attended.key, attended.value, self._counts, attended.counts, scale)  # type: ignore[no-any-return, no-untyped-call]

    def pack(self, values: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return values


class InBlocks:
    """Goals in blocks (N, BLOCK, ...) of one scene each; the last block of a scene is padded."""

    # The fused kernels of a GPU need keys and values of equal width, a multiple of 8.
    extra: ClassVar[int] = 8

    def __init__(self, items: Ragged) -> None:
        self._blocks = Blocks.of(items, BLOCK)

    def place(self, goals: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return goals[self._blocks.index]

    def per_goal(self, features: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return features.index_select(0, self._blocks.scene)[:, None]

    def attend(self, query: Tensor, attended: KeysAndValues, scale: float) -> Tensor:
        """See `GoalLayout`."""
        given = (attended.key, attended.value, attended.mask)
        key, value, mask = (part.index_select(0, self._blocks.scene) for part in given)
        extra = key.shape[-1] - query.shape[-1]
        return attend(functional.pad(query, (0, extra))[:, None], key[:, None], value[:, None], mask, scale).squeeze(1)

    def pack(self, values: Tensor) -> Tensor:
        """See `GoalLayout`."""
        return self._blocks.pack(values)


class _AttentionByScene(torch.autograd.Function):
    """Attention of packed queries to the keys of their scene, one scene after the other.

    On a CPU this takes half the time of one call for all scenes, and a third of it without gradients, because the
    scores of one scene stay in the cache.
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
    """Three MLPs from a goal's position to its feature; half of the focal agent's feature joins the last two inputs."""

    def __init__(self, size: int, coordinate_scale: float = 1.0, second_scale: float = 0.0) -> None:
        super().__init__()
        self.joined = size // 2
        first = CoordinateMLP(2, self.joined, coordinate_scale, second_scale)
        self.layers = nn.ModuleList([first, MLP(first.width + self.joined, self.joined), MLP(size, size)])

    def agent_parts(self, agent: Tensor) -> list[Tensor]:
        """Return what the focal agent's feature (B, S) adds to each later layer, (B, out), the same for all goals."""
        part = agent[:, : self.joined]
        linears = [layer.linear for layer in list(self.layers)[1:] if isinstance(layer, MLP)]
        return [functional.linear(part, linear.weight[:, -self.joined :], linear.bias) for linear in linears]

    def forward(self, goals: Tensor, agent_parts: list[Tensor], layout: GoalLayout) -> Tensor:
        """Return features (..., S) of goals (..., 2) in metres, arranged by `layout`; see `agent_parts`."""
        first, *others = self.layers
        hidden: Tensor = first(goals)
        for layer, same in zip(others, agent_parts, strict=True):
            assert isinstance(layer, MLP)
            own = functional.linear(hidden, layer.linear.weight[:, : -self.joined])
            hidden = layer.activate(own.add_(layout.per_goal(same)))
        return hidden


@dataclass(frozen=True)
class GoalContext:
    """Everything that is the same for all goals of a scene, computed once for each of B scenes.

    Attributes:
        encoded: contributions of the focal agent's feature to the goal encoder.
        constant: (B, S + extra) contribution of the focal agent's feature to the decoder's hidden layer and score.
        weight: (S + extra, S) weights of a goal's own feature in the decoder.
        attended: all polylines, and the kept lanes, with values that already contain the decoder's weights.
        extra: number of columns after those of the hidden layer, see `GoalLayout`; the first is the direct path.
    """

    encoded: list[Tensor]
    constant: Tensor
    weight: Tensor
    attended: tuple[KeysAndValues, KeysAndValues]
    extra: int


class GoalScorer(nn.Module):
    """Network that scores goals, before the softmax.

    It computes in float32 even if the rest of the network trains in bfloat16: the gradients of a scene's scores sum to
    zero over its thousands of goals, and the rounding errors of bfloat16 would be many times larger than what remains.

    Args:
        size: width of the features.
        coordinate_scale: metres that count as 1 in the encoding of a goal.
        second_scale: second scale of the encoding, see `layers.CoordinateMLP`; 0 for none.
    """

    def __init__(self, size: int, coordinate_scale: float = 1.0, second_scale: float = 0.0) -> None:
        super().__init__()
        self.size = size
        self.encoder = GoalEncoder(size, coordinate_scale, second_scale)
        self.attention = CrossAttention(size)
        self.decoder = ResidualDecoder(4 * size, size, 1)

    def context(self, agent: Tensor, tokens: Tensor, valid: Tensor, lanes: Tensor, lane_valid: Tensor) -> GoalContext:
        """Compute everything that is the same for all goals of a scene.

        Args:
            agent: (B, S) the focal agent's feature.
            tokens: (B, P, S) features of all polylines before the global graph, `valid` (B, P).
            lanes: (B, N, S) features of the lanes kept by the lane scorer, `lane_valid` (B, N).
        """
        with coordinates_exact(agent.device):
            agent, tokens, lanes = (full_precision(features) for features in (agent, tokens, lanes))
            extra = SceneByScene.extra if uses_matrix_products(agent.device) else InBlocks.extra
            # The decoder's output layer reads its input and its hidden layer. Here the input's direct path to the score
            # is one more row of the hidden layer's weights, before norm and ReLU. The columns of the weights belong to
            # the agent, the goal, and the results of its attention to polylines and to kept lanes.
            direct = self.decoder.output.weight[:, : 4 * self.size]
            weight = functional.pad(torch.cat([self.decoder.mlp.linear.weight, direct]), (0, 0, 0, extra - 1))
            bias = functional.pad(torch.cat([self.decoder.mlp.linear.bias, self.decoder.output.bias]), (0, extra - 1))
            for_agent, for_goal, for_seen, for_lane = weight.split_with_sizes([self.size] * 4, dim=1)
            attended = (
                self._keys_and_values(tokens, valid, for_seen, extra),
                self._keys_and_values(lanes, lane_valid, for_lane, extra),
            )
            constant = functional.linear(agent, for_agent, bias)
            return GoalContext(self.encoder.agent_parts(agent), constant, for_goal, attended, extra)

    def forward(self, goals: Tensor, items: Ragged, context: GoalContext) -> Tensor:
        """Return the scores (G,) float32 of packed goals (G, 2) in metres, agent frame; `items`: the scene of each."""
        with coordinates_exact(goals.device):
            layout = layout_for(items)
            goal = self.encoder(layout.place(goals), context.encoded, layout)  # [..., S]
            mixed = functional.linear(goal, context.weight)  # [..., S + extra]
            mixed = mixed.add_(layout.per_goal(context.constant))
            for attended in context.attended:
                mixed = mixed.add_(layout.attend(goal, attended, self.size**-0.5))
            hidden, score, _ = mixed.split_with_sizes([self.size, 1, context.extra - 1], dim=-1)
            through_hidden = self.decoder.output.weight[0, 4 * self.size :]
            score = score.squeeze(-1) + self.decoder.mlp.activate(hidden) @ through_hidden
            return layout.pack(score)

    def _keys_and_values(self, features: Tensor, valid: Tensor, weight: Tensor, extra: int) -> KeysAndValues:
        """Return keys and values of features (B, P, S), the values multiplied by `weight` (S + extra, S)."""
        attention = self.attention
        key = functional.linear(attention.key(features), attention.query.weight.T)  # [B, P, S]
        value = functional.linear(attention.value(features), weight)  # [B, P, S + extra]
        padded = key if extra == SceneByScene.extra else functional.pad(key, (0, extra))
        return KeysAndValues(padded, value, valid)
