"""Monitoring of training: its curve, watched examples, and losses that are not finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from synthdrive.core.artifacts import write_json
from synthdrive.core.errors import SynthDriveError
from synthdrive.training.checkpoints import save_tensors
from synthdrive.training.data import Part, SceneBatches

ROWS_PER_EPOCH = 20


class Curve:
    """Training curve: rows with epoch (a fraction), step, learning rate, and means of figures since the last row.

    Args:
        rows: rows of earlier epochs, to which new ones are appended.
    """

    def __init__(self, rows: Sequence[dict[str, float]] = ()) -> None:
        self.rows = [dict(row) for row in rows]
        self._names: list[str] = []
        self._sum: Tensor | None = None
        self._steps = 0

    def add(self, names: Sequence[str], values: Tensor) -> None:
        """Add the figures of a step: values (N,) with their names."""
        self._names, self._steps = list(names), self._steps + 1
        self._sum = values.clone() if self._sum is None else self._sum + values

    def close_row(self, epoch: float, step: int, learning_rate: float) -> dict[str, float]:
        """Append a row for the steps since the last one, up to `step`, counted from 1, and return it."""
        assert self._sum is not None, "no step since the last row"
        means = (self._sum / self._steps).tolist()
        named = dict(zip(self._names, means, strict=True))
        self.rows.append({"epoch": epoch, "step": float(step), "learning_rate": learning_rate, **named})
        self._sum, self._steps = None, 0
        return self.rows[-1]

    def epoch_means(self, epoch: int) -> dict[str, float]:
        """Return the means over an epoch, counted from 1; each row is weighted by its number of steps."""
        rows = [row for row in self.rows if epoch - 1 < row["epoch"] <= epoch]
        before = max((row["step"] for row in self.rows if row["epoch"] <= epoch - 1), default=0.0)
        steps = torch.tensor([row["step"] for row in rows], dtype=torch.float64)
        weights = torch.diff(steps, prepend=torch.tensor([before], dtype=torch.float64))
        names = [name for name in rows[-1] if name not in ("epoch", "step", "learning_rate")] if rows else []
        table = torch.tensor([[row[name] for name in names] for row in rows], dtype=torch.float64)
        means = (weights[:, None] * table).sum(0) / weights.sum() if names else torch.zeros(0)
        return dict(zip(names, means.tolist(), strict=True))


class Watched(Protocol):
    """Fixed examples on which a model is evaluated during training, without drawing from torch's random numbers.

    Attributes:
        file: name of the file in the checkpoint that stores the outputs.
    """

    file: str

    def look(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the model's outputs for the examples, always with the same names and shapes."""
        ...

    def fixed(self, model: nn.Module) -> dict[str, Tensor]:
        """Return tensors that do not depend on the training, to store with the outputs."""
        ...


@torch.no_grad()
def look_again(watched: Watched, model: nn.Module, before: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Append the model's present outputs for the watched examples to those `before`, (N, ...) each."""
    training = model.training
    model.eval()
    seen = {name: value[None].cpu() for name, value in watched.look(model).items()}
    model.train(training)
    return {name: torch.cat([before[name], value]) if before else value for name, value in seen.items()}


class NonFiniteLossError(SynthDriveError):
    """Error for a loss or gradient that is infinite or NaN."""


def report_non_finite(
    directory: Path, batches: SceneBatches, parts: Sequence[Part], epoch: int, loss: float, norm: float, device: int
) -> None:
    """Save the batch of a step, part by part, and raise NonFiniteLossError.

    The files are `device<d>-part<n>.safetensors` (tensors of the batch) and `device<d>.json` (scenes, seeds, step).

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
        f"{directory}. A lower learning_rate, or warmup_epochs or max_grad_norm, may help"
    )


def batch_tensors(batch: Any) -> dict[str, Tensor]:
    """Return the tensors of a batch (a dataclass) by name."""
    return {item.name: value for item in fields(batch) if isinstance(value := getattr(batch, item.name), Tensor)}
