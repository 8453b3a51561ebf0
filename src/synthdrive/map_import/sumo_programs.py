"""Run the programs of the eclipse-sumo wheel, and report why one has stopped."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from synthdrive.core.errors import InputError, SynthDriveError, from_extra

VEHICLE_CLASS = "passenger"  # the vehicle class of all traffic; the map consists of its lanes
LEAST_SPACE = 1 << 20  # bytes of free disk; with less, the output of a program may be incomplete
LONGEST_RUN = 1800.0  # s; the streets of a large city take a few minutes
NO_MEMORY = ("bad_alloc", "out of memory", "cannot allocate memory", "failed to map segment")  # last: of a library
UNKNOWN_ERROR = "unknown error"  # the only message of SUMO's programs for an exception that they do not expect

# The kernel ends the program when this process is killed; without util-linux, it runs to its end.
TIED = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def sumo_home() -> Path:
    """Return the folder of SUMO's programs and data."""
    with from_extra("maps"):
        import sumo
    return Path(sumo.SUMO_HOME)


class Programs:
    """Programs that run in the threads of one recording; `stop` ends them and prevents new ones."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = Lock()
        self._stopped = False

    def run(self, command: Sequence[str | Path], timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program in the environment of SUMO to its end, as `subprocess.run` does, and capture its output.

        Args:
            timeout: seconds after which the program is killed.

        Raises:
            SynthDriveError: the recording has been stopped.
            subprocess.TimeoutExpired: the program was still running after `timeout`.
        """
        with self._lock:
            if self._stopped:
                raise SynthDriveError(f"{Path(command[0]).name}: the recording has been stopped")
            program = subprocess.Popen(
                [*TIED, *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, "SUMO_HOME": str(sumo_home())},
            )
            self._running.add(program)
        try:
            output, errors = program.communicate(timeout=timeout)
        finally:
            program.kill()
            program.wait()
            self._running.discard(program)
        return subprocess.CompletedProcess(command, program.returncode, output, errors)

    def stop(self) -> None:
        """End the running programs and prevent new ones."""
        with self._lock:
            self._stopped = True
            for program in list(self._running):
                program.kill()


def netconvert(folder: Path, where: object, arguments: Sequence[str | Path]) -> None:
    """Run netconvert without shifting coordinates.

    Args:
        folder: folder to which netconvert writes.
        where: name of the network, for messages.
        arguments: options of netconvert.

    Raises:
        InputError: netconvert refuses the network, or takes more than half an hour.
        MemoryError: netconvert ran out of memory.
        OSError: the disk is full.
    """
    command = [sumo_home() / "bin" / "netconvert", *arguments]
    command += ["--offset.disable-normalization", "true", "--precision", "4"]
    try:
        ended = Programs().run(command, LONGEST_RUN)
    except subprocess.TimeoutExpired:
        found = f"a network that netconvert works on for more than {LONGEST_RUN:g} s"
        raise InputError(where, found, "a network that it can redraw", "Cut the map into smaller parts.") from None
    check_end(ended, folder, where, "a network that netconvert can redraw")


def check_end(ended: subprocess.CompletedProcess[str], folder: Path, where: object, expected: str) -> None:
    """Raise an error if a program of SUMO failed.

    Args:
        ended: the program that has ended.
        folder: folder to which it wrote.
        where: name of its input, for messages.
        expected: description of a valid input, for messages.

    Raises:
        InputError: the program refuses its input.
        MemoryError: the program ran out of memory.
        OSError: the disk is full.
    """
    check_space(folder)
    if not ended.returncode:
        return
    name, lines = Path(ended.args[0]).name, ended.stderr.splitlines()
    said = " ".join([line for line in lines if line.startswith("Error")] or lines[-1:])[:1000]
    by_signal = f"killed by {signal.Signals(-ended.returncode).name}" if ended.returncode < 0 else ""
    reason = said or by_signal or f"exit status {ended.returncode}"
    if _out_of_memory(ended):
        raise MemoryError(f"{name} stopped while it worked on {where}: {reason}; free some memory or raise the limit")
    raise InputError(where, f"{name} stopped: {reason}", expected)


def _out_of_memory(ended: subprocess.CompletedProcess[str]) -> bool:
    """Return whether a program ran out of memory: its output says so, or the kernel killed it.

    SUMO's programs do not handle a failed allocation: they crash or report an unknown error. Allocations fail only
    under a memory limit, so without one a crash has another cause.
    """
    said = ended.stderr.lower()
    if ended.returncode == -signal.SIGKILL or any(words in said for words in NO_MEMORY):
        return True
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    limited = any(limit != resource.RLIM_INFINITY for limit in limits)
    return limited and (ended.returncode < 0 or UNKNOWN_ERROR in said)


def check_space(folder: Path) -> None:
    """Raise OSError if the disk is full: netconvert would write half a file and report success."""
    if shutil.disk_usage(folder).free < LEAST_SPACE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
