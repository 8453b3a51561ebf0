"""Sections `check_raw` and `check_synthetic`: what the data checks demand of maps, recorded scenes and windows."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError
from synthdrive.core.limits import value


@dataclass
class MapChecks:
    """`check_raw.maps`; params.yaml says what each limit means."""

    min_point_spacing: float = value(at_least=0, unit="m")
    max_point_spacing: float = value(at_least=0, unit="m")
    max_lane_length: float = value(at_least=0, unit="m")
    max_successor_gap: float = value(at_least=0, unit="m")
    max_links: int = value(at_least=0, unit="")
    neighbours_link_back_fraction: float = value(at_least=0, at_most=1, unit="")
    connected_fraction: float = value(at_least=0, at_most=1, unit="")
    outlier_fraction: float = value(at_least=0, at_most=1, unit="")

    def validate(self, where: str) -> None:
        """The least spacing must not exceed the largest."""
        if self.min_point_spacing > self.max_point_spacing:
            found, allowed = str(self.min_point_spacing), f"at most max_point_spacing, {self.max_point_spacing}"
            raise ParameterError(f"{where}.min_point_spacing", found, allowed)


@dataclass
class SceneChecks:
    """`check_raw.scenes`; params.yaml says what each limit means."""

    mean_interval: list[float] = value(at_least=0, unit="s", fewest=2, most=2)
    mean_interval_fraction: float = value(at_least=0, at_most=1, unit="")
    min_interval: float = value(at_least=0, unit="s")
    max_interval: float = value(at_least=0, unit="s")
    max_mean_speed: float = value(at_least=0, unit="m/s")
    max_speed: float = value(at_least=0, unit="m/s")
    max_step: float = value(at_least=0, unit="m")
    max_lane_distance: float = value(at_least=0, unit="m")
    lane_distance_fraction: float = value(at_least=0, at_most=1, unit="")
    max_extent: float = value(at_least=0, unit="m")
    lanes_fraction: float = value(at_least=0, at_most=1, unit="")
    outlier_fraction: float = value(at_least=0, at_most=1, unit="")

    def validate(self, where: str) -> None:
        """Intervals must be given with the lower limit first."""
        if self.mean_interval[0] > self.mean_interval[1]:
            raise ParameterError(f"{where}.mean_interval", str(list(self.mean_interval)), "the lower limit first")
        if self.min_interval > self.max_interval:
            found, allowed = str(self.min_interval), f"at most max_interval, {self.max_interval}"
            raise ParameterError(f"{where}.min_interval", found, allowed)


@dataclass
class CheckRawParameters:
    """Section `check_raw`."""

    maps: MapChecks = value()
    scenes: SceneChecks = value()


@dataclass
class CheckSyntheticParameters:
    """Section `check_synthetic`; params.yaml says what each limit means."""

    max_speed: float = value(above=0, unit="m/s")
    max_acceleration: float = value(above=0, unit="m/s2")
    max_lateral_acceleration: float = value(above=0, unit="m/s2")
    max_jerk: float = value(above=0, unit="m/s3")
    max_curvature: float = value(above=0, unit="1/m")
    max_heading_step: float = value(above=0, unit="rad")
    max_step: float = value(above=0, unit="m")
    max_lane_distance: float = value(above=0, unit="m")
    step_noise: float = value(at_least=0, unit="m")
    outlier_fraction: float = value(at_least=0, at_most=1, unit="")
