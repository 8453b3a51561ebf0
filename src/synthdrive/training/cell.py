"""One cell of the study: an arm and a seed, and where its files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthdrive.parameters.arms import load_arm
from synthdrive.parameters.loading import DEFAULT_PATH

RUNS = Path(".run")


@dataclass(frozen=True)
class Cell:
    """One arm and seed, and where its files are.

    Attributes:
        arm: its name under `arms` in the parameter file.
        seed: training seed: settles the model's start, the order of the scenes, and every random draw.
        out: directory to write: model.safetensors, card.json, curve.csv; reconstructions.safetensors where masked
            pre-training has made them.
        parameters: the parameter file.
        curve: a second place for the curve, where one is wanted.
        workers: loading processes; None: none on a CPU, some on a GPU. Changes no number.
        runs: where resume states are kept.
    """

    arm: str
    seed: int
    out: Path
    parameters: Path = DEFAULT_PATH
    curve: Path | None = None
    workers: int | None = None
    runs: Path = RUNS

    @property
    def name(self) -> str:
        """The cell as the pipeline names it."""
        return f"{self.arm}-{self.seed}"

    def card(self, stage: str, **content: object) -> dict[str, Any]:
        """A card of this cell."""
        arm = load_arm(self.arm, self.parameters)
        return {"stage": stage, "arm": self.arm, "description": arm.description, "seed": self.seed, **content}
