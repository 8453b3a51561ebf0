"""Parameters of the fine-tuning stage."""

from __future__ import annotations

from dataclasses import dataclass, field

from synthdrive.core.errors import ParameterError
from synthdrive.parameters.optimisation import OptimisationParameters


@dataclass(frozen=True)
class FinetuneParameters(OptimisationParameters):
    """How DenseTNT is trained on recorded scenes; the defaults are the paper's (docs/method.md 5).

    Attributes:
        transfer: modules of the pre-trained model whose tensors are loaded ("encoder", "encoder.global_graph"); the
            rest starts fresh. A variant without pre-training transfers nothing, whatever stands here.
        fraction: share of the scenes to train on; the subsets of one seed are nested, and the same in every variant.
    """

    epochs: int = 16
    schedule: str = "step"
    milestones: list[int] = field(default_factory=lambda: [5, 10, 15])
    transfer: list[str] = field(default_factory=lambda: ["encoder"])
    fraction: float = 1.0

    def validate(self, where: str) -> None:
        """Raise ParameterError for the first impossible value."""
        super().validate(where)
        if not 0 < self.fraction <= 1:
            raise ParameterError(f"{where}.fraction", str(self.fraction), "a share above 0, at most 1")
        if any(not module.strip() for module in self.transfer):
            raise ParameterError(f"{where}.transfer", str(list(self.transfer)), "names of modules, such as encoder")
