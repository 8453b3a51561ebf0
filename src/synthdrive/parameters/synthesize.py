"""Parameters of the synthesize stage."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError

SPEED_SOURCES = ("list", "recorded")
BETWEEN_LANES = 2.0  # m; lanes lie about 3.5 to 4 m apart


def _at_least(where: str, values: object, names: tuple[str, ...], lowest: float, unit: str) -> None:
    for name in names:
        value = getattr(values, name)
        if not value >= lowest:
            raise ParameterError(f"{where}.{name}", f"{value}", f"at least {lowest:g} {unit}".strip())


def _above_zero(where: str, values: object, names: tuple[str, ...], unit: str) -> None:
    for name in names:
        value = getattr(values, name)
        if not value > 0:
            raise ParameterError(f"{where}.{name}", f"{value}", f"above 0 {unit}".strip())


@dataclass
class DriverParameters:
    """The rule-based driver; see params.yaml for units and sources."""

    start_speed: float
    cruise_share: float
    corner_cutting: float
    min_smoothing: float
    max_deviation: float
    foresight: float
    lateral_acceleration: float
    lateral_exponent: float
    max_lateral_acceleration: float
    slowing: float
    acceleration: float
    braking: float
    firm_braking: float
    max_braking: float
    tolerance: float
    preview: float
    response: float
    lag: float
    max_jerk: float

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        speeds_and_bends = ("start_speed", "cruise_share", "min_smoothing")
        accelerations = ("lateral_acceleration", "max_lateral_acceleration", "slowing", "acceleration", "braking")
        _above_zero(where, self, (*speeds_and_bends, *accelerations, "max_braking", "response", "max_jerk"), "")
        names = ("corner_cutting", "foresight", "max_deviation", "firm_braking", "tolerance", "preview", "lag")
        _at_least(where, self, names, 0.0, "")
        if self.braking < self.slowing:
            raise ParameterError(f"{where}.braking", f"{self.braking}", f"at least slowing ({self.slowing})")


@dataclass
class WindowParameters:
    """How drives are cut into windows; see params.yaml."""

    stride: float
    only_fresh: bool

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        if self.stride <= 0 or abs(self.stride * 10 - round(self.stride * 10)) > 1e-9:
            raise ParameterError(f"{where}.stride", f"{self.stride}", "a multiple of 0.1 s above 0")


@dataclass
class LimitParameters:
    """What a window must keep to, or it is dropped; see params.yaml."""

    acceleration: float
    lateral_acceleration: float
    jerk: float
    curvature: float
    heading_step: float
    lane_distance: float

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        names = ("acceleration", "lateral_acceleration", "jerk", "curvature", "heading_step", "lane_distance")
        _above_zero(where, self, names, "")


@dataclass
class StopParameters:
    """Stops and starts; see params.yaml."""

    spacing: float
    min_wait: float
    max_wait: float
    braking: float

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        _at_least(where, self, ("spacing", "min_wait"), 0.0, "")
        _above_zero(where, self, ("braking",), "m/s2")
        if self.max_wait < self.min_wait:
            raise ParameterError(f"{where}.max_wait", f"{self.max_wait}", f"at least min_wait ({self.min_wait})")


@dataclass
class PaceParameters:
    """Changes of pace; see params.yaml."""

    stretch: float
    slowest: float

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        _at_least(where, self, ("stretch",), 0.0, "m")
        if not 0 < self.slowest <= 1:
            raise ParameterError(f"{where}.slowest", f"{self.slowest}", "a share above 0, up to 1")


@dataclass
class LaneChangeParameters:
    """Lane changes; see params.yaml."""

    spacing: float
    length: float
    stay: float

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        _at_least(where, self, ("spacing", "stay"), 0.0, "m")
        _above_zero(where, self, ("length",), "m")


@dataclass
class TrafficParameters:
    """Other vehicles on the route; see params.yaml."""

    vehicles: int
    start_gap: float
    slowest_leader: float
    time_headway: float
    min_gap: float
    comfortable_braking: float
    vehicle_length: float

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        _at_least(where, self, ("vehicles", "vehicle_length"), 0, "")
        _above_zero(where, self, ("time_headway", "min_gap", "comfortable_braking"), "")
        if self.start_gap < self.vehicle_length + self.min_gap:
            lowest = self.vehicle_length + self.min_gap
            raise ParameterError(f"{where}.start_gap", f"{self.start_gap}", f"at least {lowest:g} m: length and gap")
        if not 0 < self.slowest_leader <= 1:
            raise ParameterError(f"{where}.slowest_leader", f"{self.slowest_leader}", "a share above 0, up to 1")


@dataclass
class BystanderParameters:
    """Other road users on other lanes; see params.yaml."""

    count: int
    standing: float
    fastest: float

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        _at_least(where, self, ("count",), 0, "")
        _at_least(where, self, ("fastest",), 1.0, "m/s")
        if not 0 <= self.standing <= 1:
            raise ParameterError(f"{where}.standing", f"{self.standing}", "a share from 0 to 1")


@dataclass
class NoiseParameters:
    """Tracking noise; see params.yaml."""

    deviation: float
    across: float
    spread: float
    memory: float

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        _at_least(where, self, ("deviation", "across", "spread", "memory"), 0.0, "")


@dataclass
class SynthesizeParameters:
    """Section `synthesize`; see params.yaml for units and sources."""

    seed: int
    desired_speeds: list[float]
    desired_speeds_augmented: list[float]
    speeds_per_scene: int
    speed_source: str
    driver: DriverParameters
    windows: WindowParameters
    limits: LimitParameters
    stops: StopParameters
    pace: PaceParameters
    lane_changes: LaneChangeParameters
    traffic: TrafficParameters
    bystanders: BystanderParameters
    noise: NoiseParameters

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        if self.speeds_per_scene < 0:
            raise ParameterError(f"{where}.speeds_per_scene", f"{self.speeds_per_scene}", "a number from 0 (all)")
        for name in ("driver", "windows", "limits", "stops", "pace", "lane_changes", "traffic", "bystanders", "noise"):
            getattr(self, name).validate(f"{where}.{name}")
        for name in ("desired_speeds", "desired_speeds_augmented"):
            speeds = getattr(self, name)
            if any(not 1 <= speed <= 60 for speed in speeds):
                raise ParameterError(f"{where}.{name}", f"{speeds}", "speeds from 1 to 60 m/s")
        if not self.desired_speeds and not self.desired_speeds_augmented:
            raise ParameterError(where, "no desired speeds", "at least one")
        if self.speed_source not in SPEED_SOURCES:
            raise ParameterError(f"{where}.speed_source", repr(self.speed_source), f"one of {', '.join(SPEED_SOURCES)}")
        if self.speed_source == "recorded" and self.speeds_per_scene == 0:
            raise ParameterError(f"{where}.speeds_per_scene", "0", "how many speeds to draw, from 1")
        if self.lane_changes.spacing > 0 and self.limits.lane_distance < BETWEEN_LANES:
            raise ParameterError(
                f"{where}.limits.lane_distance",
                f"{self.limits.lane_distance} with lane changes",
                f"at least {BETWEEN_LANES} m: half way to the next lane, or every change is dropped",
            )
