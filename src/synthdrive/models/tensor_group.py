"""Dataclasses of tensors that go from a loading process to this one, and on to a device, together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

ALIGNMENT = 16  # bytes, at which a tensor starts within a block; the largest element has 8


class TensorGroup:
    """A dataclass of tensors, of other such groups and of plain values.

    Cached properties that have been computed go along, so that a device need not compute them again, nor the host wait
    for them.
    """

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Self:
        """The same group on another device."""
        tensors: list[Tensor] = []
        shape = _take_apart(self, tensors, {})
        moved: Self = _put_together(shape, [tensor.to(device, non_blocking=non_blocking) for tensor in tensors])
        return moved

    def pin_memory(self) -> Self:
        """The same group in page-locked memory, as a data loader asks for it."""
        tensors: list[Tensor] = []
        shape = _take_apart(self, tensors, {})
        pinned: Self = _put_together(shape, [tensor.pin_memory() for tensor in tensors])
        return pinned

    def __reduce__(self) -> tuple[Any, ...]:
        """As one block of memory: each that crosses from a process to another costs a handle, and so a system call."""
        tensors: list[Tensor] = []
        shape = _take_apart(self, tensors, {})
        return _from_block, (shape, *_join(tensors))


@dataclass(frozen=True)
class _Place:
    """Stands for the tensor of this number."""

    number: int


@dataclass(frozen=True)
class _Parts:
    """Stands for a group: its class, and its attributes taken apart."""

    kind: type
    attributes: dict[str, Any]


def _take_apart(value: Any, tensors: list[Tensor], seen: dict[int, _Place]) -> Any:
    """The value with places instead of its tensors, which are added to `tensors`, each once."""
    if isinstance(value, Tensor):
        if id(value) not in seen:
            seen[id(value)] = _Place(len(tensors))
            tensors.append(value)
        return seen[id(value)]
    if isinstance(value, TensorGroup):
        return _Parts(type(value), {name: _take_apart(part, tensors, seen) for name, part in vars(value).items()})
    return value


def _put_together(value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, _Place):
        return tensors[value.number]
    if isinstance(value, _Parts):
        group: Any = object.__new__(value.kind)
        vars(group).update({name: _put_together(part, tensors) for name, part in value.attributes.items()})
        return group
    return value


_Layout = list[tuple[int, torch.dtype, tuple[int, ...]]]


def _join(tensors: list[Tensor]) -> tuple[Tensor, _Layout]:
    """The tensors' bytes in one block; where each starts, its type and its shape."""
    layout: _Layout = []
    end = 0
    for tensor in tensors:
        layout.append((end, tensor.dtype, tuple(tensor.shape)))
        end += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    block = torch.zeros(end, dtype=torch.uint8)
    for tensor, (start, _, _) in zip(tensors, layout, strict=True):
        block[start : start + tensor.nbytes] = tensor.cpu().contiguous().reshape(-1).view(torch.uint8)
    return block, layout


def _from_block(shape: Any, block: Tensor, layout: _Layout) -> Any:
    tensors = []
    for start, dtype, size in layout:
        count = dtype.itemsize * torch.Size(size).numel()
        tensors.append(block[start : start + count].view(dtype).view(size))
    return _put_together(shape, tensors)
