"""Parameters of the pre-training stage."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError
from synthdrive.parameters.objective import ObjectiveParameters
from synthdrive.parameters.optimisation import OptimisationParameters

WINDOWS = ("all", "original", "augmented")


@dataclass(frozen=True)
class PretrainParameters(ObjectiveParameters, OptimisationParameters):
    """What is pre-trained, how, and on which synthetic windows; the defaults are the paper's (docs/method.md 4.4).

    Attributes:
        windows: all of them, or only those driven on original or on augmented scenes.
        fraction: share of these windows to train on; the subsets of one seed are nested, and the same in every variant.
        held_back: fraction of the routes whose windows no variant is trained on, to measure reconstructions on; 0
            measures none. PAPER: 0.
    """

    epochs: int = 5
    batch: int = 256
    learning_rate: float = 1e-4
    windows: str = "all"
    fraction: float = 1.0
    held_back: float = 0.0

    def validate(self, where: str) -> None:
        """Raise ParameterError for the first impossible value."""
        ObjectiveParameters.validate(self, where)
        OptimisationParameters.validate(self, where)
        if self.windows not in WINDOWS:
            raise ParameterError(f"{where}.windows", repr(self.windows), f"one of {', '.join(WINDOWS)}")
        if not 0 < self.fraction <= 1:
            raise ParameterError(f"{where}.fraction", str(self.fraction), "a share above 0, at most 1")
        if not 0 <= self.held_back < 1:
            raise ParameterError(f"{where}.held_back", str(self.held_back), "a fraction from 0, below 1")
