"""Section `check_synthetic`: the limits within which every synthetic window must move."""

from __future__ import annotations

from dataclasses import dataclass, fields

from synthdrive.core.errors import ParameterError


@dataclass
class CheckSyntheticParameters:
    """See params.yaml for what each parameter means."""

    max_speed: float
    max_acceleration: float
    max_lateral_acceleration: float
    max_jerk: float
    max_curvature: float
    max_heading_step: float
    max_step: float
    max_lane_distance: float
    step_noise: float
    outlier_fraction: float

    def validate(self, where: str) -> None:
        """Raise ParameterError for a limit that no motion could satisfy."""
        if not self.step_noise >= 0:
            raise ParameterError(f"{where}.step_noise", str(self.step_noise), "at least 0 m")
        if not 0 <= self.outlier_fraction <= 1:
            raise ParameterError(f"{where}.outlier_fraction", str(self.outlier_fraction), "a fraction from 0 to 1")
        for key in fields(self):
            value = getattr(self, key.name)
            if key.name not in ("step_noise", "outlier_fraction") and not value > 0:
                raise ParameterError(f"{where}.{key.name}", str(value), "a number above 0")
