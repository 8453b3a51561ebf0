"""A simulated device: its tensors are stored on the CPU, but have the restrictions of tensors on a GPU.

Inside `SimulatedDevice()`, a tensor that is moved to `DEVICE` keeps its data on the CPU. An operator that mixes tensors
of both devices fails, as on a GPU; operators that would make the host wait are counted by the calling line.
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

DEVICE = torch.device("meta")  # the only device that a tensor can have without a driver
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
}  # their result, or its shape, depends on values, for which the host waits


class SimulatedTensor(Tensor):
    """A tensor whose device is `DEVICE`; its data are in `on_cpu`, on the CPU."""

    on_cpu: Tensor

    @staticmethod
    def __new__(cls, on_cpu: Tensor) -> SimulatedTensor:
        wrapper: SimulatedTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            on_cpu.shape,
            strides=on_cpu.stride(),
            storage_offset=on_cpu.storage_offset(),
            dtype=on_cpu.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        wrapper.on_cpu = on_cpu
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{function} on a simulated tensor outside of SimulatedDevice")

    def tolist(self) -> Any:
        """Return Python numbers, for which the host waits."""
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"SimulatedTensor({self.on_cpu!r})"


class SimulatedDevice(TorchDispatchMode):
    """Runs operators on simulated tensors.

    Attributes:
        operators: how many operators have run on the device.
        waits: how often each line made the host wait for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators = 0
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        simulated = [tensor for tensor in tensors if isinstance(tensor, SimulatedTensor)]
        requested = kwargs.get("device")
        on_device = torch.device(requested) == DEVICE if requested is not None else bool(simulated)
        if not simulated and not on_device:
            return function(*args, **kwargs)
        self.operators += 1
        if function in COPIES:
            self._count_copy(function, args, kwargs, on_device)
        else:
            for tensor in tensors:
                if not isinstance(tensor, SimulatedTensor) and (tensor.dim() > 0 or tensor.device == DEVICE):
                    device = (
                        "Python numbers on the device, a copy that waits" if tensor.device == DEVICE else "the device"
                    )
                    raise AssertionError(f"{function}: tensors on the CPU and {device}, at {_line()}")
            if function in WAITS or _selects_by_mask(function, args) or _repeats_without_output_size(function, kwargs):
                self.waits[_line()] += 1
        if requested is not None:
            kwargs["device"] = CPU
        cpu_args, cpu_kwargs = tree_map(_unwrap, (args, kwargs))
        result = function(*cpu_args, **cpu_kwargs)
        if requested is not None and not on_device:
            return result
        if function is aten.copy_.default:
            return args[0]
        wrapped = tree_map(lambda value: SimulatedTensor(value) if isinstance(value, Tensor) else value, result)
        return return_and_correct_aliasing(function, args, kwargs, wrapped) if simulated else wrapped

    def _count_copy(self, function: Any, args: Any, kwargs: Any, on_device: bool) -> None:
        source = args[1] if function is aten.copy_.default else args[0]
        target = isinstance(args[0], SimulatedTensor) if function is aten.copy_.default else on_device
        if isinstance(source, SimulatedTensor) and not target:
            self.waits[_line()] += 1
        elif target and not isinstance(source, SimulatedTensor) and source.dim() > 0:
            non_blocking = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
            if not non_blocking:
                self.waits[_line()] += 1


def _unwrap(value: Any) -> Any:
    return value.on_cpu if isinstance(value, SimulatedTensor) else value


def _selects_by_mask(function: Any, args: Any) -> bool:
    packet = getattr(function, "overloadpacket", None)
    if packet not in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_):
        return False
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _repeats_without_output_size(function: Any, kwargs: Any) -> bool:
    return function is aten.repeat_interleave.Tensor and kwargs.get("output_size") is None


def _line() -> str:
    """The innermost running line of the package's source; lines are unknown in the backward pass."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(SOURCE):
            return f"{frame.filename.removeprefix(SOURCE).lstrip('/')}:{frame.lineno}: {frame.line}"
    return "the test itself"
