"""What training writes: checkpoints, and the states that a killed run continues from.

A checkpoint is a network's tensors as safetensors, with metadata that say what they are and the curve of its training.
States are written at epoch boundaries and kept until the run's result is used.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from synthdrive.config.training import ModelParameters
from synthdrive.core.artifacts import atomic_directory, atomic_file, read_json, write_json
from synthdrive.core.errors import InputError, lack
from synthdrive.core.run_folder import RunFolder
from synthdrive.core.schema import from_values
from synthdrive.core.timing import read_timing
from synthdrive.models.densetnt import DenseTNT

MODEL, METADATA, CURVE = "model.safetensors", "metadata.json", "curve.csv"
RECONSTRUCTIONS = "reconstructions.safetensors"  # of masked pre-training, a few windows
RECONSTRUCTION = "reconstruction.json"  # its losses on held-back windows, beside their floors

LEADING = ("epoch", "step", "learning_rate", "loss")

KEPT = 2  # states; the older one is there for the case that the newer is damaged

_IN_WORDS = {  # parts of an identity whose values say nothing to a reader
    "stage_code": "other code",
    "parameters_sha256": "other parameters",
    "inputs": "other data",
    "packages": "other packages",
}


def save_checkpoint(
    directory: Path,
    model: nn.Module,
    metadata: Mapping[str, Any],
    curve: Sequence[Mapping[str, float]],
    others: Mapping[str, Mapping[str, Tensor]] | None = None,
    documents: Mapping[str, Any] | None = None,
) -> None:
    """Write model, card, curve, and by file the tensors of `others` and the values of `documents`, all or nothing."""
    with atomic_directory(directory) as partial:
        save_tensors(partial / MODEL, model.state_dict())
        for name, tensors in (others or {}).items():
            save_tensors(partial / name, tensors)
        for name, values in (documents or {}).items():
            write_json(partial / name, values)
        write_metadata(partial / METADATA, metadata)
        write_curve(partial / CURVE, curve)


def load_model_state(directory: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU; raises InputError when there are none or the file is damaged."""
    return load_tensors(Path(directory) / MODEL)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as safetensors, atomically."""
    with atomic_file(path) as partial:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial)
        partial.chmod(0o644)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors onto the CPU; raises InputError when the file is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(path, "no such file", "the tensors of a trained model") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(path, f"unreadable safetensors ({error})", "a whole safetensors file") from None


def load_exactly(model: nn.Module, state: Mapping[str, Tensor], where: object) -> None:
    """Load tensors into a model; raises InputError unless names and shapes are exactly the model's."""
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unknown:
        found = f"{len(missing)} tensors missing {missing[:3]}, {len(unknown)} unknown {unknown[:3]}"
        raise InputError(where, found, "the tensors of this model")
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            raise InputError(f"{where}: {name}", f"shape {tuple(state[name].shape)}", f"shape {tuple(tensor.shape)}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Write what a checkpoint is."""
    write_json(path, dict(metadata))


def load_metadata(directory: Path) -> dict[str, Any]:
    """The metadata of a checkpoint directory; raises InputError when they are missing or incomplete."""
    path = Path(directory) / METADATA
    metadata = read_json(path)
    if not isinstance(metadata, dict) or not {"stage", "variant", "seed"} <= metadata.keys():
        raise InputError(path, "no stage, variant and seed in it", "the metadata of a checkpoint")
    return metadata


def write_curve(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the training curve as CSV: a row per interval, LEADING columns first."""
    names = {key for row in rows for key in row}
    columns = [name for name in LEADING if name in names] + sorted(names - set(LEADING))
    with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.8g}" for key, value in row.items()})


def load_forecaster(directory: Path) -> tuple[DenseTNT, dict[str, Any]]:
    """A fine-tuned network, ready to forecast on the CPU, and its metadata.

    Raises:
        InputError: metadata or tensors are missing, damaged, or do not fit together.
    """
    metadata = load_metadata(directory)
    if metadata["stage"] != "finetune":
        raise InputError(f"{directory}: stage", repr(metadata["stage"]), "'finetune'")
    timing = read_timing(metadata.get("timing"), f"{directory}: timing")
    network = DenseTNT(from_values(ModelParameters, metadata["model"], f"{directory}: model"), timing)
    load_exactly(network, load_model_state(directory), directory)
    return network.eval(), metadata


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
