"""Section `record_sample`: the streets, the traffic on them, and which scenes are kept."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError
from synthdrive.core.schema import value

ALIGNMENTS = ("center", "left", "right", "compact", "nice", "arbitrary")  # SUMO's latAlignment


@dataclass
class CityParameters:
    """A street network and the part of it that val scenes come from.

    Attributes:
        code: the city's name in the scenes, three capital letters.
        network: SUMO network, relative to the folder of eclipse-sumo.
        val_side: the side of the city that is val's: north, east, south or west.
        val_fraction: fraction of the lanes' length on that side of the dividing line.
        runs: independent simulations of this city.
        scenes_fraction: fraction of all scenes that come from this city.
    """

    code: str = value(pattern="[A-Z]{3}")
    network: str = value()
    val_side: str = value(choices=("north", "east", "south", "west"))
    val_fraction: float = value(at_least=0, at_most=1, unit="")
    runs: int = value(at_least=1, at_most=10_000, unit="")
    scenes_fraction: float = value(at_least=0, unit="")


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

    turn_points: int = value(at_least=1, unit="")
    bend_radius: float = value(above=0, unit="m")
    max_corner_cut: float = value(above=0, unit="m")
    lateral_acceleration: float = value(above=0, unit="m/s2")
    signal_cycle: int = value(at_least=1, unit="s")


@dataclass
class MapParameters:
    """How lanes are cut into the segments of the HD map.

    Attributes:
        max_length: m, of a segment.
        min_length: m, shorter ways across a node are left out.
        max_deviation: m, of a segment from the lane it draws.
    """

    max_length: float = value(above=0, unit="m")
    min_length: float = value(above=0, unit="m")
    max_deviation: float = value(above=0, unit="m")


@dataclass
class VehicleParameters:
    """A kind of vehicle: its share of the traffic, length and width (m), and what it accelerates at most (m/s2)."""

    name: str = value()
    fraction: float = value(above=0, unit="")
    length: float = value(above=0, unit="m")
    width: float = value(above=0, unit="m")
    acceleration: float = value(above=0, unit="m/s2")


@dataclass
class DriverParameters:
    """A kind of driver.

    Attributes:
        fraction: of the drivers.
        speed_factor: desired speed over the limit, mean.
        acceleration, deceleration: m/s2, as the driver likes them.
        headway: s, to the vehicle ahead.
        standstill_gap: m, to the vehicle ahead in a queue.
        overtaking: eagerness to change lanes for speed (SUMO's lcSpeedGain).
        lateral_speed: m/s, at most, when changing lanes.
        alignment: where in the lane (SUMO's latAlignment).
    """

    name: str = value()
    fraction: float = value(above=0, unit="")
    speed_factor: float = value(above=0, unit="")
    acceleration: float = value(above=0, unit="m/s2")
    deceleration: float = value(above=0, unit="m/s2")
    headway: float = value(above=0, unit="s")
    standstill_gap: float = value(at_least=0, unit="m")
    overtaking: float = value(at_least=0, unit="")
    lateral_speed: float = value(above=0, unit="m/s")
    alignment: str = value(choices=ALIGNMENTS)


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
        time_to_teleport: s, after which a vehicle that cannot move is taken out.
    """

    warm_up: float = value(at_least=0, unit="s")
    seconds: float = value(above=0, unit="s")
    initial_per_km: float = value(at_least=0, unit="vehicles/km")
    departures_per_km_hour: float = value(at_least=0, unit="vehicles/km/h")
    parked_per_km: float = value(at_least=0, unit="vehicles/km")
    min_trip: float = value(at_least=0, unit="m")
    speed_factor_deviation: float = value(at_least=0, unit="")
    time_to_teleport: float = value(at_least=0, unit="s")
    vehicles: list[VehicleParameters] = value(fewest=1)
    drivers: list[DriverParameters] = value(fewest=1)


@dataclass
class ParkingParameters:
    """Where vehicles park along the kerb.

    Attributes:
        slot_length: m of kerb for a vehicle.
        junction_clearance: m beside junctions, without parking.
        lateral_offset, lateral_std: m from the centreline of the lane beside to the middle of the vehicle: mean and
            standard deviation.
    """

    slot_length: float = value(above=0, unit="m")
    junction_clearance: float = value(at_least=0, unit="m")
    lateral_offset: float = value(at_least=0, unit="m")
    lateral_std: float = value(at_least=0, unit="m")


@dataclass
class InterestParameters:
    """Weights of what makes a focal agent worth keeping; a candidate's chance grows with the sum of those that hold.

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

    base: float = value(above=0, unit="")
    turning: float = value(at_least=0, unit="")
    braking: float = value(at_least=0, unit="")
    accelerating: float = value(at_least=0, unit="")
    lane_changing: float = value(at_least=0, unit="")
    junction: float = value(at_least=0, unit="")
    dense: float = value(at_least=0, unit="")
    turn_angle: float = value(at_least=0, at_most=180, unit="degrees")
    speed_change: float = value(at_least=0, unit="m/s")
    dense_radius: float = value(at_least=0, unit="m")
    dense_count: int = value(at_least=0, unit="")


@dataclass
class SceneParameters:
    """Which scenes are kept, and what the AV sees of them.

    Attributes:
        train, val: number of scenes.
        band: m, width of the strip between the parts, where no focal agent is.
        max_standing_fraction: largest fraction of scenes whose focal agent moves less than `standing_distance` (m).
        separation: m, between the focal agents of scenes of the same time.
        pause: s, between two scenes with the same focal agent.
        min_av_distance, max_av_distance: m, between AV and the focal agent at the last observed step.
        sensor_range: m, around the AV; tracks begin and end there.
        max_acceleration, max_lateral_acceleration: m/s2; a focal agent beyond is not kept.
        tracking_noise: m, standard deviation of a tracked position, in x and in y.
        smoothing: s, standard deviation of the filter over the simulated positions.
    """

    train: int = value(at_least=1, unit="")
    val: int = value(at_least=1, unit="")
    band: float = value(at_least=0, unit="m")
    max_standing_fraction: float = value(at_least=0, at_most=1, unit="")
    standing_distance: float = value(at_least=0, unit="m")
    separation: float = value(at_least=0, unit="m")
    pause: float = value(at_least=0, unit="s")
    min_av_distance: float = value(at_least=0, unit="m")
    max_av_distance: float = value(above=0, unit="m")
    sensor_range: float = value(above=0, unit="m")
    max_acceleration: float = value(at_least=0, unit="m/s2")
    max_lateral_acceleration: float = value(at_least=0, unit="m/s2")
    tracking_noise: float = value(at_least=0, unit="m")
    smoothing: float = value(at_least=0, unit="s")

    def validate(self, where: str) -> None:
        """The AV's distances must leave room between them."""
        if self.min_av_distance >= self.max_av_distance:
            allowed = f"below max_av_distance, {self.max_av_distance}"
            raise ParameterError(f"{where}.min_av_distance", str(self.min_av_distance), allowed)


@dataclass
class RecordSampleParameters:
    """Section `record_sample` of params.yaml."""

    seed: int = value(at_least=0, unit="")
    streets: StreetParameters = value()
    map: MapParameters = value()
    traffic: TrafficParameters = value()
    parking: ParkingParameters = value()
    scenes: SceneParameters = value()
    interest: InterestParameters = value()
    cities: list[CityParameters] = value(fewest=1)

    def validate(self, where: str) -> None:
        """Cities must have different codes, and one of them must give scenes."""
        codes = [city.code for city in self.cities]
        if len(set(codes)) < len(codes):
            raise ParameterError(f"{where}.cities", f"codes {', '.join(codes)}", "each code once")
        if not any(city.scenes_fraction > 0 for city in self.cities):
            raise ParameterError(f"{where}.cities", "no scenes_fraction above 0", "a city that gives scenes")
