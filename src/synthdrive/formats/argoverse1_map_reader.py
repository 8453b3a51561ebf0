"""Reader of HD maps in the official Argoverse 1 layout: `map_files/pruned_argoverse_<CITY>_<id>_vector_map.xml`."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import InputError
from synthdrive.formats.archives import Limits, read_files
from synthdrive.formats.bounded_xml import BoundedXml, XmlBounds
from synthdrive.scenes.lane_map import LARGEST_COORDINATE, MAX_POINTS, NO_LANE, LaneMap, LaneSegments, Links

VECTOR_MAP = re.compile(r"(?:pruned_argoverse_)?(?P<city>[A-Za-z0-9_-]+)_(?P<id>[0-9]+)_vector_map\.xml")
TURNS = {"LEFT": -1, "NONE": 0, "RIGHT": 1}
TRUTH = {"True": True, "False": False}
NO_NEIGHBOUR = "None"
LONGEST_ID = 18  # digits that fit into 64 bits

# Official maps have tags of 70 bytes, 3 levels of elements, and a tenth of this number of elements.
BOUNDS = XmlBounds("an Argoverse vector map", tag_bytes=1 << 16, depth=16, elements=1 << 22)
MOST_LANES = 1 << 17  # ten times those of the largest official map


@dataclass
class _Way:
    lane_id: str
    line: int
    nodes: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    successors: list[str] = field(default_factory=list)
    predecessors: list[str] = field(default_factory=list)


def read_maps(source: Path, limits: Limits, on_dangling_link: str = "error") -> Iterator[LaneMap]:
    """Yield every vector map of a tarball or folder, sorted by city; all other files are ignored.

    Args:
        source: `hd_maps.tar.gz`, or a folder with the same contents.
        limits: largest sizes of the unpacked archive and of a file.
        on_dangling_link: see `read_map`.

    Raises:
        InputError: there is no map, two maps are of the same city, or a map cannot be used.
    """
    maps: dict[str, LaneMap] = {}
    for name, content in read_files(source, lambda name: bool(VECTOR_MAP.fullmatch(PurePosixPath(name).name)), limits):
        where = f"{source}: {name}"
        lane_map = read_map(content, _city_of(name), where, on_dangling_link)
        if lane_map.city in maps:
            raise InputError(where, f"a second map of {lane_map.city}", "one vector map for each city")
        maps[lane_map.city] = lane_map
    if not maps:
        raise InputError(source, "no vector map", "map_files/pruned_argoverse_<CITY>_<id>_vector_map.xml")
    yield from (maps[city] for city in sorted(maps))


def _city_of(name: str) -> str:
    match = VECTOR_MAP.fullmatch(PurePosixPath(name).name)
    if match is None:
        raise InputError(name, "a name without a city", "pruned_argoverse_<CITY>_<id>_vector_map.xml")
    return match["city"]


def read_map(content: bytes, city: str, where: str, on_dangling_link: str = "error") -> LaneMap:
    """Read a vector map.

    Args:
        content: the XML file.
        city: name of the map, as in the scenes.
        where: the file, for messages.
        on_dangling_link: "error", or "drop" to ignore links to lanes that are not in the file.

    Returns:
        The lanes in the order of the file, metres, city frame.

    Raises:
        InputError: the XML is damaged, declares entities or exceeds BOUNDS; a lane lacks an attribute, has an unknown
            value, fewer than 2 distinct or more than 10 points, or a missing node; an id occurs twice; a link leads to
            a missing lane.
    """
    parser = _VectorMapParser(where)
    parser.parse(content)
    rows = {way.lane_id: row for row, way in enumerate(parser.ways)}
    if not rows:
        raise InputError(where, "no lane", "at least one <way lane_id=...>")
    links = _Linker(where, rows, on_dangling_link == "drop")
    ways = parser.ways
    return LaneMap(
        city=city,
        segments=_segments(parser),
        left=np.array([links.neighbour(way, "l_neighbor_id") for way in ways], dtype=np.int64),
        right=np.array([links.neighbour(way, "r_neighbor_id") for way in ways], dtype=np.int64),
        successors=Links.from_lists([links.rows(way, "successor", way.successors) for way in ways]),
        predecessors=Links.from_lists([links.rows(way, "predecessor", way.predecessors) for way in ways]),
    )


class _VectorMapParser:
    """Collects the nodes and ways of a vector map."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.node_rows: dict[str, int] = {}
        self.coordinates = array("d")
        self.ways: list[_Way] = []
        self._ids: set[str] = set()
        self._way: _Way | None = None
        self._xml = BoundedXml(where, BOUNDS)

    def parse(self, content: bytes) -> None:
        self._xml.parse(content, self._start, self._end)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        way = self._way
        if tag == "nd" and way is not None:
            way.nodes.append(attributes.get("ref", ""))
        elif tag == "node":
            self._node(attributes)
        elif tag == "tag" and way is not None:
            key, value = attributes.get("k", ""), attributes.get("v", "")
            if key == "successor":
                way.successors.append(value)
            elif key == "predecessor":
                way.predecessors.append(value)
            else:
                way.tags[key] = value
        elif tag == "way":
            self._start_way(attributes.get("lane_id", ""))

    def _node(self, attributes: dict[str, str]) -> None:
        try:
            self.coordinates.extend((float(attributes["x"]), float(attributes["y"])))
            name = attributes["id"]
        except (KeyError, ValueError):
            raise self._xml.error(f"node {str(attributes)[:100]}", "id, x and y, numbers in metres") from None
        if self.node_rows.setdefault(name, len(self.node_rows)) != len(self.coordinates) // 2 - 1:
            raise self._xml.error(f"node {name[:40]!r} a second time", "unique ids")

    def _start_way(self, lane_id: str) -> None:
        if not (lane_id.isascii() and lane_id.isdecimal() and len(lane_id) <= LONGEST_ID):
            raise self._xml.error(f"lane_id {lane_id[:40]!r}", "a whole number")
        if lane_id in self._ids:
            raise self._xml.error(f"lane {lane_id} a second time", "unique ids")
        if len(self._ids) == MOST_LANES:
            raise self._xml.error(f"more than {MOST_LANES} lanes", "fewer lanes")
        self._ids.add(lane_id)
        self._way = _Way(lane_id, self._xml.line)
        self.ways.append(self._way)

    def _end(self, tag: str) -> None:
        if tag == "way":
            self._way = None


def _segments(parser: _VectorMapParser) -> LaneSegments:
    ways, where = parser.ways, parser.where
    for way in ways:
        if not 2 <= len(way.nodes) <= MAX_POINTS:
            raise InputError(_lane_name(where, way), f"{len(way.nodes)} centreline points", f"2 to {MAX_POINTS}")
    counts = np.array([len(way.nodes) for way in ways], dtype=np.int64)
    points = np.zeros((len(ways), MAX_POINTS, 2))
    points[np.arange(MAX_POINTS) < counts[:, None]] = _node_points(parser)
    segments = LaneSegments(
        lane_ids=np.array([int(way.lane_id) for way in ways], dtype=np.int64),
        points=points,
        counts=counts,
        turn=np.array([_attribute(where, way, "turn_direction", TURNS) for way in ways], dtype=np.int8),
        is_intersection=np.array([_attribute(where, way, "is_intersection", TRUTH) for way in ways], dtype=np.bool_),
        has_traffic_control=np.array(
            [_attribute(where, way, "has_traffic_control", TRUTH) for way in ways], dtype=np.bool_
        ),
    )
    moved = ((points != points[:, :1]) & segments.valid[..., None]).any(axis=(1, 2))
    if not moved.all():
        way = ways[int(np.flatnonzero(~moved)[0])]
        raise InputError(
            _lane_name(where, way), "centreline points that are all the same", "at least 2 distinct points"
        )
    return segments


def _node_points(parser: _VectorMapParser) -> npt.NDArray[np.float64]:
    """Return (N, 2) positions, metres, city frame, of the nodes of all ways, in order."""
    coordinates = np.frombuffer(parser.coordinates, dtype=np.float64).reshape(-1, 2)
    wrong = np.flatnonzero(~(np.abs(coordinates) <= LARGEST_COORDINATE).all(axis=1))
    if wrong.size:
        name = next(name for name, row in parser.node_rows.items() if row == wrong[0])
        found = f"({coordinates[wrong[0], 0]}, {coordinates[wrong[0], 1]})"
        raise InputError(f"{parser.where}, node {name[:40]!r}", found, "finite city coordinates in metres")
    try:
        rows = [parser.node_rows[node] for way in parser.ways for node in way.nodes]
    except KeyError:
        way, node = next((way, node) for way in parser.ways for node in way.nodes if node not in parser.node_rows)
        found = f"node {node[:40]!r}, which is not in the file"
        raise InputError(_lane_name(parser.where, way), found, "a node of the file") from None
    return coordinates[rows]


def _attribute(where: str, way: _Way, key: str, allowed: dict[str, int] | dict[str, bool]) -> int | bool:
    value = way.tags.get(key)
    if value is None or value not in allowed:
        found = f"no {key}" if value is None else f"{key} {value[:40]!r}"
        raise InputError(_lane_name(where, way), found, f"{key} as one of {', '.join(allowed)}")
    return allowed[value]


def _lane_name(where: str, way: _Way) -> str:
    return f"{where}, line {way.line}, lane {way.lane_id}"


@dataclass(frozen=True)
class _Linker:
    where: str
    rows_by_id: dict[str, int]
    drop: bool

    def rows(self, way: _Way, kind: str, ids: list[str]) -> list[int]:
        return [self.rows_by_id[lane_id] for lane_id in dict.fromkeys(ids) if self._resolves(way, kind, lane_id)]

    def neighbour(self, way: _Way, kind: str) -> int:
        lane_id = way.tags.get(kind, NO_NEIGHBOUR)
        if lane_id == NO_NEIGHBOUR or not self._resolves(way, kind, lane_id):
            return NO_LANE
        return self.rows_by_id[lane_id]

    def _resolves(self, way: _Way, kind: str, lane_id: str) -> bool:
        if lane_id not in self.rows_by_id and not self.drop:
            raise InputError(
                _lane_name(self.where, way), f"{kind} {lane_id[:40]!r}, which is not in the map", "a lane of the map",
                "Set ingest.on_dangling_link to drop to ignore such links.",
            )  # fmt: skip
        return lane_id in self.rows_by_id
