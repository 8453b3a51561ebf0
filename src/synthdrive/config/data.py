"""Sections `data`, `scene`, `ingest`, `check_raw` and `check_synthetic`: raw data, ingestion and data validation."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError
from synthdrive.core.schema import value
from synthdrive.core.timing import FEWEST_FUTURE, FEWEST_OBSERVED, MOST_STEPS, STEP_SECONDS, Timing

OFFICIAL = "official"  # ingest.validation: the published split
POOLED = "pooled"  # ingest.validation: folds of train and val scenes together


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
        """Return the `Timing` that stores, batches, networks and checkpoints contain."""
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
    validation: str = value(choices=(OFFICIAL, "held_out", POOLED))
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
    """Section `check_raw`: limits for maps and for recorded scenes."""

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
