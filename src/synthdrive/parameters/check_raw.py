"""Section `check_raw`: what maps and recorded scenes must satisfy before anything is made of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from synthdrive.core.errors import ParameterError


@dataclass
class MapChecks:
    """See params.yaml for what each parameter means."""

    min_point_spacing: float
    max_point_spacing: float
    max_lane_length: float
    max_successor_gap: float
    max_links: int
    neighbours_link_back_share: float
    connected_share: float
    outlier_fraction: float


@dataclass
class SceneChecks:
    """See params.yaml for what each parameter means."""

    mean_interval: list[float]
    mean_interval_share: float
    min_interval: float
    max_interval: float
    max_mean_speed: float
    max_speed: float
    max_step: float
    max_lane_distance: float
    lane_distance_share: float
    max_extent: float
    outlier_fraction: float


@dataclass
class CheckRawParameters:
    """See params.yaml for what each parameter means."""

    maps: MapChecks
    scenes: SceneChecks

    def validate(self, where: str) -> None:
        """Raise ParameterError for a limit that nothing, or everything, could satisfy."""
        for name, checks in (("maps", self.maps), ("scenes", self.scenes)):
            for key in fields(checks):
                value = getattr(checks, key.name)
                numbers = value if isinstance(value, list) else [value]
                if not all(number >= 0 for number in numbers):
                    raise ParameterError(f"{where}.{name}.{key.name}", str(value), "no negative number")
                if key.name.endswith(("_share", "_fraction")) and value > 1:
                    raise ParameterError(f"{where}.{name}.{key.name}", str(value), "a fraction from 0 to 1")
        if len(self.scenes.mean_interval) != 2 or self.scenes.mean_interval[0] > self.scenes.mean_interval[1]:
            found = str(self.scenes.mean_interval)
            raise ParameterError(f"{where}.scenes.mean_interval", found, "two numbers of seconds, the lower one first")
