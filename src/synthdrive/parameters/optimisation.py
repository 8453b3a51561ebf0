"""How a model is trained: the part that pre-training and fine-tuning have in common."""

from __future__ import annotations

from dataclasses import dataclass, field

from synthdrive.core.errors import ParameterError

SCHEDULES = ("constant", "step", "cosine")
PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class OptimisationParameters:
    """Adam and its learning rate; the defaults are what both of the paper's stages share (docs/method.md 4.4, 5).

    Attributes:
        epochs: passes over the scenes.
        batch: scenes per optimiser step, over all devices together.
        device_batch: most scenes in one forward pass of one device; a larger share of the batch is accumulated.
        learning_rate: Adam's, before the schedule.
        schedule: constant; step: times `decay` at each of `milestones`; cosine: down to `final_factor` of it.
        milestones: epochs, counted from 0, before which the step schedule decays.
        decay: factor of the step schedule.
        final_factor: where the cosine schedule ends, as a share of `learning_rate`.
        warmup_epochs: linear rise from zero over this many epochs (fractions too), before any schedule.
        clip_gradient: largest norm of the whole gradient; 0 leaves it as it is.
        average_decay: a step, of the exponential moving average of the weights that is the trained model; 0 takes the
            last weights.
        cpu_threads: threads of one run on a CPU; sums, and so the last bits, depend on it, and not on the machine.
        precision: float32; tf32: matrix products at 19 bits on NVIDIA devices; bfloat16: mixed precision.
        compile: compile the model with torch.compile.
    """

    epochs: int = 1
    batch: int = 64
    device_batch: int = 64
    learning_rate: float = 1e-3
    schedule: str = "constant"
    milestones: list[int] = field(default_factory=list)
    decay: float = 0.3
    final_factor: float = 0.0
    warmup_epochs: float = 0.0
    clip_gradient: float = 0.0
    average_decay: float = 0.0
    cpu_threads: int = 1
    precision: str = "float32"
    compile: bool = False

    def validate(self, where: str) -> None:
        """Raise ParameterError for the first impossible value."""
        for key in ("epochs", "batch", "device_batch", "cpu_threads"):
            if getattr(self, key) < 1:
                raise ParameterError(f"{where}.{key}", str(getattr(self, key)), "a whole number from 1")
        if not 0 < self.learning_rate < 1:
            raise ParameterError(f"{where}.learning_rate", str(self.learning_rate), "a number above 0 and below 1")
        if self.schedule not in SCHEDULES:
            raise ParameterError(f"{where}.schedule", repr(self.schedule), f"one of {', '.join(SCHEDULES)}")
        if self.precision not in PRECISIONS:
            raise ParameterError(f"{where}.precision", repr(self.precision), f"one of {', '.join(PRECISIONS)}")
        if any(epoch < 1 for epoch in self.milestones) or sorted(set(self.milestones)) != list(self.milestones):
            raise ParameterError(f"{where}.milestones", str(list(self.milestones)), "rising epochs from 1")
        if not 0 < self.decay <= 1:
            raise ParameterError(f"{where}.decay", str(self.decay), "a number above 0, at most 1")
        if not 0 <= self.final_factor <= 1:
            raise ParameterError(f"{where}.final_factor", str(self.final_factor), "a number from 0 to 1")
        if not 0 <= self.warmup_epochs <= self.epochs:
            raise ParameterError(f"{where}.warmup_epochs", str(self.warmup_epochs), f"0 to {self.epochs} (epochs)")
        if not 0 <= self.average_decay < 1:
            raise ParameterError(f"{where}.average_decay", str(self.average_decay), "0 (off), or below 1")
        if not 0 <= self.clip_gradient < float("inf"):
            raise ParameterError(f"{where}.clip_gradient", str(self.clip_gradient), "0 (off) or a norm above 0")
