"""The learning rate as a pure function of the optimiser step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from synthdrive.parameters.optimisation import OptimisationParameters


def learning_rate(step: int, steps_per_epoch: int, parameters: OptimisationParameters) -> float:
    """Learning rate of optimiser step `step`, counted from 0.

    The paper's two schedules are "constant" (pre-training) and "step" (fine-tuning); see docs/method.md 4.4 and 5.
    """
    warmup = parameters.warmup_epochs * steps_per_epoch
    rate = parameters.learning_rate * min(1.0, (step + 1) / warmup) if warmup > 0 else parameters.learning_rate
    if parameters.schedule == "step":
        epoch = step // steps_per_epoch
        return rate * parameters.decay ** sum(epoch >= milestone for milestone in parameters.milestones)
    if parameters.schedule == "cosine":
        total = parameters.epochs * steps_per_epoch
        progress = min(1.0, max(0.0, (step - warmup) / max(1.0, total - warmup)))
        return rate * (parameters.final_factor + (1 - parameters.final_factor) * (1 + math.cos(math.pi * progress)) / 2)
    return rate
