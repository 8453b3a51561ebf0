"""Where training runs: one process per device, whatever started it, and the memory that it keeps."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from synthdrive.config.training import OptimisationParameters
from synthdrive.core.errors import ParameterError, SynthDriveError
from synthdrive.core.parallel import worker_count

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt, in glibc's malloc.h
_LARGEST = (1 << 31) - 1  # an int; larger blocks are still mapped one by one

_PRODUCTS = 64  # more than one layer's, forward and backward, need between two uses
_PRODUCT_CACHES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")  # torch's own, and oneDNN's beneath it

# Read by Accelerate, whatever it is told: each would change a run's numbers, or the way in which it is trained.
_DECIDED_ELSEWHERE = (
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_USE_FSDP", "ACCELERATE_USE_MEGATRON_LM", "ACCELERATE_USE_PARALLELISM_CONFIG",
)  # fmt: skip


def keep_freed_memory() -> bool:
    """Have this process reuse freed memory rather than give it back to the system.

    By default glibc maps every block above some megabytes anew and unmaps it when it is freed, so that each activation
    of each training step on a CPU is paid for in page faults: a tenth of the time for small batches, a third for
    batches of 64 scenes. Peak memory stays the same; it is just not returned until the process ends.

    Returns:
        True where the C library took the setting (glibc), False elsewhere.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, 1 << 26))
    return all(mallopt(option, value) == 1 for option, value in settings)


def keep_few_products() -> None:
    """Have torch keep the code of a few matrix products in bfloat16; to be called before the first of them.

    oneDNN compiles one for each shape, of half a megabyte, and torch keeps up to 1,024 of them twice over. Scenes make
    ever new shapes, so that most are never used again: a gigabyte, which lies scattered among the memory that steps
    reuse, so that new steps find no room there and take as much again. A user's own setting stays.
    """
    for name in _PRODUCT_CACHES:
        os.environ.setdefault(name, str(_PRODUCTS))


PROCESSES = "SYNTHDRIVE_PROCESSES"


def is_main_process() -> bool:
    """Whether this process is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


def spread_over_devices() -> None:
    """Start the running script again in as many processes as `SYNTHDRIVE_PROCESSES` says, in place of this one.

    Does nothing when that is unset or 1, or when a launcher (torchrun, accelerate launch) has started this process.

    Raises:
        ParameterError: the variable is not a whole number from 1.
    """
    text = os.environ.get(PROCESSES, "1")
    if not text.isdigit() or int(text) < 1:
        raise ParameterError(PROCESSES, repr(text), "a whole number from 1")
    if int(text) == 1 or "WORLD_SIZE" in os.environ:
        return
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={text}"]
    # torch warns that no parameter was unused in the first batch; in others, as in masked pre-training, some are.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.execv(sys.executable, [*launcher, *sys.argv])


GPU_LOADERS = 8  # loading processes per GPU at most; one on its own does not keep up with an H200


def make_accelerator(parameters: OptimisationParameters) -> Accelerator:
    """The accelerator of this process, with torch set to give the same numbers on every run of one machine.

    Raises:
        SynthDriveError: the launcher started several processes that do not know of one another, or there is no
            compiler where one is needed.
    """
    if parameters.compile and not torch.cuda.is_available():
        require_compiler()
    repeatable_kernels()
    # The same as use_deterministic_algorithms(True, warn_only=...), which imports the compiler as well (1.5 s). Where
    # it only warns, memory-efficient attention adds atomically in its backward pass on CUDA.
    torch.set_deterministic_debug_mode("error" if torch.cuda.is_available() else "warn")
    # Filling fresh memory finds bugs, costs time and changes no number.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = parameters.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = parameters.precision == "tf32"
    if not torch.cuda.is_available():
        keep_freed_memory()
        keep_few_products()
        torch.set_num_threads(parameters.cpu_threads)
    for name in _DECIDED_ELSEWHERE:  # in a shell or a launcher's configuration; parameters alone decide
        os.environ.pop(name, None)
    AcceleratorState._reset_state()  # a process may run several runs, of other precisions too
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


def repeatable_kernels() -> None:
    """Settings of CUDA without which sums differ from run to run, or attention plans a graph for every new shape."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats its sums only with this
    torch.backends.cuda.enable_cudnn_sdp(False)  # Hopper would take it in bfloat16; shapes differ at every step


def require_compiler() -> None:
    """Raise SynthDriveError where torch.compile would find no C++ compiler, which it needs on a CPU."""
    wanted = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # what torch looks for
    if shutil.which(wanted) is None:
        raise SynthDriveError(
            f"compile: true needs a C++ compiler on a CPU, and there is no {wanted}: "
            "install one (Debian: apt-get install g++), name another in CXX, or set compile: false"
        )


def device_name(device: torch.device) -> str:
    """The device in words, for provenance."""
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
