"""Parameters of verification."""

from __future__ import annotations

from dataclasses import dataclass, field

from synthdrive.core.errors import ParameterError


@dataclass(frozen=True)
class VerifyParameters:
    """What `verify` runs again and how close the numbers must be.

    Attributes:
        spot_stages: stages made again by level `spot`; their outputs must have the same bytes.
        time_stamped: outputs, or folders of outputs, that carry the time of their making; their bytes are not compared.
        tolerances: for level `full`, the largest absolute difference allowed to each headline metric of a learned variant;
            one that is not named has that of its unit, a rate MR6's and a distance minFDE6's.
    """

    spot_stages: list[str] = field(default_factory=list)
    time_stamped: list[str] = field(default_factory=list)
    tolerances: dict[str, float] = field(default_factory=dict)

    def validate(self, where: str) -> None:
        """Refuse an empty level and tolerances below zero."""
        if not self.spot_stages:
            raise ParameterError(f"{where}.spot_stages", "no stage", "at least one stage of dvc.yaml")
        for name, tolerance in self.tolerances.items():
            if not tolerance >= 0:
                raise ParameterError(f"{where}.tolerances.{name}", str(tolerance), "a number from 0")
