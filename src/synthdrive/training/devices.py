"""Where training runs: one process per device, whatever started it."""

from __future__ import annotations

import os
import shutil
import sys

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from synthdrive.errors import SynthDriveError
from synthdrive.models.host_memory import keep_few_products, keep_freed_memory
from synthdrive.parallel import worker_count
from synthdrive.parameters.optimisation import OptimisationParameters

GPU_LOADERS = 8  # loading processes per GPU at most; one on its own does not keep up with an H200


def make_accelerator(parameters: OptimisationParameters) -> Accelerator:
    """The accelerator of this process, with torch set to give the same numbers on every run of one machine.

    Raises:
        SynthDriveError: the launcher started several processes that do not know of one another, or there is no
            compiler where one is needed.
    """
    if parameters.compile and not torch.cuda.is_available():
        require_compiler()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats its sums only with this
    # The same as use_deterministic_algorithms(True, warn_only=True), which imports the compiler as well (1.5 s).
    torch.set_deterministic_debug_mode("warn")
    # Filling fresh memory finds bugs, costs time and changes no number.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = parameters.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = parameters.precision == "tf32"
    if not torch.cuda.is_available():
        keep_freed_memory()
        keep_few_products()
    AcceleratorState._reset_state()  # a process may run several cells, of other precisions too
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),  # several processes find one another on a CPU only when told so
        mixed_precision="bf16" if parameters.precision == "bfloat16" else "no",
        # Samples of one kind leave the other kind's decoder without gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        raise SynthDriveError(
            f"{started} processes were started, of which each sees {accelerator.num_processes}: "
            "use torchrun, or accelerate launch with --config_file accelerate.yaml"
        )
    return accelerator


def require_compiler() -> None:
    """Raise SynthDriveError where torch.compile would find no C++ compiler, which it needs on a CPU."""
    wanted = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # what torch looks for
    if shutil.which(wanted) is None:
        raise SynthDriveError(
            f"compile: true needs a C++ compiler on a CPU, and there is no {wanted}: "
            "install one (Debian: apt-get install g++), name another in CXX, or set compile: false"
        )


def device_name(device: torch.device) -> str:
    """The device in words, for cards."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def division(accelerator: Accelerator) -> dict[str, int | None]:
    """Over what a training's sums are divided, which settles their last bits: processes, and threads of each on a CPU.

    Threads are None on a GPU, where they touch no sum.
    """
    threads = torch.get_num_threads() if accelerator.device.type == "cpu" else None
    return {"processes": accelerator.num_processes, "threads": threads}


def loading_workers(device: torch.device, processes: int) -> int:
    """Loading processes per device by default: none on a CPU, where they would only take cores from the training."""
    if device.type == "cpu":
        return 0
    return max(1, min(GPU_LOADERS, worker_count() // max(1, processes) - 1))
