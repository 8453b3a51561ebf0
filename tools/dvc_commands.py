"""The one way in which the tools start DVC: as a command in a repository, again where another DVC holds its lock."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from synthdrive.core.errors import SynthDriveError

TRIES, PAUSE = 20, 2.0  # s; DVC gives up where another of its processes holds the lock for three seconds
_LOCKED = "Unable to acquire lock"


def dvc(*arguments: str, repository: Path | None = None, captured: bool = False) -> str:
    """Run a DVC command.

    Args:
        arguments: as on the command line.
        repository: where; the working directory without one.
        captured: return what it prints and stay silent; otherwise it is shown as it comes, and nothing is returned.

    Raises:
        SynthDriveError: it failed; where it was captured, with all that it printed.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    for _ in range(TRIES):
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            said = []
            with subprocess.Popen(
                command,
                cwd=repository,
                stdout=output if captured else None,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            ) as process:
                for line in process.stderr or ():
                    said.append(line)
                    if not captured and _LOCKED not in line:
                        sys.stderr.write(line)
            output.seek(0)
            printed = output.read()
        if process.returncode == 0:
            return printed
        if not any(_LOCKED in line for line in said):
            break
        time.sleep(PAUSE)
    what = f"{printed}{''.join(said)}".strip() if captured else "what went wrong is printed above"
    raise SynthDriveError(f"dvc {' '.join(arguments)}: exit status {process.returncode}; {what}")
