"""Running of DVC commands, with retries while another DVC process holds the repository's lock."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from synthdrive.core.errors import SynthDriveError

TRIES, PAUSE = 20, 2.0  # s; DVC itself gives up if another process holds the lock for three seconds
_LOCKED = "Unable to acquire lock"


def dvc(*arguments: str, repository: Path | None = None, captured: bool = False) -> str:
    """Run a DVC command.

    Args:
        arguments: arguments of the command line.
        repository: folder to run it in; by default the working directory.
        captured: whether to return the output instead of showing it.

    Returns:
        The standard output if `captured`, else an empty string.

    Raises:
        SynthDriveError: the command failed; if `captured`, the message has its output.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    for _ in range(TRIES):
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            errors = []
            with subprocess.Popen(
                command,
                cwd=repository,
                stdout=output if captured else None,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            ) as process:
                for line in process.stderr or ():
                    errors.append(line)
                    if not captured and _LOCKED not in line:
                        sys.stderr.write(line)
            output.seek(0)
            printed = output.read()
        if process.returncode == 0:
            return printed
        if not any(_LOCKED in line for line in errors):
            break
        time.sleep(PAUSE)
    reason = f"{printed}{''.join(errors)}".strip() if captured else "the reason is printed above"
    raise SynthDriveError(f"dvc {' '.join(arguments)}: exit status {process.returncode}; {reason}")
