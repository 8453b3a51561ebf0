"""State that a killed run continues from: one directory per run, written at epoch boundaries, gone on success."""

from __future__ import annotations

import fcntl
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from synthdrive.artifacts import atomic_directory, read_json, write_json
from synthdrive.errors import InputError, SynthDriveError
from synthdrive.run_record import values_hash
from synthdrive.training.checkpoints import load_tensors, save_tensors

KEPT = 2  # states; the older one is there for the case that the newer is damaged


@dataclass(frozen=True)
class EpochState:
    """All that the rest of a run follows from.

    Attributes:
        epochs: epochs done.
        model, optimiser: tensors by name.
        history: plain values that end up in curve and card.
    """

    epochs: int
    model: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    history: dict[str, Any]


class RunDirectory:
    """`<root>/<stage>/<fingerprint>/`: the fingerprint stands for everything that settles the run's numbers.

    Args:
        root: `.run` of the working directory: ignored by git and unknown to DVC, which deletes partial outputs.
        stage: pretrain or finetune.
        identity: plain values: parameters, hashes of data and code, arm, seed, versions, device.
    """

    def __init__(self, root: Path, stage: str, identity: Mapping[str, Any]) -> None:
        self.path = Path(root) / stage / values_hash(identity)[:16]

    @contextmanager
    def held(self, main: bool = True) -> Iterator[None]:
        """Keep other runs out while the block runs.

        Args:
            main: whether this process holds the lock for all of its run.

        Raises:
            SynthDriveError: another run is training the same thing.
        """
        if not main:
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SynthDriveError(
                    f"{self.path}: another process is training this; wait for it or stop it"
                ) from None
            yield

    def save(self, state: EpochState) -> None:
        """Write the state after an epoch, then drop the oldest ones."""
        with atomic_directory(self.path / f"epoch-{state.epochs:04d}") as partial:
            save_tensors(partial / "model.safetensors", state.model)
            save_tensors(partial / "optimiser.safetensors", state.optimiser)
            write_json(partial / "state.json", {"epochs": state.epochs, "history": state.history})
        for old in self._states()[KEPT:]:
            shutil.rmtree(old)

    def load(self) -> EpochState | None:
        """The newest whole state, None when there is none; a damaged one is named and passed over."""
        for path in self._states():
            try:
                content = read_json(path / "state.json")
                return EpochState(
                    epochs=int(content["epochs"]),
                    model=load_tensors(path / "model.safetensors"),
                    optimiser=load_tensors(path / "optimiser.safetensors"),
                    history=dict(content["history"]),
                )
            except (InputError, KeyError, TypeError, ValueError) as error:
                print(f"warning: damaged resume state passed over: {error}", file=sys.stderr)
        return None

    def clear(self) -> None:
        """Remove the directory, after success."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _states(self) -> list[Path]:
        return sorted(self.path.glob("epoch-*"), reverse=True)
