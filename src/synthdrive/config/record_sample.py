"""Section `record_sample`: the streets, the simulated traffic, and which scenes are kept."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError
from synthdrive.core.schema import value

ALIGNMENTS = ("center", "left", "right", "compact", "nice", "arbitrary")  # SUMO's latAlignment


@dataclass
class CityParameters:
    """A street network and the part of it that val scenes come from.

    Attributes:
        code: name of the city in the scenes, three capital letters.
        network: SUMO network, relative to the folder of eclipse-sumo.
        val_side: the side of the city that val scenes come from: north, east, south or west.
        val_fraction: fraction of the total lane length on that side of the dividing line.
        runs: number of independent simulations of this city.
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
        turn_points: number of points of a connection across a junction.
        bend_radius: m, radius of the arcs that replace corners of streets.
        max_corner_cut: m, how far inside its corner an arc may pass.
        lateral_acceleration: m/s2, largest lateral acceleration in turns and bends, which limits the speed there.
        signal_cycle: s, cycle time of traffic lights.
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
        max_length: m, largest length of a segment.
        min_length: m; shorter connections across a node are left out.
        max_deviation: m, largest deviation of a segment from its lane.
    """

    max_length: float = value(above=0, unit="m")
    min_length: float = value(above=0, unit="m")
    max_deviation: float = value(above=0, unit="m")


@dataclass
class VehicleParameters:
    """A kind of vehicle: its fraction of the traffic, length and width (m), and largest acceleration (m/s2)."""

    name: str = value()
    fraction: float = value(above=0, unit="")
    length: float = value(above=0, unit="m")
    width: float = value(above=0, unit="m")
    acceleration: float = value(above=0, unit="m/s2")


@dataclass
class DriverParameters:
    """A kind of driver.

    Attributes:
        fraction: fraction of all drivers.
        speed_factor: mean ratio of desired speed to speed limit.
        acceleration, deceleration: m/s2, preferred values.
        headway: s, time gap to the vehicle ahead.
        standstill_gap: m, gap to the vehicle ahead in a queue.
        overtaking: eagerness to change lanes for speed (SUMO's lcSpeedGain).
        lateral_speed: m/s, largest lateral speed in a lane change.
        alignment: lateral position in the lane (SUMO's latAlignment).
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
    """Amount and kinds of traffic.

    Attributes:
        warm_up: s, time simulated before recording.
        seconds: s, time recorded in each run.
        initial_per_km: vehicles per km of lane at the start.
        departures_per_km_hour: departing vehicles per km of lane and hour.
        parked_per_km: mean number of parked vehicles per km of street.
        min_trip: m, smallest distance between the ends of a trip.
        speed_factor_deviation: standard deviation of the speed factor between drivers of a kind.
        time_to_teleport: s, time after which a vehicle that cannot move is removed.
        vehicles, drivers: the kinds of vehicles and drivers.
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

    def types(self) -> list[tuple[str, VehicleParameters, DriverParameters]]:
        """Return each kind of vehicle with each kind of driver, and the name of this type of traffic."""
        return [(f"{car.name}_{driver.name}", car, driver) for car in self.vehicles for driver in self.drivers]

    def validate(self, where: str) -> None:
        """The types must have different names, because SUMO knows them by name only."""
        names = [name for name, _, _ in self.types()]
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if twice:
            found = f"{twice!r} (vehicle_driver) twice"
            raise ParameterError(f"{where}.vehicles and {where}.drivers", found, "names whose pairs are unique")


@dataclass
class ParkingParameters:
    """Where vehicles park along the kerb.

    Attributes:
        slot_length: m, length of kerb for each vehicle.
        junction_clearance: m, distance from a junction within which nobody parks.
        lateral_offset, lateral_std: m, mean and standard deviation of the distance from the centreline of the adjacent
            lane to the middle of the vehicle.
    """

    slot_length: float = value(above=0, unit="m")
    junction_clearance: float = value(at_least=0, unit="m")
    lateral_offset: float = value(at_least=0, unit="m")
    lateral_std: float = value(at_least=0, unit="m")


@dataclass
class InterestParameters:
    """Weights for the choice of focal agents; a candidate's chance grows with the sum of the weights that apply to it.

    Attributes:
        base: weight of every candidate.
        turning: weight if it turns by more than `turn_angle`.
        braking: weight if it slows down by more than `speed_change`.
        accelerating: weight if it speeds up by more than `speed_change`.
        lane_changing: weight if it changes lanes.
        junction: weight if it crosses a junction.
        dense: weight if at least `dense_count` moving vehicles are within `dense_radius`.
        turn_angle: degrees.
        speed_change: m/s.
        dense_radius: m.
        dense_count: number of vehicles.
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
    """Which scenes are kept, and how the AV observes them.

    Attributes:
        train, val: number of scenes.
        band: m, width of the strip without focal agents between the train and val parts of a city.
        max_standing_fraction: largest fraction of the drawn scenes whose focal agent ends less than `standing_distance`
            (m) from where it began. 1.2 times as many scenes are drawn as are kept, so of the kept scenes the fraction
            may be up to 1.2 times as large.
        separation: m, smallest distance between the focal agents of simultaneous scenes.
        pause: s, smallest time between two scenes with the same focal agent.
        min_av_distance, max_av_distance: m, limits to the distance from AV to focal agent at the last observed step.
        sensor_range: m; tracks begin and end at this distance from the AV.
        max_acceleration, max_lateral_acceleration: m/s2; focal agents with larger values are not kept.
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
        """Cities must have different codes, and at least one of them must contribute scenes."""
        codes = [city.code for city in self.cities]
        if len(set(codes)) < len(codes):
            raise ParameterError(f"{where}.cities", f"codes {', '.join(codes)}", "each code once")
        if not any(city.scenes_fraction > 0 for city in self.cities):
            raise ParameterError(f"{where}.cities", "no scenes_fraction above 0", "at least one above 0")
