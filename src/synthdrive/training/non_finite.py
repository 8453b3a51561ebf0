"""A loss that is not a number stops the run, and leaves behind what led to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from synthdrive.artifacts import write_json
from synthdrive.errors import SynthDriveError
from synthdrive.training.checkpoints import save_tensors
from synthdrive.training.data import Part, SceneBatches


class NonFiniteLossError(SynthDriveError):
    """The loss or its gradient is infinite or not a number."""


def report_non_finite(
    directory: Path, batches: SceneBatches, parts: Sequence[Part], epoch: int, loss: float, norm: float, device: int
) -> None:
    """Save the step's batch, part by part, and raise.

    Writes `device<d>-part<n>.safetensors` (the batch's tensors) and `device<d>.json` (scenes, seeds, step).

    Raises:
        NonFiniteLossError: always.
    """
    for number, part in enumerate(parts):
        save_tensors(directory / f"device{device}-part{number}.safetensors", batch_tensors(batches.collate(part)))
    scenes = [int(index) for part in parts for index in part.indices]
    description = {
        "epoch": epoch,
        "step": parts[0].step,
        "loss": repr(loss),
        "gradient_norm": repr(norm),
        "scenes": scenes,
        "scene_ids": [batches.store.scene_ids[index] for index in scenes],
        "sample_seeds": [int(seed) for part in parts for seed in part.sample_seeds],
    }
    write_json(directory / f"device{device}.json", description)
    raise NonFiniteLossError(
        f"loss {loss}, gradient norm {norm} at epoch {epoch + 1}, step {parts[0].step + 1}: stopped; its batch is in "
        f"{directory}. A lower learning_rate, warmup_epochs or clip_gradient may help"
    )


def batch_tensors(batch: Any) -> dict[str, Tensor]:
    """The tensors of a batch (a dataclass of tensors) by name."""
    return {item.name: value for item in fields(batch) if isinstance(value := getattr(batch, item.name), Tensor)}
