"""Sections `data`, `scene` and `ingest`: which raw data, what a scene is, how scenes are read."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError
from synthdrive.core.limits import value
from synthdrive.core.timing import FEWEST_FUTURE, FEWEST_OBSERVED, MOST_STEPS, STEP_SECONDS, Timing


@dataclass
class DataParameters:
    """Section `data`; params.yaml says what each parameter means."""

    source: str = value(choices=("sample", "argoverse1", "argoverse2"))
    raw: str = value()


@dataclass
class TimingParameters:
    """`scene.timing`; params.yaml says what each parameter means."""

    history_steps: int = value(at_least=FEWEST_OBSERVED, at_most=MOST_STEPS, unit="")
    future_steps: int = value(at_least=FEWEST_FUTURE, at_most=MOST_STEPS, unit="")
    step_seconds: float = value(at_least=STEP_SECONDS, at_most=STEP_SECONDS, unit="s")

    def validate(self, where: str) -> None:
        """A scene store must be able to count the steps."""
        steps = self.history_steps + self.future_steps
        if steps > MOST_STEPS:
            raise ParameterError(where, f"{steps} steps", f"at most {MOST_STEPS}, history and future together")

    def as_value(self) -> Timing:
        """As stores, batches, networks and checkpoints carry it."""
        return Timing(self.history_steps, self.future_steps, self.step_seconds)


@dataclass
class SceneParameters:
    """Section `scene`; params.yaml says what each parameter means."""

    map_half_width: float = value(above=0, at_most=1000, unit="m")
    timing: TimingParameters = value()


@dataclass
class IngestParameters:
    """Section `ingest`; params.yaml says what each parameter means."""

    on_bad_scene: str = value(choices=("error", "skip"))
    on_dangling_link: str = value(choices=("error", "drop"))
    turn_angle: float = value(above=0, below=180, unit="degrees")
    validation: str = value(choices=("official", "held_out", "pooled"))
    fold: int = value(at_least=0, unit="")
    folds: int = value(at_least=2, unit="")
    fold_block: float = value(above=0, unit="m")
    fold_distance: float = value(at_least=0, unit="m")
    max_file_megabytes: int = value(at_least=1, unit="MB")
    max_archive_gigabytes: int = value(at_least=1, unit="GB")
    local_maps: int = value(at_least=1, at_most=100_000, unit="")

    def validate(self, where: str) -> None:
        """The held-out fold must be one of the folds."""
        if self.fold >= self.folds:
            raise ParameterError(f"{where}.fold", str(self.fold), f"0 to {self.folds - 1}, one of {where}.folds")
