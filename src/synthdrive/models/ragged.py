"""Packed items of many scenes, joined end to end, and their conversion to padded rows and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from synthdrive.models.tensor_group import TensorGroup


@dataclass(frozen=True)
class Ragged(TensorGroup):
    """Index of N packed items of B scenes, scene by scene.

    Attributes:
        scene: (N,) int64, the scene of each item, ascending.
        counts: (B,) int64, number of items in each scene.
    """

    scene: Tensor
    counts: Tensor

    @classmethod
    def from_scene(cls, scene: Tensor, scenes: int) -> Self:
        """Make an index from the scene of each item (N,), ascending, and the number of scenes."""
        counts = scene.new_zeros(scenes).index_add_(0, scene, torch.ones_like(scene))
        return cls(scene, counts)

    @classmethod
    def from_counts(cls, counts: Tensor, total: int | None = None) -> Self:
        """Make an index from the counts (B,); a known sum, `total`, spares the host from waiting for the device."""
        return cls(torch.repeat_interleave(counts, output_size=total), counts)

    @cached_property
    def starts(self) -> Tensor:
        """(B,) int64, the first item of each scene."""
        return self.counts.cumsum(0) - self.counts

    @cached_property
    def position(self) -> Tensor:
        """(N,) int64, the position of each item within its scene."""
        return torch.arange(len(self.scene), device=self.scene.device) - self.starts[self.scene]

    @cached_property
    def longest(self) -> int:
        """Number of items in the largest scene, at least 1, so that no padded row is empty."""
        return max(int(self.counts.max()), 1) if len(self.counts) else 1

    @cached_property
    def slot(self) -> Tensor:
        """(N,) int64, the position of each item in the flattened padded rows."""
        return self.scene * self.longest + self.position

    @cached_property
    def valid(self) -> Tensor:
        """(B, longest) bool, True where a padded row holds an item."""
        return torch.arange(self.longest, device=self.counts.device) < self.counts[:, None]

    def pad(self, packed: Tensor, fill: float = 0.0) -> Tensor:
        """Convert packed values (N, ...) to rows (B, longest, ...), padded with `fill`."""
        padded = packed.new_full((len(self.counts) * self.longest, *packed.shape[1:]), fill)
        padded = padded.index_copy(0, self.slot, packed)
        return padded.view(len(self.counts), self.longest, *packed.shape[1:])

    def pack(self, padded: Tensor) -> Tensor:
        """Convert padded rows (B, longest, ...) to packed values (N, ...)."""
        return padded.flatten(0, 1).index_select(0, self.slot)

    def take(self, rows: Tensor) -> Self:
        """Return the index of the items at `rows` (M,), given in ascending order."""
        return type(self).from_scene(self.scene[rows], len(self.counts))


@dataclass(frozen=True)
class Blocks:
    """M packed items in N blocks of Q items of one scene, so that a scene is padded by less than a block.

    Attributes:
        scene: (N,) int64, the scene of each block.
        index: (N, Q) int64, the packed item at each position of a block; an arbitrary item at padding.
        slot: (M,) int64, the position of each packed item in the flattened blocks.
    """

    scene: Tensor
    index: Tensor
    slot: Tensor

    @classmethod
    def of(cls, items: Ragged, size: int) -> Self:
        """Divide the items of each scene into blocks of `size`; the last one is padded."""
        block_counts = (items.counts + size - 1) // size
        blocks = Ragged.from_counts(block_counts, int(block_counts.sum()))
        offset = blocks.position[:, None] * size + torch.arange(size, device=block_counts.device)  # [N, Q]
        index = (items.starts[blocks.scene][:, None] + offset).clamp(max=max(len(items.scene) - 1, 0))
        slot = (blocks.starts[items.scene] + items.position // size) * size + items.position % size
        return cls(blocks.scene, index, slot)

    def pack(self, values: Tensor) -> Tensor:
        """Convert values in blocks (N, Q, ...) to packed values (M, ...)."""
        return values.flatten(0, 1).index_select(0, self.slot)
