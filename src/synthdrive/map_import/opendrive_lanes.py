"""OpenDRIVE: make lanes of the lane sections that cars may use, and link them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import InputError
from synthdrive.formats.bounded_xml import XmlElement
from synthdrive.map_import.opendrive import (
    LEFT,
    RIGHT,
    Connection,
    LaneRecord,
    Road,
    read_roads,
    side_of,
)
from synthdrive.map_import.opendrive_curves import reference_line
from synthdrive.map_import.street_lanes import StreetLane, drop_gaps, meet, set_turns
from synthdrive.scenes.lane_map import LARGEST_COORDINATE

CAR_LANES = {
    *("driving", "bidirectional", "entry", "exit", "onramp", "offramp", "connectingramp", "sliplane", "hov"),
    *("mwyentry", "mwyexit"),
}
STEP = 1.0  # m between the points of a lane
MOST_POINTS = 1 << 22  # of all lanes together, about 4,000 km
MIN_WIDTH = 1.0  # m; a lane that is narrower than this everywhere is left out
OTHER_END = {"start": "end", "end": "start"}

Key = tuple[str, int, int]  # road, lane section, lane id
LaneEnd = tuple[Key, str]  # a lane, and "start" or "end" in the direction of the reference line


@dataclass(frozen=True)
class _Drawn:
    """Centreline of a lane in the direction of the reference line, (P, 2) metres; the ends from which it is driven."""

    points: npt.NDArray[np.float64]
    entries: tuple[str, ...]


def read_opendrive(
    content: bytes, where: str, skip_broken: bool = False
) -> tuple[dict[str, StreetLane], dict[str, int]]:
    """Read the lanes by name (`road.section.lane`), and the number of objects left out by kind.

    Args:
        content: content of the file.
        where: name of the file, for messages.
        skip_broken: ignore links to roads that the file does not contain, instead of raising.

    Raises:
        InputError: see `opendrive.read_roads`; a road or connection links to a road that the file does not contain;
            there is no lane for cars.
    """
    roads, connections = read_roads(content, where)
    drawn, narrow, size = dict[Key, _Drawn](), 0, 0
    for road in roads.values():
        size += int(road.length / STEP + 2) * sum(len(section.lanes) for section in road.sections)
        if size > MOST_POINTS:
            raise road.element.error(f"more than {MOST_POINTS} m of lanes up to here", "the map of a city")
        for key, lane in _draw(road):
            if lane is None:
                narrow += 1
            else:
                drawn[key] = lane
    if not drawn:
        raise InputError(where, "no lane for cars", "at least one lane of type driving")
    contacts = _Contacts(roads, drawn, skip_broken)
    contacts.along_roads()
    for connection in connections:
        contacts.in_junction(connection)
    lanes = _street_lanes(roads, drawn, contacts.found)
    left_out = {"lanes nowhere wider than 1 m": narrow, "links to nowhere": contacts.dangling}
    left_out["links across a gap"] = drop_gaps(lanes)
    meet(lanes)
    set_turns(lanes)
    return lanes, left_out


def _draw(road: Road) -> Iterator[tuple[Key, _Drawn | None]]:
    """Yield the lanes for cars of a road; None for a lane that is too narrow."""
    for place, section in enumerate(road.sections):
        for side, stop in section.stops.items():
            lanes = [section.lanes[number] for number in sorted(section.lanes, key=abs) if number * side > 0]
            if not any(_for_cars(lane) for lane in lanes):
                continue
            s = np.linspace(section.start, stop, max(2, math.ceil((stop - section.start) / STEP) + 1))
            middle, heading = reference_line(road.curves, s)
            normal = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
            offset, inner = road.offset.before(stop).at(s), np.zeros_like(s)
            for lane in lanes:
                width = lane.width.before(stop - section.start).at(s - section.start)
                width = np.maximum(np.abs(width) - inner if lane.border else width, 0.0)
                if _for_cars(lane):
                    points = middle + (offset + side * (inner + width / 2))[:, None] * normal
                    if not (np.abs(points) <= LARGEST_COORDINATE).all():
                        raise road.element.error(f"lane {lane.number} out of any map", "coordinates in metres")
                    wide = float(width.max()) >= MIN_WIDTH
                    yield (road.name, place, lane.number), _Drawn(points, _entries(road, lane)) if wide else None
                inner = inner + width


def _for_cars(lane: LaneRecord) -> bool:
    return lane.number != 0 and lane.kind in CAR_LANES


def _entries(road: Road, lane: LaneRecord) -> tuple[str, ...]:
    """Return the ends, in the direction of the reference line, from which the lane is driven."""
    if lane.kind == "bidirectional" or lane.direction == "both":
        return ("start", "end")
    along = (lane.number < 0) != road.left_hand
    return ("start",) if along != (lane.direction == "reversed") else ("end",)


class _Contacts:
    """Pairs of lane ends that join according to the links of lanes, roads and junctions."""

    def __init__(self, roads: dict[str, Road], drawn: dict[Key, _Drawn], skip_broken: bool) -> None:
        self.found: dict[tuple[LaneEnd, LaneEnd], None] = {}
        self.dangling = 0
        self._roads, self._drawn, self._skip = roads, drawn, skip_broken
        self._places = {(name, side): road.places(side) for name, road in roads.items() for side in (LEFT, RIGHT)}

    def along_roads(self) -> None:
        """Add the links between lanes within each road and to the next road."""
        for road in self._roads.values():
            for place, section in enumerate(road.sections):
                for lane in filter(_for_cars, section.lanes.values()):
                    places = self._places[road.name, side_of(lane.number)]
                    for end, step, numbers in (("start", -1, lane.predecessors), ("end", 1, lane.successors)):
                        here = ((road.name, place, lane.number), end)
                        there = bisect_left(places, place) + step
                        if 0 <= there < len(places):
                            for number in numbers:
                                self._add(here, [((road.name, places[there], number), OTHER_END[end])])
                        elif end in road.ends and road.ends[end].kind == "road":
                            follows = road.ends[end]
                            ends = self._road_ends(follows.name, follows.contact, follows.element)
                            for number in numbers:
                                self._add(here, self._lane_ends(ends, number))

    def in_junction(self, connection: Connection) -> None:
        """Add the links of a connection, at the nearest end of the incoming road unless the road says which one."""
        if not connection.incoming or not connection.other:
            self.dangling += 1
            return
        before = self._road_ends(connection.incoming, "", connection.element)
        after = self._road_ends(connection.other, connection.contact, connection.element)
        if not before or not after:
            return
        ends = self._roads[connection.incoming].ends
        here = {
            end for end, follows in ends.items() if (follows.kind, follows.name) == ("junction", connection.junction)
        }
        before = [end for end in before if end[1] in here] or before
        for number, other in connection.lanes:
            there = self._lane_ends(after, other)
            known = [lane_end for lane_end in self._lane_ends(before, number) if lane_end[0] in self._drawn]
            options = [(self._distance(lane_end, there), lane_end) for lane_end in known]
            if options:
                self._add(min(options)[1], there)

    def _road_ends(self, name: str, contact: str, element: XmlElement) -> list[tuple[str, str]]:
        """Return the ends (road, end) of a road to which a link may refer."""
        if name not in self._roads:
            if not self._skip:
                raise InputError(
                    f"{element.where}, line {element.line}, {element.tag}",
                    f"road {name[:40]!r}, which the file does not have", "a road of the file",
                    "--skip-broken ignores such links.",
                )  # fmt: skip
            self.dangling += 1
            return []
        both = [(name, "start"), (name, "end")]
        return [end for end in both if end[1] == contact] or both

    def _lane_ends(self, ends: list[tuple[str, str]], number: int) -> list[LaneEnd]:
        """Return the ends of lane `number` at these road ends: in the outermost section of its side."""
        found = []
        for name, end in ends:
            places = self._places[name, side_of(number)] or [0]
            found.append(((name, places[0 if end == "start" else -1], number), end))
        return found

    def _add(self, here: LaneEnd, there: list[LaneEnd]) -> None:
        """Join a lane end to the nearest of these lane ends that belongs to a lane for cars."""
        known = [lane_end for lane_end in there if lane_end[0] in self._drawn]
        if here[0] in self._drawn and known:
            nearest = min(known, key=lambda lane_end: self._gap(here, lane_end))
            self.found[here, nearest] = None
        elif there and not any(number in self._roads[name].sections[place].lanes for (name, place, number), _ in there):
            self.dangling += 1

    def _distance(self, here: LaneEnd, there: list[LaneEnd]) -> float:
        return min((self._gap(here, end) for end in there if end[0] in self._drawn), default=math.inf)

    def _gap(self, one: LaneEnd, other: LaneEnd) -> float:
        first, second = (self._drawn[key].points[0 if end == "start" else -1] for key, end in (one, other))
        return float(np.hypot(*(first - second)))


def _street_lanes(
    roads: dict[str, Road], drawn: dict[Key, _Drawn], contacts: dict[tuple[LaneEnd, LaneEnd], None]
) -> dict[str, StreetLane]:
    """Make lanes in driving direction with their successors; a lane that is driven both ways becomes two."""
    lanes, names = dict[str, StreetLane](), dict[LaneEnd, str]()
    for (road, place, number), lane in drawn.items():
        for entry in lane.entries:
            along = entry == "start"
            name = f"{road}.{place}.{number}" + ("" if len(lane.entries) == 1 else "+" if along else "-")
            names[(road, place, number), entry] = name
            rank = number if number < 0 else number - 1  # consecutive, because lane 0 is not a lane
            lanes[name] = StreetLane(
                name=name,
                edge=f"{road}.{place}.{entry}",
                index=rank if along else -rank,
                points=lane.points if along else lane.points[::-1],
                speed=0.0,
                internal=bool(roads[road].junction),
                in_junction=bool(roads[road].junction),
            )
    for pair in contacts:
        for (key, end), (other, start) in (pair, pair[::-1]):
            before, after = names.get((key, OTHER_END[end])), names.get((other, start))
            if before and after and after not in lanes[before].successors:
                lanes[before].successors.append(after)
    for (key, entry), name in names.items():
        if any(light.rules(entry, key[2]) for light in roads[key[0]].lights):
            for ruled in (name, *lanes[name].successors):
                lanes[ruled].signalled = lanes[ruled].in_junction
    return lanes
