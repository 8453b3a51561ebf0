"""Sections `augment` and `synthesize`: routes, map transforms, the rule-based driver and its windows."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError
from synthdrive.core.schema import value

FINEST_SPACING = 0.05  # m; finer points add no detail to a lane


@dataclass
class RouteParameters:
    """`augment.routes`; params.yaml says what each parameter means."""

    per_city: int = value(at_least=1, unit="")
    length: float = value(above=0, unit="m")
    min_length: float = value(above=0, unit="m")
    min_fresh: float = value(above=0, unit="m")
    lead_out: float = value(at_least=0, unit="m")
    max_joint_angle: float = value(above=0, at_most=180, unit="degrees")

    def validate(self, where: str) -> None:
        """The lengths must be in the order min_fresh, min_length, length."""
        if not self.min_fresh <= self.min_length <= self.length:
            found = f"min_fresh {self.min_fresh}, min_length {self.min_length}, length {self.length}"
            raise ParameterError(where, found, "min_fresh <= min_length <= length")


@dataclass
class TransformParameters:
    """`augment.transforms`; params.yaml says what each parameter means."""

    kinds: list[str] = value(choices=("smooth", "double", "ripple", "combination"), fewest=1)
    amplitudes: list[float] = value(above=0, unit="", fewest=1)
    shape: str = value(choices=("released", "sattack", "custom"))
    power: float = value(at_least=2, unit="")
    border: float = value(at_least=0, unit="m")
    shift: float = value(above=0, unit="m")
    wavelength: float = value(above=0, unit="m")
    axis: str = value(choices=("x", "route"))


@dataclass
class AugmentParameters:
    """Section `augment`; params.yaml says what each parameter means."""

    seed: int = value(at_least=0, unit="")
    routes: RouteParameters = value()
    originals: bool = value()
    per_route: int = value(at_least=0, unit="")
    transforms: TransformParameters = value()
    densify: float = value(at_least=0, unit="m")
    min_radius: float = value(at_least=0, unit="m")
    radius_smoothing: float = value(at_least=0, unit="m")
    corridor_margin: float = value(at_least=0, unit="m")

    def validate(self, where: str) -> None:
        """There must be original or augmented scenes; `densify` must be 0 or not too fine."""
        if self.per_route == 0 and not self.originals:
            raise ParameterError(f"{where}.per_route", "0, and originals false", "at least one kind of scene")
        if 0 < self.densify < FINEST_SPACING:
            raise ParameterError(f"{where}.densify", str(self.densify), f"0, or at least {FINEST_SPACING} (m)")


@dataclass
class DriverParameters:
    """`synthesize.driver`; params.yaml says what each parameter means and where it comes from."""

    start_speed: float = value(above=0, unit="m/s")
    cruise_speed_factor: float = value(above=0, unit="")
    path_smoothing_time: float = value(at_least=0, unit="s")
    min_path_smoothing: float = value(above=0, unit="m")
    max_deviation: float = value(at_least=0, unit="m")
    curvature_smoothing_time: float = value(at_least=0, unit="s")
    lateral_acceleration: float = value(above=0, unit="m/s2")
    lateral_exponent: float = value(at_least=-5, at_most=5, unit="")
    max_lateral_acceleration: float = value(above=0, unit="m/s2")
    slowing: float = value(above=0, unit="1/s")
    acceleration: float = value(above=0, unit="m/s2")
    braking: float = value(above=0, unit="1/s")
    firm_braking: float = value(at_least=0, unit="1/s")
    max_braking: float = value(above=0, unit="m/s2")
    speed_deadband: float = value(at_least=0, unit="")
    lookahead_time: float = value(at_least=0, unit="s")
    relaxation_time: float = value(above=0, unit="s")
    acceleration_lag: float = value(at_least=0, unit="s")
    max_jerk: float = value(above=0, unit="m/s3")

    def validate(self, where: str) -> None:
        """The hardest braking must not be gentler than slowing down ahead of a bend."""
        if self.braking < self.slowing:
            raise ParameterError(f"{where}.braking", f"{self.braking}", f"at least slowing ({self.slowing})")


@dataclass
class WindowParameters:
    """`synthesize.windows`: how drives are cut into windows."""

    stride: float = value(at_least=0.1, unit="s")
    only_fresh: bool = value()

    def validate(self, where: str) -> None:
        """Windows start at whole steps of 0.1 s."""
        if abs(self.stride * 10 - round(self.stride * 10)) > 1e-9:
            raise ParameterError(f"{where}.stride", f"{self.stride}", "a multiple of 0.1 s")


@dataclass
class LimitParameters:
    """`synthesize.limits`: a window that exceeds one of them is dropped."""

    acceleration: float = value(above=0, unit="m/s2")
    lateral_acceleration: float = value(above=0, unit="m/s2")
    jerk: float = value(above=0, unit="m/s3")
    curvature: float = value(above=0, unit="1/m")
    heading_step: float = value(above=0, unit="rad")
    lane_distance: float = value(above=0, unit="m")


@dataclass
class StopParameters:
    """`synthesize.stops`: stops and starts."""

    spacing: float = value(at_least=0, unit="m")
    min_distance: float = value(at_least=0, unit="m")
    min_wait: float = value(at_least=0, unit="s")
    max_wait: float = value(at_least=0, unit="s")
    braking: float = value(above=0, unit="m/s2")

    def validate(self, where: str) -> None:
        """The longest wait must not be shorter than the shortest."""
        if self.max_wait < self.min_wait:
            raise ParameterError(f"{where}.max_wait", f"{self.max_wait}", f"at least min_wait ({self.min_wait})")


@dataclass
class SpeedVariationParameters:
    """`synthesize.speed_variation`: changes of speed on free road."""

    interval: float = value(at_least=0, unit="m")
    min_speed_factor: float = value(above=0, at_most=1, unit="")


@dataclass
class BackgroundAgentParameters:
    """`synthesize.background_agents`: other road users, on lanes and at the roadside."""

    count: int = value(at_least=0, unit="")
    standing_fraction: float = value(at_least=0, at_most=1, unit="")
    min_speed: float = value(at_least=0, unit="m/s")
    max_speed: float = value(at_least=1, unit="m/s")
    acceleration_std: float = value(at_least=0, unit="m/s2")
    lateral_std: float = value(at_least=0, unit="m")
    roadside_offset: list[float] = value(at_least=0, unit="m", fewest=2, most=2)
    clearance: float = value(at_least=0, unit="m")

    def validate(self, where: str) -> None:
        """Ranges must not be the wrong way round."""
        if self.min_speed > self.max_speed:
            raise ParameterError(
                f"{where}.min_speed", f"{self.min_speed}", f"at most {self.max_speed}, the largest speed"
            )
        if self.roadside_offset[0] > self.roadside_offset[1]:
            raise ParameterError(f"{where}.roadside_offset", f"{self.roadside_offset}", "the smaller number first")


@dataclass
class NoiseParameters:
    """`synthesize.noise`: tracking noise."""

    std: float = value(at_least=0, unit="m")
    lateral_factor: float = value(at_least=0, unit="")
    log_std: float = value(at_least=0, unit="")
    correlation_time: float = value(at_least=0, unit="s")


@dataclass
class SynthesizeParameters:
    """Section `synthesize`; params.yaml says what each parameter means and where it comes from."""

    seed: int = value(at_least=0, unit="")
    desired_speeds: list[float] = value(at_least=1, at_most=60, unit="m/s", distinct=True)
    desired_speeds_augmented: list[float] = value(at_least=1, at_most=60, unit="m/s", distinct=True)
    speeds_per_scene: int = value(at_least=0, unit="")
    speed_source: str = value(choices=("list", "recorded"))
    exclusion_radius: float = value(at_least=0, unit="m")
    driver: DriverParameters = value()
    windows: WindowParameters = value()
    limits: LimitParameters = value()
    stops: StopParameters = value()
    speed_variation: SpeedVariationParameters = value()
    background_agents: BackgroundAgentParameters = value()
    noise: NoiseParameters = value()

    def validate(self, where: str) -> None:
        """There must be desired speeds; speeds from recorded scenes need the number to draw for each scene."""
        if not self.desired_speeds and not self.desired_speeds_augmented:
            expected = "at least one speed, here or in desired_speeds_augmented"
            raise ParameterError(f"{where}.desired_speeds", "no desired speeds", expected)
        if self.speed_source == "recorded" and self.speeds_per_scene == 0:
            raise ParameterError(f"{where}.speeds_per_scene", "0", "at least 1 if speed_source is recorded")
