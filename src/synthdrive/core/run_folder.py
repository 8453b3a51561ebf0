"""The folder from which an interrupted run resumes; one process at a time may use it."""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from synthdrive.core.artifacts import NO_LOCKS
from synthdrive.core.errors import SynthDriveError
from synthdrive.core.provenance import plain_values, values_hash

KEPT_SUPERSEDED = 2  # unfinished runs of the same name, but with other parameters, data or code, that are kept


class RunFolder:
    """The folder `<root>/<stage>/<name>-<fingerprint>/`, with a fingerprint of everything that the results depend on.

    `clear` removes the folder once the run's result is stored. Of unfinished runs with the same name and another
    fingerprint, the KEPT_SUPERSEDED most recent are kept.

    Args:
        root: `.run` in the working directory, which git and DVC ignore; DVC would delete partial outputs.
        stage: pretrain, finetune or evaluate.
        identity: what the results depend on, as plain values: parameters, hashes of data and code, variant, seed,
            versions, device.
        name: name of the run.
    """

    def __init__(self, root: Path, stage: str, identity: Mapping[str, Any], name: str = "run") -> None:
        self.name, self.identity = name, plain_values(identity)
        self.path = Path(root) / stage / f"{name}-{values_hash(identity)[:16]}"

    @contextmanager
    def held(self, main: bool = True) -> Iterator[None]:
        """Lock the folder while the block runs.

        Args:
            main: whether this is the main process of its run; the others take no lock.

        Raises:
            SynthDriveError: another process is working on the same run.
        """
        if not main:
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with _locked(self.path):
            for old in self._superseded()[KEPT_SUPERSEDED:]:
                _remove(old)
            yield

    def clear(self) -> None:
        """Remove the folder, which this process must hold."""
        shutil.rmtree(self.path, ignore_errors=True)

    def discard(self) -> None:
        """Remove the folder if it exists, unless a process holds it."""
        if self.path.is_dir():
            _remove(self.path)

    def _superseded(self) -> list[Path]:
        """Return the folders of other runs with this name, the most recent first."""
        pattern = re.compile(re.escape(self.name) + "-[0-9a-f]{16}")
        siblings = self.path.parent.iterdir() if self.path.parent.is_dir() else ()
        others = [path for path in siblings if pattern.fullmatch(path.name) and path != self.path]
        return sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)


def _remove(folder: Path) -> None:
    with suppress(SynthDriveError), _locked(folder):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise SynthDriveError(
                    f"{folder}: another process is working on this run; wait until it has ended, or stop it"
                ) from None
        yield
