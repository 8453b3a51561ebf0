"""Where an interrupted run goes on from: a folder for each run, held by one process at a time."""

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

KEPT_SUPERSEDED = 2  # runs of the same name with other parameters, data or code that can still be taken up


class RunFolder:
    """`<root>/<stage>/<name>-<fingerprint>/`: the fingerprint stands for everything that settles the run's numbers.

    A folder is removed by `clear`, once its run's result is safe. Of runs that were left unfinished and superseded by
    others of the same name, the last few stay.

    Args:
        root: `.run` of the working directory: ignored by git and unknown to DVC, which deletes partial outputs.
        stage: pretrain, finetune or evaluate.
        identity: plain values: parameters, hashes of data and code, variant, seed, versions, device.
        name: of the run.
    """

    def __init__(self, root: Path, stage: str, identity: Mapping[str, Any], name: str = "run") -> None:
        self.name, self.identity = name, plain_values(identity)
        self.path = Path(root) / stage / f"{name}-{values_hash(identity)[:16]}"

    @contextmanager
    def held(self, main: bool = True) -> Iterator[None]:
        """Keep other processes out while the block runs.

        Args:
            main: whether this process holds the lock for all of its run.

        Raises:
            SynthDriveError: another process is at the same run.
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
        """Remove the folder; it must be held."""
        shutil.rmtree(self.path, ignore_errors=True)

    def discard(self) -> None:
        """Remove the folder where it is, unless a process holds it."""
        if self.path.is_dir():
            _remove(self.path)

    def _superseded(self) -> list[Path]:
        """Other runs' folders of this name, the last used first."""
        pattern = re.compile(re.escape(self.name) + "-[0-9a-f]{16}")
        beside = self.path.parent.iterdir() if self.path.parent.is_dir() else ()
        others = [path for path in beside if pattern.fullmatch(path.name) and path != self.path]
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
                    f"{folder}: another process is at this run; wait until it has ended, or stop it"
                ) from None
        yield
