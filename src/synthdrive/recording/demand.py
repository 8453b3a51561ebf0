"""Traffic demand for SUMO: vehicle types, trips and parked vehicles."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from synthdrive.config.record_sample import ParkingParameters, TrafficParameters
from synthdrive.core.geometry import arc_length, interpolate
from synthdrive.map_import.street_lanes import StreetLane

_MAX_TRIES = 200  # number of draws to find a trip that is long enough


@dataclass(frozen=True)
class Streets:
    """The N streets (SUMO edges) of a network and the fastest routes between them.

    Attributes:
        names: (N,) SUMO's ids.
        length: (N,) float64, metres.
        lanes: (N,) int64, number of lanes.
        speed: (N,) float64, speed limit, m/s.
        middle: (N, 2) float64, mean of the centreline's points, metres, city frame.
        time: (N, N) float64, seconds from the start of one street to the start of another; infinite without a route.
        previous: (N, N) int32, row of the last street before the second on the fastest route from the first.
    """

    names: list[str]
    length: npt.NDArray[np.float64]
    lanes: npt.NDArray[np.int64]
    speed: npt.NDArray[np.float64]
    middle: npt.NDArray[np.float64]
    time: npt.NDArray[np.float64]
    previous: npt.NDArray[np.int32]

    @classmethod
    def of(cls, lanes: dict[str, StreetLane]) -> Streets:
        """Group lanes (see `sumo_network.read_street_lanes`) into streets."""
        members: dict[str, list[StreetLane]] = {}
        for lane in lanes.values():
            if not lane.internal:
                members.setdefault(lane.edge, []).append(lane)
        row = {edge: i for i, edge in enumerate(members)}
        kerb = [min(group, key=lambda lane: lane.index) for group in members.values()]
        length = np.array([lane.length for lane in kerb])
        speed = np.array([lane.speed for lane in kerb])
        links = sorted({(row[lane.edge], row[end]) for lane in lanes.values() if not lane.internal
                        for end in _streets_after(lane, lanes)})  # fmt: skip
        start, end = np.array(links, dtype=np.int64).reshape(-1, 2).T
        graph = csr_array(((length / speed)[start], (start, end)), shape=(len(row), len(row)))
        time, previous = dijkstra(graph, return_predecessors=True)
        middle = np.array([lane.points.mean(axis=0) for lane in kerb])
        count = np.array([len(group) for group in members.values()])
        return cls(list(row), length, count, speed, middle, time, previous)

    def route(self, start: int, end: int) -> list[int]:
        """Return the rows of the streets on the fastest route, including both ends."""
        rows = [end]
        while rows[-1] != start:
            rows.append(int(self.previous[start, rows[-1]]))
        return rows[::-1]


def _streets_after(lane: StreetLane, lanes: dict[str, StreetLane]) -> set[str]:
    found, waiting = set(), list(lane.successors)
    while waiting:
        following = lanes[waiting.pop()]
        if following.internal:
            waiting += following.successors
        else:
            found.add(following.edge)
    return found


def write_demand(
    path: Path, streets: Streets, traffic: TrafficParameters, seconds: float, random: np.random.Generator
) -> None:
    """Write the vehicle types and vehicles of one run as a SUMO route file.

    Args:
        path: file to write.
        streets: streets on which the vehicles drive.
        traffic: numbers and types of vehicles and drivers.
        seconds: vehicles depart between 0 and this time.
        random: generator for all draws.
    """
    root = ElementTree.Element("routes")
    types, fractions = _add_types(root, traffic)
    kilometres = float((streets.length * streets.lanes).sum()) / 1000
    first = np.zeros(round(traffic.initial_per_km * kilometres))
    later = np.sort(random.uniform(0.0, seconds, round(traffic.departures_per_km_hour * kilometres * seconds / 3600)))
    weights = streets.length * streets.lanes * streets.speed
    weights /= weights.sum()
    for number, depart in enumerate(np.concatenate([first, later])):
        route = _draw_route(streets, weights, traffic.min_trip, random)
        vehicle = ElementTree.SubElement(
            root,
            "vehicle",
            id=str(number),
            type=types[random.choice(len(types), p=fractions)],
            depart=f"{depart:.1f}",
            departLane="best",
            departPos="random_free",
            departSpeed="desired",
        )
        ElementTree.SubElement(vehicle, "route", edges=" ".join(streets.names[row] for row in route))
    ElementTree.ElementTree(root).write(path)


def _add_types(root: ElementTree.Element, traffic: TrafficParameters) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Add each type of vehicle with each type of driver; return their names and the probabilities of drawing them."""
    names, fractions = [], []
    for name, vehicle, driver in traffic.types():
        names.append(name)
        fractions.append(vehicle.fraction * driver.fraction)
        attributes = {
            "id": name,
            "vClass": "passenger",
            "length": vehicle.length,
            "width": vehicle.width,
            "carFollowModel": "EIDM",  # an intelligent driver model with reaction, jerk limits and small errors
            "accel": min(vehicle.acceleration, driver.acceleration),
            "decel": driver.deceleration,
            "tau": driver.headway,
            "minGap": driver.standstill_gap,
            "speedFactor": f"normc({driver.speed_factor},{traffic.speed_factor_deviation},0.5,1.3)",
            "maxSpeedLat": driver.lateral_speed,
            "latAlignment": driver.alignment,
            "lcSpeedGain": driver.overtaking,
            "lcStrategic": 3,  # change to the lane of the next turn early enough not to get stuck
            "minGapLat": 0.4,
        }
        ElementTree.SubElement(root, "vType", {key: str(value) for key, value in attributes.items()})
    weights = np.array(fractions)
    return names, weights / weights.sum()


def _draw_route(
    streets: Streets, weights: npt.NDArray[np.float64], min_trip: float, random: np.random.Generator
) -> list[int]:
    """Draw a route between two streets via a third that is long enough and uses no street twice."""
    for _ in range(_MAX_TRIES):
        start, via, end = random.choice(len(weights), 3, p=weights)
        if not np.isfinite(streets.time[start, via] + streets.time[via, end]):
            continue
        if np.hypot(*(streets.middle[start] - streets.middle[end])) < min_trip:
            continue
        route = streets.route(start, via)[:-1] + streets.route(via, end)
        if len(set(route)) == len(route):
            return route
    return [int(start)]


def park(
    lanes: dict[str, StreetLane], per_km: float, parking: ParkingParameters, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw the centres of parked vehicles, (P, 2) float64, metres; on average `per_km` per kilometre of kerb.

    The density of each street is drawn from an exponential distribution, so that some are full and some are empty.
    """
    kerb: dict[str, StreetLane] = {}
    for lane in lanes.values():
        if not lane.internal and (lane.edge not in kerb or lane.index < kerb[lane.edge].index):
            kerb[lane.edge] = lane
    places = [np.zeros((0, 2))]
    for lane in kerb.values():
        slots = int((arc_length(lane.points)[-1] - 2 * parking.junction_clearance) // parking.slot_length)
        if slots < 1:
            continue
        count = min(slots, random.poisson(per_km * slots * parking.slot_length / 1000 * random.exponential()))
        slot = np.sort(random.choice(slots, count, replace=False))
        at = parking.junction_clearance + parking.slot_length * (slot + random.uniform(0.4, 0.6, count))
        ahead = interpolate(lane.points, at + 0.5) - interpolate(lane.points, at - 0.5)
        right = np.stack([ahead[:, 1], -ahead[:, 0]], axis=-1) / np.maximum(np.hypot(*ahead.T), 1e-6)[:, None]
        beside = random.normal(parking.lateral_offset, parking.lateral_std, (count, 1))
        places.append(interpolate(lane.points, at) + beside * right)
    return np.concatenate(places)
