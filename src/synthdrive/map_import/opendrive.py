"""OpenDRIVE (.xodr): read roads, lane sections and junctions as in the file; opendrive_lanes.py makes lanes of them.

SUMO's netconvert is not used because it mistakes left-hand for right-hand traffic, does not know direct junctions, and
cuts lanes where they become narrow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from synthdrive.core.errors import InputError
from synthdrive.formats.bounded_xml import XmlBounds, XmlElement, read_tree
from synthdrive.map_import.opendrive_curves import Curve, Piecewise
from synthdrive.scenes.lane_map import LARGEST_COORDINATE

BOUNDS = XmlBounds("an OpenDRIVE file", tag_bytes=1 << 20, depth=64, elements=1 << 23)
SIDES = ("left", "center", "right")
KEPT = {
    *("OpenDRIVE", "road", "link", "predecessor", "successor", "planView", "geometry", "line", "arc", "spiral"),
    *("poly3", "paramPoly3", "lanes", "laneOffset", "laneSection", *SIDES, "lane", "width", "border", "signals"),
    *("signal", "signalReference", "validity", "junction", "connection", "laneLink"),
}  # the elements that the map needs; all others are skipped with everything inside them

LONGEST_ROAD = 1e6  # m
SHORTEST_SECTION = 0.01  # m; shorter lane sections are skipped
LEFT, RIGHT = 1, -1  # sides of the reference line


@dataclass(frozen=True)
class LaneRecord:
    """A lane of one lane section.

    Attributes:
        number: id of the lane, positive to the left of the reference line.
        kind: type of the lane: driving, sidewalk, ...
        direction: standard, reversed or both.
        width: width along the section, metres; if `border`, the distance of the outer edge from lane 0.
        border: whether the file gives the lane's border instead of its width.
        predecessors, successors: ids of the adjoining lanes, in the direction of the reference line.
    """

    number: int
    kind: str
    direction: str
    width: Piecewise
    border: bool
    predecessors: tuple[int, ...]
    successors: tuple[int, ...]


@dataclass(frozen=True)
class LaneSection:
    """A lane section.

    Attributes:
        start: metres along the road.
        stops: its end on each side that it describes, metres along the road: a section with `singleSide` describes one
            side only, and on the other side the section before it goes on.
        lanes: the lanes of these sides by id.
    """

    start: float
    stops: dict[int, float]
    lanes: dict[int, LaneRecord]


@dataclass(frozen=True)
class RoadEnd:
    """The link at an end of a road: to the start or end of another road (`contact`), or to a junction."""

    kind: str
    name: str
    contact: str
    element: XmlElement


@dataclass(frozen=True)
class Light:
    """A traffic light at a road, with the driving direction ("+", "-" or both) and lanes (none: all) it applies to."""

    orientation: str
    spans: tuple[tuple[int, int], ...]

    def rules(self, entry: str, number: int) -> bool:
        """Return whether it applies to lane `number` when driven from the end `entry` of the road."""
        facing = {"+": "start", "-": "end"}.get(self.orientation, entry) == entry
        return facing and (not self.spans or any(min(span) <= number <= max(span) for span in self.spans))


@dataclass(frozen=True)
class Road:
    """A road and its lane sections by start."""

    name: str
    element: XmlElement
    length: float
    junction: str
    left_hand: bool
    curves: tuple[Curve, ...]
    offset: Piecewise
    sections: tuple[LaneSection, ...]
    ends: dict[str, RoadEnd]
    lights: tuple[Light, ...]

    def places(self, side: int) -> list[int]:
        """Return the indices of the sections that describe a side."""
        return [place for place, section in enumerate(self.sections) if side in section.stops]


@dataclass(frozen=True)
class Connection:
    """A connection in a junction: pairs of lanes of the roads `incoming` and `other` that join."""

    junction: str
    incoming: str
    other: str
    contact: str
    lanes: tuple[tuple[int, int], ...]
    element: XmlElement


def read_roads(content: bytes, where: str) -> tuple[dict[str, Road], list[Connection]]:
    """Read the roads by id, in the order of the file, and the connections of all junctions.

    Raises:
        InputError: the XML is damaged or hostile, a number is missing or not finite, an id occurs twice, or a road has
            no geometry or no lanes.
    """
    root = read_tree(content, where, BOUNDS, "OpenDRIVE", KEPT)
    lights = {
        signal.get("id")
        for road in root.all("road")
        for group in road.all("signals")
        for signal in group.all("signal")
        if signal.get("dynamic") == "yes"
    }
    roads: dict[str, Road] = {}
    for element in root.all("road"):
        road = _road(element, lights)
        if road.name in roads:
            raise element.error("an id that occurs twice", "an id of its own for each road")
        roads[road.name] = road
    if not roads:
        raise InputError(where, "no road", "at least one <road>")
    connections = [
        _connection(junction, element) for junction in root.all("junction") for element in junction.all("connection")
    ]
    return roads, connections


def _road(element: XmlElement, lights: set[str]) -> Road:
    length = element.number("length", largest=LONGEST_ROAD)
    lanes, plan = element.first("lanes"), element.first("planView")
    curves = sorted((_curve(geometry) for geometry in plan.all("geometry")), key=lambda c: c.s) if plan else []
    curves = [curve for curve in curves if curve.length > 0]
    sections = [] if lanes is None else list(lanes.all("laneSection"))
    if length <= 0 or not curves or not sections or lanes is None:
        found = f"length {length:g}, {len(curves)} geometries, {len(sections)} lane sections"
        raise element.error(found, "a length above 0, and at least one geometry and lane section")
    return Road(
        name=element.get("id"),
        element=element,
        length=length,
        junction="" if element.get("junction", "-1") == "-1" else element.get("junction"),
        left_hand=element.get("rule").upper() == "LHT",
        curves=tuple(curves),
        offset=_piecewise(lanes, "laneOffset", "s"),
        sections=_sections(sections, length),
        ends=_road_ends(element),
        lights=tuple(_lights(element, lights)),
    )


def _sections(elements: list[XmlElement], length: float) -> tuple[LaneSection, ...]:
    """Return the lane sections of a road by start, without those that are too short."""
    starts = sorted((max(element.number("s"), 0.0), place) for place, element in enumerate(elements))
    stops: dict[int, dict[int, float]] = {place: {} for _, place in starts}
    for side in (LEFT, RIGHT):
        own = [(start, place) for start, place in starts if _describes(elements[place], side)]
        ends = [start for start, _ in own[1:]] + [length]
        kept = [begin for begin, end in zip(own, ends, strict=True) if end - begin[0] > SHORTEST_SECTION] or own[:1]
        for (_, place), end in zip(kept, [start for start, _ in kept[1:]] + [length], strict=False):
            stops[place][side] = end
    described = [(start, place) for start, place in starts if stops[place]]
    return tuple(LaneSection(start, stops[place], _lanes(elements[place], stops[place])) for start, place in described)


def _describes(section: XmlElement, side: int) -> bool:
    own, other = ("left", "right") if side == LEFT else ("right", "left")
    single = section.get("singleSide").lower() in ("true", "1")
    return not single or section.first(own) is not None or section.first(other) is None


def side_of(number: int) -> int:
    """Return the side of the reference line on which a lane is; lane 0 has no width and may be on either."""
    return LEFT if number > 0 else RIGHT


def _curve(geometry: XmlElement) -> Curve:
    shapes = [child for child in geometry.children if child.tag in ("line", "arc", "spiral", "poly3", "paramPoly3")]
    if len(shapes) != 1:
        raise geometry.error(f"{len(shapes)} shapes", "one of line, arc, spiral, poly3, paramPoly3")
    shape = shapes[0]
    x, y = (geometry.number(key, largest=LARGEST_COORDINATE) for key in ("x", "y"))
    length = geometry.number("length", largest=LONGEST_ROAD)
    stretch, kind, values = 0.0, "clothoid", tuple[float, ...]()
    if shape.tag == "line":
        values = (0.0, 0.0)
    elif shape.tag == "arc":
        values = (shape.number("curvature"),) * 2
    elif shape.tag == "spiral":
        values = (shape.number("curvStart"), shape.number("curvEnd"))
    else:
        kind = "cubic"
        if shape.tag == "poly3":
            values = (0.0, 1.0, 0.0, 0.0, *(shape.number(key) for key in "abcd"))
        else:
            values = tuple(shape.number(f"{key}{axis}") for axis in "UV" for key in "abcd")
            stretch = length if shape.get("pRange") == "arcLength" else 1.0
    return Curve(geometry.number("s"), x, y, geometry.number("hdg"), length, kind, values, stretch)


def _piecewise(parent: XmlElement, tag: str, start: str) -> Piecewise:
    pieces = [(child.number(start), tuple(child.number(key, 0.0) for key in "abcd")) for child in parent.all(tag)]
    return Piecewise(tuple(sorted(pieces)))


def _lanes(section: XmlElement, sides: Collection[int]) -> dict[int, LaneRecord]:
    lanes: dict[int, LaneRecord] = {}
    for element in (lane for side in section.all(*SIDES) for lane in side.all("lane")):
        number, link = element.integer("id"), element.first("link")
        if number in lanes:
            raise element.error("an id that occurs twice in its lane section", "an id of its own for each lane")
        border = element.first("width") is None and element.first("border") is not None
        lanes[number] = LaneRecord(
            number=number,
            kind=element.get("type").lower(),
            direction=element.get("direction", "standard").lower(),
            width=_piecewise(element, "border" if border else "width", "sOffset"),
            border=border,
            predecessors=tuple(end.integer("id") for end in link.all("predecessor")) if link else (),
            successors=tuple(end.integer("id") for end in link.all("successor")) if link else (),
        )
    return {number: lane for number, lane in lanes.items() if side_of(number) in sides}


def _road_ends(element: XmlElement) -> dict[str, RoadEnd]:
    link, ends = element.first("link"), {}
    for tag, end in (("predecessor", "start"), ("successor", "end")):
        follows = link.first(tag) if link else None
        if follows is not None and follows.get("elementId"):
            kind = follows.get("elementType", "road")
            ends[end] = RoadEnd(kind, follows.get("elementId"), follows.get("contactPoint"), follows)
    return ends


def _lights(element: XmlElement, lights: set[str]) -> Iterator[Light]:
    for group in element.all("signals"):
        for signal in group.all("signal", "signalReference"):
            if signal.get("id") in lights:
                spans = ((span.integer("fromLane"), span.integer("toLane")) for span in signal.all("validity"))
                yield Light(signal.get("orientation"), tuple(spans))


def _connection(junction: XmlElement, element: XmlElement) -> Connection:
    other = element.get("connectingRoad") or element.get("linkedRoad")
    lanes = tuple((link.integer("from"), link.integer("to")) for link in element.all("laneLink"))
    contact = element.get("contactPoint")
    return Connection(junction.get("id"), element.get("incomingRoad"), other, contact, lanes, element)
