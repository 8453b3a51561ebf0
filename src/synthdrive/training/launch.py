"""Several devices from the same command line: `SYNTHDRIVE_PROCESSES=4 dvc repro` trains on four GPUs."""

from __future__ import annotations

import os
import sys

from synthdrive.errors import ParameterError

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
    os.execv(sys.executable, [*launcher, *sys.argv])
