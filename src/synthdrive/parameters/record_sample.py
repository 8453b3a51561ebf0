"""Parameters of record_sample: the streets, the traffic on them, and which scenes are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from synthdrive.core.errors import ParameterError

SIDES = ("north", "east", "south", "west")
ALIGNMENTS = ("center", "left", "right", "compact", "nice", "arbitrary")


@dataclass
class CityParameters:
    """A street network and the part of it that val scenes come from.

    Attributes:
        code: the city's name in the scenes, three capital letters.
        network: SUMO network, relative to the folder of eclipse-sumo.
        val_side: the side of the city that is val's: north, east, south or west.
        val_share: share of the lanes' length on that side of the dividing line.
        runs: independent simulations of this city.
        scenes_share: share of all scenes that come from this city.
    """

    code: str
    network: str
    val_side: str
    val_share: float
    runs: int
    scenes_share: float


@dataclass
class StreetParameters:
    """How netconvert redraws a network.

    Attributes:
        turn_points: points of a way across a junction.
        bend_radius: m, of the arcs that replace corners inside streets.
        max_corner_cut: m, how far an arc may pass inside its corner.
        lateral_acceleration: m/s2, that turns and bends are driven with at most.
        signal_cycle: s, of traffic lights.
    """

    turn_points: int
    bend_radius: float
    max_corner_cut: float
    lateral_acceleration: float
    signal_cycle: int


@dataclass
class MapParameters:
    """How lanes are cut into the segments of the HD map.

    Attributes:
        max_length: m, of a segment.
        min_length: m, shorter ways across a node are left out.
        max_deviation: m, of a segment from the lane it draws.
    """

    max_length: float
    min_length: float
    max_deviation: float


@dataclass
class VehicleParameters:
    """A kind of vehicle: its share of the traffic, length and width (m), and what it accelerates at most (m/s2)."""

    name: str
    share: float
    length: float
    width: float
    acceleration: float


@dataclass
class DriverParameters:
    """A kind of driver.

    Attributes:
        share: of the drivers.
        speed_factor: desired speed over the limit, mean.
        acceleration, deceleration: m/s2, as the driver likes them.
        headway: s, to the vehicle ahead.
        standstill_gap: m, to the vehicle ahead in a queue.
        overtaking: eagerness to change lanes for speed (SUMO's lcSpeedGain).
        lateral_speed: m/s, at most, when changing lanes.
        alignment: where in the lane (SUMO's latAlignment).
    """

    name: str
    share: float
    speed_factor: float
    acceleration: float
    deceleration: float
    headway: float
    standstill_gap: float
    overtaking: float
    lateral_speed: float
    alignment: str


@dataclass
class TrafficParameters:
    """How much traffic there is and of what kinds.

    Attributes:
        warm_up: s, simulated before recording.
        seconds: s, recorded in each run.
        initial_per_km: vehicles a km of lane at the start.
        departures_per_km_hour: vehicles that depart, a km of lane and hour.
        parked_per_km: parked vehicles a km of street, mean.
        min_trip: m, between the ends of a trip.
        speed_factor_deviation: between drivers of a kind.
        patience: s, after which a vehicle that cannot move is taken out.
    """

    warm_up: float
    seconds: float
    initial_per_km: float
    departures_per_km_hour: float
    parked_per_km: float
    min_trip: float
    speed_factor_deviation: float
    patience: float
    vehicles: list[VehicleParameters] = field(default_factory=list)
    drivers: list[DriverParameters] = field(default_factory=list)


@dataclass
class InterestParameters:
    """Weights of what makes an AGENT worth keeping; a candidate's chance grows with the sum of those that hold.

    Attributes:
        base: of every candidate.
        turning: it turns by more than `turn_angle`.
        braking: it slows down by more than `speed_change`.
        accelerating: it gains more than `speed_change`.
        lane_changing: it changes lanes.
        junction: it crosses a junction.
        dense: there are at least `dense_count` moving vehicles within `dense_radius`.
        turn_angle: degrees; speed_change: m/s; dense_radius: m.
    """

    base: float
    turning: float
    braking: float
    accelerating: float
    lane_changing: float
    junction: float
    dense: float
    turn_angle: float
    speed_change: float
    dense_radius: float
    dense_count: int


@dataclass
class SceneParameters:
    """Which scenes are kept, and what the AV sees of them.

    Attributes:
        train, val: number of scenes.
        band: m, width of the strip between the parts, where no AGENT is.
        max_standing: largest share of scenes whose AGENT moves less than `standing_distance` (m).
        separation: m, between the AGENTs of scenes of the same time.
        pause: s, between two scenes with the same AGENT.
        min_av_distance, max_av_distance: m, between AV and AGENT at the last observed step.
        sensor_range: m, around the AV; tracks begin and end there.
        max_acceleration, max_lateral_acceleration: m/s2; an AGENT beyond is not kept.
        tracking_noise: m, standard deviation of a tracked position, in x and in y.
        smoothing: s, standard deviation of the filter over the simulated positions.
    """

    train: int
    val: int
    band: float
    max_standing: float
    standing_distance: float
    separation: float
    pause: float
    min_av_distance: float
    max_av_distance: float
    sensor_range: float
    max_acceleration: float
    max_lateral_acceleration: float
    tracking_noise: float
    smoothing: float


@dataclass
class RecordSampleParameters:
    """Section `record_sample` of params.yaml."""

    seed: int
    streets: StreetParameters
    map: MapParameters
    traffic: TrafficParameters
    scenes: SceneParameters
    interest: InterestParameters
    cities: list[CityParameters] = field(default_factory=list)

    def validate(self, where: str) -> None:
        """Raise ParameterError for a value that no recording can have."""
        if not self.cities:
            raise ParameterError(f"{where}.cities", "no city", "at least one")
        codes = [city.code for city in self.cities]
        for city in self.cities:
            at = f"{where}.cities: {city.code}"
            if not (len(city.code) == 3 and city.code.isalpha() and city.code.isupper()) or codes.count(city.code) > 1:
                raise ParameterError(at, f"code {city.code!r}", "three capital letters, a code once")
            if city.val_side not in SIDES:
                raise ParameterError(f"{at}.val_side", repr(city.val_side), f"one of {', '.join(SIDES)}")
            _within(f"{at}.val_share", city.val_share, 0.0, 1.0)
            _within(f"{at}.runs", city.runs, 1, 10_000)
            _within(f"{at}.scenes_share", city.scenes_share, 0.0)
        if not any(city.scenes_share > 0 for city in self.cities):
            raise ParameterError(f"{where}.cities", "no scenes_share above 0", "a city that gives scenes")
        if not self.traffic.vehicles or not self.traffic.drivers:
            raise ParameterError(f"{where}.traffic", "no vehicles or no drivers", "at least one kind of each")
        for kind in self.traffic.vehicles:
            for name in ("share", "length", "width", "acceleration"):
                _within(f"{where}.traffic.vehicles: {kind.name}.{name}", getattr(kind, name), 0.0, above=True)
        for driver in self.traffic.drivers:
            for name in ("share", "speed_factor", "acceleration", "deceleration", "headway", "lateral_speed"):
                _within(f"{where}.traffic.drivers: {driver.name}.{name}", getattr(driver, name), 0.0, above=True)
            if driver.alignment not in ALIGNMENTS:
                at = f"{where}.traffic.drivers: {driver.name}.alignment"
                raise ParameterError(at, repr(driver.alignment), f"one of {', '.join(ALIGNMENTS)}")
        for section in ("streets", "map", "traffic", "scenes", "interest"):
            for name, value in vars(getattr(self, section)).items():
                if not isinstance(value, list):
                    positive = f"{section}.{name}" in _POSITIVE
                    _within(f"{where}.{section}.{name}", value, 0.0, above=positive)
        _within(f"{where}.scenes.max_standing", self.scenes.max_standing, 0.0, 1.0)
        if self.scenes.min_av_distance >= self.scenes.max_av_distance:
            found = f"{self.scenes.min_av_distance} from, {self.scenes.max_av_distance} to"
            raise ParameterError(f"{where}.scenes.min_av_distance", found, "less than max_av_distance")


_POSITIVE = {
    "streets.turn_points",
    "streets.bend_radius",
    "streets.max_corner_cut",
    "streets.lateral_acceleration",
    "streets.signal_cycle",
    "map.max_length",
    "map.max_deviation",
    "map.min_length",
    "traffic.seconds",
    "scenes.train",
    "scenes.val",
    "scenes.sensor_range",
    "scenes.max_av_distance",
    "interest.base",
}


def _within(where: str, value: float, lowest: float, highest: float = math.inf, above: bool = False) -> None:
    if not lowest <= value <= highest or (above and value == lowest):
        expected = f"{'above' if above else 'at least'} {lowest:g}"
        raise ParameterError(
            where, f"{value:g}", expected if highest == math.inf else f"{expected}, at most {highest:g}"
        )
