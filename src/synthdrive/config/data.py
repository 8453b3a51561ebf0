"""Sections `data`, `scene` and `ingest`: which raw data, what a scene is, how scenes are read."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError
from synthdrive.core.limits import value


@dataclass
class DataParameters:
    """Section `data`; params.yaml says what each parameter means."""

    source: str = value(choices=("sample", "argoverse1"))
    raw: str = value()


@dataclass
class SceneParameters:
    """Section `scene`; params.yaml says what each parameter means."""

    map_half_width: float = value(above=0, at_most=1000, unit="m")


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

    def validate(self, where: str) -> None:
        """The held-out fold must be one of the folds."""
        if self.fold >= self.folds:
            raise ParameterError(f"{where}.fold", str(self.fold), f"0 to {self.folds - 1}, one of {where}.folds")
