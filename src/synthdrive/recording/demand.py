"""Who drives where, and who is parked: the traffic that SUMO simulates."""

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

_MAX_TRIES = 200  # to find a trip that is long enough


@dataclass(frozen=True)
class Streets:
    """The N streets (SUMO edges) of a network and the quickest ways between them.

    Attributes:
        names: (N,) SUMO's ids.
        length: (N,) float64, metres.
        lanes: (N,) int64, how many lanes.
        speed: (N,) float64, m/s, the limit.
        middle: (N, 2) float64, metres, city frame.
        time: (N, N) float64, seconds from the start of one street to the start of another, infinite where no way leads.
        previous: (N, N) int32, the street before the second on the way from the first.
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
        """The streets that these lanes make up; see sumo_network.read_street_lanes."""
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

    def way(self, start: int, end: int) -> list[int]:
        """Rows of the streets on the quickest way, both ends included."""
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
    """Write one run's vehicle types and vehicles as a SUMO route file.

    Args:
        seconds: how long vehicles depart, from 0.
        random: draws everything.
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
    """Every kind of vehicle with every kind of driver; returns the names and how often each is drawn."""
    names, fractions = [], []
    for vehicle in traffic.vehicles:
        for driver in traffic.drivers:
            names.append(f"{vehicle.name}_{driver.name}")
            fractions.append(vehicle.fraction * driver.fraction)
            attributes = {
                "id": names[-1],
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
                "lcStrategic": 3,  # sort into the lane of the next turn early enough not to be stuck
                "minGapLat": 0.4,
            }
            ElementTree.SubElement(root, "vType", {key: str(value) for key, value in attributes.items()})
    weights = np.array(fractions)
    return names, weights / weights.sum()


def _draw_route(
    streets: Streets, weights: npt.NDArray[np.float64], min_trip: float, random: np.random.Generator
) -> list[int]:
    """A way between two streets over a third, long enough and without passing a street twice."""
    for _ in range(_MAX_TRIES):
        start, over, end = random.choice(len(weights), 3, p=weights)
        if not np.isfinite(streets.time[start, over] + streets.time[over, end]):
            continue
        if np.hypot(*(streets.middle[start] - streets.middle[end])) < min_trip:
            continue
        route = streets.way(start, over)[:-1] + streets.way(over, end)
        if len(set(route)) == len(route):
            return route
    return [int(start)]


def park(
    lanes: dict[str, StreetLane], per_km: float, parking: ParkingParameters, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """(P, 2) float64, metres: middles of the parked vehicles, `per_km` a km of kerb in the mean.

    Some streets are full and some are empty: the density of a street is drawn from an exponential distribution.
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
