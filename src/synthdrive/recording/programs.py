"""Programs of the eclipse-sumo wheel, none of which outlives the recording that started it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from synthdrive.core.errors import SynthDriveError
from synthdrive.map_import.netconvert import TIED


class Programs:
    """Programs that run in threads of one recording; `stop` ends them, and lets no more begin."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = Lock()
        self._stopped = False

    def run(
        self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, as `subprocess.run` does, and keep what it says.

        Raises:
            SynthDriveError: the recording has been stopped.
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
                env=environment,
            )
            self._running.add(program)
        try:
            output, errors = program.communicate()
        finally:
            program.kill()
            program.wait()
            self._running.discard(program)
        return subprocess.CompletedProcess(command, program.returncode, output, errors)

    def stop(self) -> None:
        """End what runs."""
        with self._lock:
            self._stopped = True
            for program in list(self._running):
                program.kill()
