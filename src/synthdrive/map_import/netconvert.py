"""SUMO's netconvert, which the eclipse-sumo wheel brings."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from synthdrive.core.errors import InputError, from_extra

VEHICLE_CLASS = "passenger"  # the vehicle class that all traffic has, and whose lanes make the map
LEAST_SPACE = 1 << 20  # bytes; with less, what a program has written cannot be relied on
LONGEST_RUN = 1800.0  # s; the streets of a large city take a few minutes

# Ends the program with this process, where the kernel kills that; without util-linux it runs to its own end.
TIED = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def sumo_home() -> Path:
    """Folder of SUMO's programs and data."""
    with from_extra("maps"):
        import sumo
    return Path(sumo.SUMO_HOME)


def netconvert(folder: Path, where: object, arguments: Sequence[str | Path]) -> None:
    """Run netconvert; coordinates are kept as they are.

    Args:
        folder: where it writes.
        where: the network, for messages.
        arguments: its options.

    Raises:
        InputError: netconvert refuses the network, or works on it for more than half an hour.
        OSError: the disk is full.
    """
    home = sumo_home()
    command = [*TIED, home / "bin" / "netconvert", *arguments]
    command += ["--offset.disable-normalization", "true", "--precision", "4"]
    environment = {**os.environ, "SUMO_HOME": str(home)}
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            env=environment,
            timeout=LONGEST_RUN,
        )
    except subprocess.TimeoutExpired:
        found = f"a network that netconvert works on for more than {LONGEST_RUN:g} s"
        raise InputError(where, found, "a network that it can redraw", "Cut the map into smaller parts.") from None
    check_space(folder)
    if run.returncode:
        lines = [line for line in run.stderr.splitlines() if line.startswith("Error")] or run.stderr.splitlines()[-1:]
        raise InputError(where, f"netconvert stopped: {' '.join(lines)[:1000]}", "a network that netconvert can redraw")


def check_space(folder: Path) -> None:
    """Raise OSError where the disk is full: netconvert then writes half a file and says that all is well."""
    if shutil.disk_usage(folder).free < LEAST_SPACE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
