"""A pretended device: tensors on the CPU that claim to be elsewhere, with the restrictions of a GPU.

Inside `PretendedDevice()` a tensor moved to `DEVICE` keeps its data on the CPU. An operator that mixes tensors of both
devices fails, as it would on a GPU; operators for which the host would have to wait are counted, with the calling line.
"""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")  # the one that torch lets a tensor claim without a driver
CPU = torch.device("cpu")
SOURCE = str(Path(__file__).resolve().parents[2] / "src")

aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
WAITS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten._unique2.default,
    aten.bincount.default,
}  # their result, or its shape, depends on values


class Pretended(Tensor):
    """A tensor that says it is on `DEVICE`; `held` is its data, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretended:
        made: Pretended = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{function} on a pretended tensor outside of PretendedDevice")

    def tolist(self) -> Any:
        """As Python numbers, for which the host waits."""
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"Pretended({self.held!r})"


class PretendedDevice(TorchDispatchMode):
    """Runs operators on pretended tensors.

    Attributes:
        operators: how many have run on the device.
        waits: how often each line made the host wait for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators = 0
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        pretended = [tensor for tensor in tensors if isinstance(tensor, Pretended)]
        wanted = kwargs.get("device")
        there = torch.device(wanted) == DEVICE if wanted is not None else bool(pretended)
        if not pretended and not there:
            return function(*args, **kwargs)
        self.operators += 1
        if function in COPIES:
            self._watch_copy(function, args, kwargs, there)
        else:
            for tensor in tensors:
                if not isinstance(tensor, Pretended) and (tensor.dim() > 0 or tensor.device == DEVICE):
                    made = "made of Python numbers there: a copy that waits" if tensor.device == DEVICE else "there"
                    raise AssertionError(f"{function}: tensors here and {made}, at {_line()}")
            if function in WAITS or _selects_by_mask(function, args) or _repeats_unknown(function, kwargs):
                self.waits[_line()] += 1
        if wanted is not None:
            kwargs["device"] = CPU
        held_args, held_kwargs = tree_map(_unwrap, (args, kwargs))
        result = function(*held_args, **held_kwargs)
        if wanted is not None and not there:
            return result
        if function is aten.copy_.default:
            return args[0]
        wrapped = tree_map(lambda value: Pretended(value) if isinstance(value, Tensor) else value, result)
        return return_and_correct_aliasing(function, args, kwargs, wrapped) if pretended else wrapped

    def _watch_copy(self, function: Any, args: Any, kwargs: Any, there: bool) -> None:
        source = args[1] if function is aten.copy_.default else args[0]
        target = isinstance(args[0], Pretended) if function is aten.copy_.default else there
        if isinstance(source, Pretended) and not target:
            self.waits[_line()] += 1
        elif target and not isinstance(source, Pretended) and source.dim() > 0:
            given = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
            if not given:
                self.waits[_line()] += 1


def _unwrap(value: Any) -> Any:
    return value.held if isinstance(value, Pretended) else value


def _selects_by_mask(function: Any, args: Any) -> bool:
    packet = getattr(function, "overloadpacket", None)
    if packet not in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_):
        return False
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _repeats_unknown(function: Any, kwargs: Any) -> bool:
    return function is aten.repeat_interleave.Tensor and kwargs.get("output_size") is None


def _line() -> str:
    """The innermost line of the project's source that is running; of its backward pass, nothing is known."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(SOURCE):
            return f"{frame.filename.removeprefix(SOURCE).lstrip('/')}:{frame.lineno}: {frame.line}"
    return "the test itself"
