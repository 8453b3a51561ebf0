"""What training shows while it runs: its curve, watched examples, and a loss that is not a number."""

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
    """Rows of the curve: epoch (with its fraction), step, learning rate and the means of what was added since.

    Args:
        rows: rows of earlier epochs, to go on from.
    """

    def __init__(self, rows: Sequence[dict[str, float]] = ()) -> None:
        self.rows = [dict(row) for row in rows]
        self._names: list[str] = []
        self._sum: Tensor | None = None
        self._steps = 0

    def add(self, names: Sequence[str], values: Tensor) -> None:
        """Add one step's figures: (N,) values with their names."""
        self._names, self._steps = list(names), self._steps + 1
        self._sum = values.clone() if self._sum is None else self._sum + values

    def close_row(self, epoch: float, step: int, learning_rate: float) -> None:
        """End an interval after optimiser step `step`, counted from 1."""
        if self._sum is None:
            return
        means = (self._sum / self._steps).tolist()
        named = dict(zip(self._names, means, strict=True))
        self.rows.append({"epoch": epoch, "step": float(step), "learning_rate": learning_rate, **named})
        self._sum, self._steps = None, 0

    def epoch_means(self, epoch: int) -> dict[str, float]:
        """Means over epoch number `epoch`, counted from 1, weighted by the steps of each row."""
        rows = [row for row in self.rows if epoch - 1 < row["epoch"] <= epoch]
        before = max((row["step"] for row in self.rows if row["epoch"] <= epoch - 1), default=0.0)
        steps = torch.tensor([row["step"] for row in rows], dtype=torch.float64)
        weights = torch.diff(steps, prepend=torch.tensor([before], dtype=torch.float64))
        names = [name for name in rows[-1] if name not in ("epoch", "step", "learning_rate")] if rows else []
        table = torch.tensor([[row[name] for name in names] for row in rows], dtype=torch.float64)
        means = (weights[:, None] * table).sum(0) / weights.sum() if names else torch.zeros(0)
        return dict(zip(names, means.tolist(), strict=True))


class Watched(Protocol):
    """Fixed examples; nothing about them draws a random number of torch's, so watching changes no result.

    Attributes:
        file: name of what is kept, beside the checkpoint.
    """

    file: str

    def look(self, model: nn.Module) -> dict[str, Tensor]:
        """What the model makes of the examples: always the same names and shapes."""
        ...

    def fixed(self, model: nn.Module) -> dict[str, Tensor]:
        """What does not change in training, to be kept with the looks."""
        ...


@torch.no_grad()
def look_again(watched: Watched, model: nn.Module, before: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What was seen before, (N, ...) each, and behind it what is seen now; the model stays as it is."""
    training = model.training
    model.eval()
    seen = {name: value[None].cpu() for name, value in watched.look(model).items()}
    model.train(training)
    return {name: torch.cat([before[name], value]) if before else value for name, value in seen.items()}


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
        f"{directory}. A lower learning_rate, warmup_epochs or max_grad_norm may help"
    )


def batch_tensors(batch: Any) -> dict[str, Tensor]:
    """The tensors of a batch (a dataclass of tensors) by name."""
    return {item.name: value for item in fields(batch) if isinstance(value := getattr(batch, item.name), Tensor)}
