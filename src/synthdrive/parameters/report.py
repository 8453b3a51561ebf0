"""Parameters of the report."""

from __future__ import annotations

from dataclasses import dataclass, field

from synthdrive.core.errors import ParameterError


@dataclass(frozen=True)
class ReportParameters:
    """What the report shows.

    Attributes:
        seed: of the random choice of what is shown, and of the bootstrap.
        bootstrap_samples: resamples behind every 95 % interval.
        baselines: forecasts without training that stand in the table.
        recorded_scenes, synthetic_windows, augmented_scenes, drives, forecast_scenes: panels of these pictures.
        reconstructions: windows of each kind of masking, for each variant that has one; pre-training keeps three.
        motion_tracks: most tracks of each set behind the motion distributions.
        transform_amplitude: amplitude at which the map transforms are shown.
    """

    seed: int = 0
    bootstrap_samples: int = 2000
    baselines: list[str] = field(default_factory=lambda: ["constant_velocity", "lane_following"])
    recorded_scenes: int = 6
    synthetic_windows: int = 24
    augmented_scenes: int = 6
    drives: int = 4
    forecast_scenes: int = 9
    reconstructions: int = 2
    motion_tracks: int = 5000
    transform_amplitude: float = 6.0

    def validate(self, where: str) -> None:
        """Raise ParameterError for the first impossible value."""
        counts = {
            "bootstrap_samples": (100, 100_000), "recorded_scenes": (1, 30), "synthetic_windows": (1, 60),
            "augmented_scenes": (1, 30), "drives": (1, 12), "forecast_scenes": (1, 30), "reconstructions": (1, 3),
            "motion_tracks": (10, 1_000_000),
        }  # fmt: skip
        for key, (low, high) in counts.items():
            if not low <= getattr(self, key) <= high:
                raise ParameterError(f"{where}.{key}", str(getattr(self, key)), f"a whole number from {low} to {high}")
        if not 0 < abs(self.transform_amplitude) <= 20:
            raise ParameterError(f"{where}.transform_amplitude", str(self.transform_amplitude), "up to 20, not 0")
        if len(set(self.baselines)) != len(self.baselines):
            raise ParameterError(f"{where}.baselines", str(list(self.baselines)), "each baseline once")
