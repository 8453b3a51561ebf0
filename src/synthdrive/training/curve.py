"""The training curve: means over short intervals, summed on the device so that it need not wait."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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
