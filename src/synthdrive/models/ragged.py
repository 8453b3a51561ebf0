"""Items of many scenes joined end to end (packed), and the way to rows padded to the longest scene and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from synthdrive.models.tensor_group import TensorGroup


@dataclass(frozen=True)
class Ragged(TensorGroup):
    """Where N packed items of B scenes lie, scene by scene.

    Attributes:
        scene: (N,) int64, each item's scene, rising.
        counts: (B,) int64, items of each scene.
    """

    scene: Tensor
    counts: Tensor

    @classmethod
    def from_scene(cls, scene: Tensor, scenes: int) -> Self:
        """From each item's scene (rising) and the number of scenes."""
        counts = scene.new_zeros(scenes).index_add_(0, scene, torch.ones_like(scene))
        return cls(scene, counts)

    @classmethod
    def from_counts(cls, counts: Tensor, total: int | None = None) -> Self:
        """From the number of items of each scene; `total`, their sum, spares the host a wait where it is known."""
        return cls(torch.repeat_interleave(counts, output_size=total), counts)

    @cached_property
    def starts(self) -> Tensor:
        """(B,) int64, first item of each scene."""
        return self.counts.cumsum(0) - self.counts

    @cached_property
    def position(self) -> Tensor:
        """(N,) int64, each item's place within its scene."""
        return torch.arange(len(self.scene), device=self.scene.device) - self.starts[self.scene]

    @cached_property
    def longest(self) -> int:
        """Items of the largest scene, at least 1, so that no padded row is empty."""
        return max(int(self.counts.max()), 1) if len(self.counts) else 1

    @cached_property
    def slot(self) -> Tensor:
        """(N,) int64, each item's place in the flattened padded rows."""
        return self.scene * self.longest + self.position

    @cached_property
    def valid(self) -> Tensor:
        """(B, longest) bool, True where a padded row holds an item."""
        return torch.arange(self.longest, device=self.counts.device) < self.counts[:, None]

    def pad(self, packed: Tensor, fill: float = 0.0) -> Tensor:
        """(N, ...) -> (B, longest, ...), `fill` where there is no item."""
        padded = packed.new_full((len(self.counts) * self.longest, *packed.shape[1:]), fill)
        padded = padded.index_copy(0, self.slot, packed)
        return padded.view(len(self.counts), self.longest, *packed.shape[1:])

    def pack(self, padded: Tensor) -> Tensor:
        """(B, longest, ...) -> (N, ...)."""
        return padded.flatten(0, 1).index_select(0, self.slot)

    def take(self, rows: Tensor) -> Self:
        """The items `rows` (M,), rising."""
        return type(self).from_scene(self.scene[rows], len(self.counts))


@dataclass(frozen=True)
class Blocks:
    """Packed items cut into blocks of equal size, each of one scene, so that attention wastes no more than a block.

    Attributes:
        scene: (N,) int64, each block's scene.
        index: (N, Q) int64, the packed item at each place; some other item where there is none.
        slot: (M,) int64, the place of each packed item in the flattened blocks.
    """

    scene: Tensor
    index: Tensor
    slot: Tensor

    @classmethod
    def of(cls, items: Ragged, size: int) -> Self:
        """Cut each scene's items into blocks of `size`, the last one filled up."""
        whole = (items.counts + size - 1) // size
        blocks = Ragged.from_counts(whole, int(whole.sum()))
        offset = blocks.position[:, None] * size + torch.arange(size, device=whole.device)  # [N, Q]
        index = (items.starts[blocks.scene][:, None] + offset).clamp(max=max(len(items.scene) - 1, 0))
        slot = (blocks.starts[items.scene] + items.position // size) * size + items.position % size
        return cls(blocks.scene, index, slot)

    def pack(self, values: Tensor) -> Tensor:
        """(N, Q, ...) -> the packed items' values, in their order."""
        return values.flatten(0, 1).index_select(0, self.slot)
