"""Checkpoints: tensors as safetensors, metadata that say what they are, and the network that forecasts with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from synthdrive.config.training import ModelParameters
from synthdrive.core.artifacts import atomic_directory, atomic_file, write_json
from synthdrive.core.errors import InputError
from synthdrive.core.schema import from_values
from synthdrive.core.timing import read_timing
from synthdrive.models.densetnt import DenseTNT
from synthdrive.training.metadata import CURVE, METADATA, MODEL, load_metadata, write_curve, write_metadata


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
