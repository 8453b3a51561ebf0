"""Section `ingest`: how raw maps and scenes are read."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError


@dataclass
class IngestParameters:
    """See params.yaml for what each parameter means."""

    on_bad_scene: str
    on_dangling_link: str
    turn_angle: float
    validation: str
    fold: int
    folds: int
    fold_block: float
    max_file_megabytes: int
    max_archive_gigabytes: int

    def validate(self, where: str) -> None:
        """Raise ParameterError for an unknown choice or an impossible limit."""
        for key, value, allowed in (
            ("on_bad_scene", self.on_bad_scene, ("error", "skip")),
            ("on_dangling_link", self.on_dangling_link, ("error", "drop")),
            ("validation", self.validation, ("official", "held_out")),
        ):
            if value not in allowed:
                raise ParameterError(f"{where}.{key}", repr(value), f"one of {', '.join(allowed)}")
        if not 0 < self.turn_angle < 180:
            raise ParameterError(f"{where}.turn_angle", str(self.turn_angle), "degrees above 0 and below 180")
        if self.folds < 2:
            raise ParameterError(f"{where}.folds", str(self.folds), "at least 2")
        if not 0 <= self.fold < self.folds:
            raise ParameterError(f"{where}.fold", str(self.fold), f"0 to {self.folds - 1}, one of {where}.folds")
        if not self.fold_block > 0:
            raise ParameterError(f"{where}.fold_block", str(self.fold_block), "metres above 0")
        for key, number in (
            ("max_file_megabytes", self.max_file_megabytes),
            ("max_archive_gigabytes", self.max_archive_gigabytes),
        ):
            if number < 1:
                raise ParameterError(f"{where}.{key}", str(number), "at least 1")
