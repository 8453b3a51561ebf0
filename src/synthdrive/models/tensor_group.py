"""Dataclasses of tensors that move between processes and devices as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

ALIGNMENT = 16  # bytes; tensors start at multiples of this in a block, and no element is larger than 8 bytes


class TensorGroup:
    """Base class of dataclasses with tensors, other tensor groups and plain values as attributes.

    Cached properties that have been computed move along, so that the device need not compute them again and the host
    need not wait for them.
    """

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Self:
        """Return the group on another device."""
        tensors: list[Tensor] = []
        shape = _take_apart(self, tensors, {})
        moved: Self = _put_together(shape, [tensor.to(device, non_blocking=non_blocking) for tensor in tensors])
        return moved

    def pin_memory(self) -> Self:
        """Return the group in page-locked memory; `DataLoader` calls this."""
        tensors: list[Tensor] = []
        shape = _take_apart(self, tensors, {})
        pinned: Self = _put_together(shape, [tensor.pin_memory() for tensor in tensors])
        return pinned

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle all tensors as one block: each block passed between processes costs a handle and a system call."""
        tensors: list[Tensor] = []
        shape = _take_apart(self, tensors, {})
        return _from_block, (shape, *_join(tensors))


@dataclass(frozen=True)
class _Place:
    """Placeholder of the tensor with this number."""

    number: int


@dataclass(frozen=True)
class _Parts:
    """Placeholder of a group: its class, and its attributes taken apart."""

    kind: type
    attributes: dict[str, Any]


def _take_apart(value: Any, tensors: list[Tensor], seen: dict[int, _Place]) -> Any:
    """Return the value with placeholders instead of tensors, and append each distinct tensor to `tensors`."""
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
    """Return one block with the bytes of all tensors, and the start, type and shape of each tensor."""
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
