"""Devices, processes and memory of training."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from synthdrive.config.training import OptimisationParameters
from synthdrive.core.errors import ParameterError, SynthDriveError
from synthdrive.core.parallel import worker_count
from synthdrive.training.tracking import chosen_tracker

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # options of mallopt, from glibc's malloc.h
_LARGEST_INT = (1 << 31) - 1  # larger blocks are still mapped one by one

_CACHED_PRODUCTS = 64  # more than one layer uses in its forward and backward passes
_CACHE_VARIABLES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")  # of torch, and of oneDNN below it

# Accelerate reads these even if its arguments say otherwise. Each would change how a run is trained, and its numbers.
_ACCELERATE_VARIABLES = (
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_USE_FSDP", "ACCELERATE_USE_MEGATRON_LM", "ACCELERATE_USE_PARALLELISM_CONFIG",
)  # fmt: skip


def keep_freed_memory() -> bool:
    """Make this process reuse freed memory instead of returning it to the system.

    By default, glibc maps every block above some megabytes anew and unmaps it when it is freed. On a CPU, the page
    faults of a training step's activations then take a tenth of the time with small batches, and a third with batches
    of 64 scenes. Peak memory stays the same, but is not returned until the process ends.

    Returns:
        Whether the C library accepted the setting; only glibc does.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST_INT), (_TRIM_THRESHOLD, _LARGEST_INT), (_TOP_PAD, 1 << 26))
    return all(mallopt(option, value) == 1 for option, value in settings)


def limit_product_cache() -> None:
    """Limit the number of compiled bfloat16 matrix products that torch caches; call this before the first product.

    oneDNN compiles half a megabyte of code for each shape, and torch caches up to 1,024 shapes twice. Scenes keep
    producing new shapes, so that most are never used again: they take a gigabyte and fragment the memory that steps
    reuse, which costs as much again. Environment variables set by the user have precedence.
    """
    for name in _CACHE_VARIABLES:
        os.environ.setdefault(name, str(_CACHED_PRODUCTS))


PROCESSES = "SYNTHDRIVE_PROCESSES"


def is_main_process() -> bool:
    """Return whether this process is the one that writes files."""
    return os.environ.get("RANK", "0") == "0"


def spread_over_devices() -> None:
    """Replace this process by a restart of its script in as many processes as `SYNTHDRIVE_PROCESSES` says.

    Do nothing if that variable is unset or 1, or if a launcher (torchrun, accelerate launch) started this process.

    Raises:
        ParameterError: the variable is not a positive whole number.
    """
    text = os.environ.get(PROCESSES, "1")
    if not text.isdigit() or int(text) < 1:
        raise ParameterError(PROCESSES, repr(text), "a positive whole number")
    if int(text) == 1 or "WORLD_SIZE" in os.environ:
        return
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={text}"]
    # torch warns if no parameter was unused in the first batch, but in masked pre-training some are in later ones.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.execv(sys.executable, [*launcher, *sys.argv])


GPU_LOADERS = 8  # largest number of loading processes for each GPU; a single one is too slow for an H200


def make_accelerator(parameters: OptimisationParameters, logs: Path | None = None) -> Accelerator:
    """Return the accelerator of this process, with torch set to give the same results in every run on one machine.

    Args:
        parameters: parameters of the optimisation.
        logs: folder of the live curves, if a tracker is chosen (tracking.py); None: no tracker.

    Raises:
        ParameterError: the chosen tracker is unknown or not installed.
        SynthDriveError: the launcher started several processes that are not connected, or `compile` is true and the
            necessary compiler is missing.
    """
    if parameters.compile and not torch.cuda.is_available():
        require_compiler()
    repeatable_kernels()
    # Equals use_deterministic_algorithms(True, warn_only=...), which would also import the compiler (1.5 s). A warning
    # is not enough on CUDA: memory-efficient attention then uses atomic additions in its backward pass.
    torch.set_deterministic_debug_mode("error" if torch.cuda.is_available() else "warn")
    # Filling new memory only helps to find bugs, and takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = parameters.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = parameters.precision == "tf32"
    if not torch.cuda.is_available():
        keep_freed_memory()
        limit_product_cache()
        torch.set_num_threads(parameters.cpu_threads)
    for name in _ACCELERATE_VARIABLES:  # set in a shell or by a launcher; only parameters may decide
        os.environ.pop(name, None)
    AcceleratorState._reset_state()  # a process may execute several runs, with different precisions
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),  # needed to connect several processes on a CPU
        mixed_precision="bf16" if parameters.precision == "bfloat16" else "no",
        log_with=None if logs is None else chosen_tracker(),
        project_dir=logs,
        # A batch without map samples or without trajectory samples leaves a decoder without gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        raise SynthDriveError(
            f"{started} processes were started, but each is connected to {accelerator.num_processes} only: "
            "use torchrun, or accelerate launch with --config_file accelerate.yaml"
        )
    return accelerator


def repeatable_kernels() -> None:
    """Set up CUDA so that sums are the same in every run and attention does not plan a graph for every new shape."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    torch.backends.cuda.enable_cudnn_sdp(False)  # the default for bfloat16 on Hopper; shapes differ at every step


def require_compiler() -> None:
    """Raise SynthDriveError if the C++ compiler that torch.compile needs on a CPU is missing."""
    wanted = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # as torch looks for it
    if shutil.which(wanted) is None:
        raise SynthDriveError(
            f"compile: true needs a C++ compiler on a CPU, and there is no {wanted}: "
            "install it (Debian: apt-get install g++), name another in CXX, or set compile: false"
        )


def device_name(device: torch.device) -> str:
    """Return the device's name for provenance records."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def division(accelerator: Accelerator) -> dict[str, int | None]:
    """Return the numbers of processes and of CPU threads in each, on which the last bits of a training's sums depend.

    The number of threads is None on a GPU, where no sum depends on it.
    """
    threads = torch.get_num_threads() if accelerator.device.type == "cpu" else None
    return {"processes": accelerator.num_processes, "threads": threads}


def loading_workers(device: torch.device, processes: int) -> int:
    """Return the default number of loading processes per device: 0 on a CPU, where they would compete with training."""
    if device.type == "cpu":
        return 0
    return max(1, min(GPU_LOADERS, worker_count() // max(1, processes) - 1))
