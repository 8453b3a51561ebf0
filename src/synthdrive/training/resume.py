"""State that a killed run continues from, written at epoch boundaries and kept until the run's result is used."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from synthdrive.core.artifacts import atomic_directory, read_json, write_json
from synthdrive.core.errors import InputError, lack
from synthdrive.core.run_folder import RunFolder
from synthdrive.training.checkpoints import load_tensors, save_tensors

KEPT = 2  # states; the older one is there for the case that the newer is damaged

_IN_WORDS = {  # parts of an identity whose values say nothing to a reader
    "stage_code": "other code",
    "parameters_sha256": "other parameters",
    "inputs": "other data",
    "packages": "other packages",
}


@dataclass(frozen=True)
class EpochState:
    """All that the rest of a run follows from.

    Attributes:
        epochs: epochs done.
        model, optimiser: tensors by name.
        history: plain values that end up in curve and metadata.
        seen: what the network made of the examples on which it is watched, a row for the start and one for each epoch.
    """

    epochs: int
    model: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    history: dict[str, Any]
    seen: dict[str, Tensor] = field(default_factory=dict)


class ResumeFolder(RunFolder):
    """The folder of a training run, with the state after each epoch."""

    def save(self, state: EpochState) -> None:
        """Write the state after an epoch, then drop the oldest ones."""
        with atomic_directory(self.path / f"epoch-{state.epochs:04d}") as partial:
            save_tensors(partial / "model.safetensors", state.model)
            save_tensors(partial / "optimiser.safetensors", state.optimiser)
            save_tensors(partial / "seen.safetensors", state.seen)
            content = {"epochs": state.epochs, "history": state.history, "identity": self.identity}
            write_json(partial / "state.json", content)
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
                    seen=load_tensors(path / "seen.safetensors"),
                )
            except (InputError, KeyError, TypeError, ValueError) as error:
                if lack(error):  # the state may be whole: do not train again what it holds
                    raise
                print(f"warning: damaged resume state passed over: {error}", file=sys.stderr)
        return None

    def unlike_superseded(self) -> str | None:
        """What keeps this run from taking up the last superseded run of its name, in words; None without such a run."""
        for path in (state for folder in self._superseded() for state in sorted(folder.glob("epoch-*"), reverse=True)):
            try:
                then = dict(read_json(path / "state.json")["identity"])
            except (InputError, KeyError, TypeError, ValueError):
                continue
            differing = [key for key, now in self.identity.items() if then.get(key) != now]
            words = [_IN_WORDS.get(key) or f"{key} {then.get(key)} (now {self.identity[key]})" for key in differing]
            return f"the state in {path.parent} was made with {', '.join(words)}"
        return None

    def _states(self) -> list[Path]:
        return sorted(self.path.glob("epoch-*"), reverse=True)


def training_identity(variant: str, record: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """What settles the numbers of a training run: all that a state must agree in to be taken up."""
    return {"variant": variant, **settled(record, training)}


def settled(record: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """What settles the numbers of a run: its provenance record, and how it was divided (`devices.division`)."""
    recorded = ("stage_code", "parameters_sha256", "inputs", "packages", "python", "device", "seed")
    return {key: record.get(key) for key in recorded} | {key: training.get(key) for key in ("processes", "threads")}


def discard_states(root: Path, provenance: Mapping[str, Any]) -> None:
    """Remove the states of the run that made a checkpoint, named by its provenance: its result is safe."""
    if {"stage", "name", "variant", "made_by", "training"} <= provenance.keys():
        identity = training_identity(provenance["variant"], provenance["made_by"], provenance["training"])
        ResumeFolder(root, provenance["stage"], identity, provenance["name"]).discard()
