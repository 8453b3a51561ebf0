"""How packed goals attend to the features of their scene: scene by scene on a CPU, in blocks of equal size on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from synthdrive.models.layers import additive_mask, attend, in_products
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
