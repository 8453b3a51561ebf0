"""Checkpoints, and the resume states from which an interrupted run continues.

A checkpoint consists of a network's tensors (safetensors), metadata and the training curve. Resume states are written
after every epoch and kept until the run's checkpoint is used.
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
RECONSTRUCTIONS = "reconstructions.safetensors"  # a few windows, reconstructed in masked pre-training
RECONSTRUCTION = "reconstruction.json"  # losses on held-out windows, of the network and of simple predictors

LEADING_COLUMNS = ("epoch", "step", "learning_rate", "loss")

KEPT_STATES = 2  # the older one is a backup, in case the newer one is damaged

_REASONS = {  # words for entries of an identity that are hashes
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
    """Write a checkpoint folder atomically; `others` are further files of tensors, `documents` further JSON files."""
    with atomic_directory(directory) as partial:
        save_tensors(partial / MODEL, model.state_dict())
        for name, tensors in (others or {}).items():
            save_tensors(partial / name, tensors)
        for name, values in (documents or {}).items():
            write_json(partial / name, values)
        write_metadata(partial / METADATA, metadata)
        write_curve(partial / CURVE, curve)


def load_model_state(directory: Path) -> dict[str, Tensor]:
    """Read a checkpoint's tensors onto the CPU; raise InputError if the file is missing or damaged."""
    return load_tensors(Path(directory) / MODEL)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as safetensors, atomically."""
    with atomic_file(path) as partial:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial)
        partial.chmod(0o644)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors onto the CPU; raise InputError if the file is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(path, "no such file", "the tensors of a trained model") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(path, f"unreadable safetensors ({error})", "a complete safetensors file") from None


def load_exactly(model: nn.Module, state: Mapping[str, Tensor], where: object) -> None:
    """Load tensors into a model; raise InputError unless names, types and shapes are its own and all values finite."""
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unknown:
        found = f"{len(missing)} tensors missing {missing[:3]}, {len(unknown)} unknown {unknown[:3]}"
        raise InputError(where, found, "the tensors of this model")
    for name, tensor in own.items():
        check_tensor(state[name], tensor, f"{where}: {name}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])


def check_tensor(found: Tensor, own: Tensor, where: str) -> None:
    """Raise InputError unless a tensor has type and shape of the model's `own` and contains only finite values."""
    if found.shape != own.shape or found.dtype != own.dtype:
        raise InputError(
            where, f"{found.dtype} of shape {tuple(found.shape)}", f"{own.dtype} of shape {tuple(own.shape)}"
        )
    check_finite(found, where)


def check_finite(tensor: Tensor, where: str) -> None:
    """Raise InputError if a tensor contains infinity or NaN."""
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(where, "infinity or NaN", "finite values")


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Write the metadata of a checkpoint."""
    write_json(path, dict(metadata))


def load_metadata(directory: Path) -> dict[str, Any]:
    """Read the metadata of a checkpoint folder; raise InputError if they are missing or incomplete."""
    path = Path(directory) / METADATA
    metadata = read_json(path)
    if not isinstance(metadata, dict) or not {"stage", "variant", "seed"} <= metadata.keys():
        raise InputError(path, "no stage, variant and seed", "the metadata of a checkpoint")
    return metadata


def entry_of(metadata: Mapping[str, Any], key: str, where: object, kind: type = object) -> Any:
    """Return an entry of metadata.

    Args:
        metadata: metadata of a checkpoint.
        key: its key, dotted if it is nested.
        where: the checkpoint, for messages.
        kind: type of the entry.

    Raises:
        InputError: there is no such entry, or it has another type.
    """
    found: Any = metadata
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if found is None or not isinstance(found, kind):
        raise InputError(f"{where}: {key}", repr(found)[:100], "the metadata that training writes")
    return found


def write_curve(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the training curve as CSV: one row per interval, LEADING_COLUMNS first."""
    names = {key for row in rows for key in row}
    columns = [name for name in LEADING_COLUMNS if name in names] + sorted(names - set(LEADING_COLUMNS))
    with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.8g}" for key, value in row.items()})


def load_forecaster(directory: Path) -> tuple[DenseTNT, dict[str, Any]]:
    """Read a fine-tuned network, in evaluation mode on the CPU, and its metadata.

    Raises:
        InputError: metadata or tensors are missing or damaged, do not match, or are not finite; names the key
            or tensor.
    """
    metadata = load_metadata(directory)
    if metadata["stage"] != "finetune":
        raise InputError(f"{directory}: stage", repr(metadata["stage"]), "'finetune'")
    timing = read_timing(metadata.get("timing"), f"{directory}: timing")
    network = DenseTNT(from_values(ModelParameters, metadata.get("model"), f"{directory}: model"), timing)
    load_exactly(network, load_model_state(directory), directory)
    return network.eval(), metadata


@dataclass(frozen=True)
class EpochState:
    """State of a run after an epoch, from which the rest of the run follows.

    Attributes:
        epochs: number of epochs done.
        model, optimiser: tensors by name.
        history: plain values for the training curve and metadata, see `loop.History`.
        seen: outputs for the watched examples, with a row for the start and one for each epoch.
    """

    epochs: int
    model: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    history: dict[str, Any]
    seen: dict[str, Tensor] = field(default_factory=dict)


class ResumeFolder(RunFolder):
    """Folder of a training run's resume states, one for each of the last epochs."""

    def save(self, state: EpochState) -> None:
        """Write the state after an epoch, and remove the oldest ones."""
        with atomic_directory(self.path / f"epoch-{state.epochs:04d}") as partial:
            save_tensors(partial / "model.safetensors", state.model)
            save_tensors(partial / "optimiser.safetensors", state.optimiser)
            save_tensors(partial / "seen.safetensors", state.seen)
            content = {"epochs": state.epochs, "history": state.history, "identity": self.identity}
            write_json(partial / "state.json", content)
        for old in self._states()[KEPT_STATES:]:
            shutil.rmtree(old)

    def load(self) -> EpochState | None:
        """Return the newest undamaged state, or None if there is none; print a warning about a damaged one."""
        for path in self._states():
            try:
                content = read_json(path / "state.json")
                state = EpochState(
                    epochs=int(content["epochs"]),
                    model=load_tensors(path / "model.safetensors"),
                    optimiser=load_tensors(path / "optimiser.safetensors"),
                    history=dict(content["history"]),
                    seen=load_tensors(path / "seen.safetensors"),
                )
                for kind, tensors in (("model", state.model), ("optimiser", state.optimiser)):
                    for name, tensor in tensors.items():
                        check_finite(tensor, f"{path / kind}.safetensors: {name}")
                return state
            except (InputError, KeyError, TypeError, ValueError) as error:
                if lack(error):  # the state may be undamaged, and its epochs must not be trained again
                    raise
                print(f"warning: skipped a damaged resume state: {error}", file=sys.stderr)
        return None

    def why_not_resumed(self) -> str | None:
        """Return why this run cannot resume the last state of another run of its name; None if there is none."""
        for path in (state for folder in self._superseded() for state in sorted(folder.glob("epoch-*"), reverse=True)):
            try:
                then = dict(read_json(path / "state.json")["identity"])
            except (InputError, KeyError, TypeError, ValueError):
                continue
            differing = [key for key, now in self.identity.items() if then.get(key) != now]
            words = [_REASONS.get(key) or f"{key} {then.get(key)} (now {self.identity[key]})" for key in differing]
            return f"the state in {path.parent} was made with {', '.join(words)}"
        return None

    def _states(self) -> list[Path]:
        return sorted(self.path.glob("epoch-*"), reverse=True)


def training_identity(variant: str, record: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that determines the result of a training run; a state with the same identity can be resumed."""
    return {"variant": variant, **run_identity(record, training)}


def run_identity(record: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """Return what determines the result of a run, from its provenance record and `devices.division`."""
    recorded = ("stage_code", "parameters_sha256", "inputs", "packages", "python", "device", "seed")
    return {key: record.get(key) for key in recorded} | {key: training.get(key) for key in ("processes", "threads")}


def discard_states(root: Path, provenance: Mapping[str, Any]) -> None:
    """Remove the resume states of the run with this provenance record, whose checkpoint is in use."""
    if {"stage", "name", "variant", "made_by", "training"} <= provenance.keys():
        identity = training_identity(provenance["variant"], provenance["made_by"], provenance["training"])
        ResumeFolder(root, provenance["stage"], identity, provenance["name"]).discard()
