"""SUMO networks (.net.xml) and OpenStreetMap extracts (.osm): read the lanes that cars may use, with netconvert."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

import numpy as np

from synthdrive.config.record_sample import StreetParameters
from synthdrive.core.errors import InputError
from synthdrive.formats.bounded_xml import BoundedXml, XmlBounds, number
from synthdrive.map_import.osm_file import corner
from synthdrive.map_import.street_lanes import StreetLane
from synthdrive.map_import.street_network import redraw
from synthdrive.map_import.sumo_programs import VEHICLE_CLASS, netconvert
from synthdrive.scenes.lane_map import LARGEST_COORDINATE

TURNS = {"l": -1, "L": -1, "t": -1, "r": 1, "R": 1, "s": 0}  # SUMO's directions as Argoverse's LEFT, RIGHT, NONE
_NOT_STREETS = ("crossing", "walkingarea", "connector")

NETWORK_BOUNDS = XmlBounds("a SUMO network", tag_bytes=1 << 22, depth=16, elements=1 << 24)
OSM_BOUNDS = XmlBounds("an OpenStreetMap extract", tag_bytes=1 << 16, depth=16, elements=1 << 24)
LARGEST_EXTENT = 300_000.0  # m; a street of this length is a mistake, and takes a minute to redraw
MOST_LANES = 32  # per street, in one or both directions; netconvert itself has no limit
# Merge junctions that OpenStreetMap draws as several nodes; recognise roundabouts and traffic lights.
OSM_OPTIONS = ["--keep-edges.by-vclass", VEHICLE_CLASS, "--geometry.remove", "true", "--roundabouts.guess", "true"]
OSM_OPTIONS += ["--junctions.join", "true", "--tls.guess-signals", "true", "--tls.discard-simple", "true"]
OSM_OPTIONS += ["--tls.join", "true"]

_ZONE = re.compile(r"\+proj=utm \+zone=([0-9]{1,2})\b")


def read_street_lanes(network: Path) -> dict[str, StreetLane]:
    """Read the lanes by name, in the order of the file; raise InputError if there is none for cars."""
    root = ElementTree.parse(network).getroot()
    side = -1 if root.get("lefthand") == "true" else 1  # with left-hand traffic, SUMO counts lanes from the left
    lanes = {}
    for edge in root.iter("edge"):
        if edge.get("function") in _NOT_STREETS:
            continue
        for lane in filter(_allowed, edge.iter("lane")):
            points = np.array([[float(v) for v in point.split(",")[:2]] for point in lane.get("shape", "").split()])
            lanes[lane.get("id", "")] = StreetLane(
                name=lane.get("id", ""),
                edge=edge.get("id", ""),
                index=side * int(lane.get("index", "0")),
                points=points,
                speed=float(lane.get("speed", "0")),
                internal=edge.get("function") == "internal",
            )
    if not lanes:
        raise InputError(network, f"no lane for {VEHICLE_CLASS} cars", "a network of streets")
    _join(root, lanes)
    return lanes


def _allowed(lane: ElementTree.Element) -> bool:
    allow, disallow = lane.get("allow"), lane.get("disallow", "")
    return VEHICLE_CLASS in allow.split() if allow is not None else VEHICLE_CLASS not in disallow.split()


def _join(root: ElementTree.Element, lanes: dict[str, StreetLane]) -> None:
    """Set successors, and the turn, junction and traffic light of lanes across junctions."""
    links: dict[str, set[str]] = defaultdict(set)  # the streets after ("from") and before ("to") each street
    across = []
    for connection in root.iter("connection"):
        source = f"{connection.get('from')}_{connection.get('fromLane')}"
        target = f"{connection.get('to')}_{connection.get('toLane')}"
        via = connection.get("via")
        following = via or target
        if source not in lanes or following not in lanes or target not in lanes:
            continue
        lanes[source].successors.append(following)
        if via is None:
            continue
        inner = lanes[via]
        inner.turn = TURNS.get(connection.get("dir", "s"), 0)
        inner.signalled = connection.get("tl") is not None or (lanes[source].internal and lanes[source].signalled)
        if not lanes[source].internal:
            links[f"from {lanes[source].edge}"].add(lanes[target].edge)
            links[f"to {lanes[target].edge}"].add(lanes[source].edge)
            across.append((source, via, target))
    for source, via, target in across:
        forks = len(links[f"from {lanes[source].edge}"]) > 1 or len(links[f"to {lanes[target].edge}"]) > 1
        part = lanes[via]
        while part.internal:
            part.in_junction, part.turn = forks, lanes[via].turn if forks else 0
            part.signalled = lanes[via].signalled
            part = lanes[part.successors[0]]


def read_sumo(content: bytes, where: str, folder: Path, streets: StreetParameters) -> tuple[dict[str, StreetLane], str]:
    """Read the lanes of a SUMO network by name, and their frame.

    Args:
        content: content of the file.
        where: name of the file, for messages.
        folder: empty folder for the files that netconvert reads and writes.
        streets: how the network is redrawn.

    Raises:
        InputError: the XML is damaged or hostile, a coordinate is not a number, netconvert refuses the network, or it
            has no lane for cars.
    """
    _check(content, where, NETWORK_BOUNDS)
    source = folder / "source.net.xml"
    source.write_bytes(content)
    _check_extent(source, where)
    return _lanes(redraw(source, folder, streets, where, whole=True), where), "as in the file"


def read_openstreetmap(
    content: bytes, where: str, folder: Path, streets: StreetParameters, left_hand: bool = False
) -> tuple[dict[str, StreetLane], str]:
    """Read the lanes of an OpenStreetMap extract by name, and their frame.

    Args:
        left_hand: traffic keeps left; the other arguments and the errors are those of `read_sumo`.
    """
    _check(content, where, OSM_BOUNDS)
    source, network = folder / "source.osm.xml", folder / "osm.net.xml"
    source.write_bytes(content)
    side = ["--lefthand", "true"] if left_hand else []
    netconvert(folder, where, ["--osm-files", source, "-o", network, *OSM_OPTIONS, *side])
    _check_extent(network, where)
    lanes = _lanes(redraw(network, folder, streets, where, whole=True), where)
    low = np.min([lane.points.min(axis=0) for lane in lanes.values()], axis=0)
    origin = corner(low)
    for lane in lanes.values():
        lane.points = lane.points - origin
    return lanes, f"UTM zone {_zone(network)}, less {origin[0]:.0f}, {origin[1]:.0f} m"


def _lanes(network: Path, where: str) -> dict[str, StreetLane]:
    try:
        return read_street_lanes(network)
    except InputError as error:
        raise InputError(where, error.found, error.expected) from None


def _zone(network: Path) -> str:
    location = next((e for _, e in ElementTree.iterparse(network) if e.tag == "location"), None)
    found = _ZONE.search(location.get("projParameter", "") if location is not None else "")
    return found[1] if found else "unknown"


def _check_extent(network: Path, where: str) -> None:
    """Raise InputError if a network extends farther than LARGEST_EXTENT."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for _, element in ElementTree.iterparse(network):
        if element.tag in ("lane", "edge"):
            for point in element.get("shape", "").split():
                place = [float(text) for text in point.split(",")[:2]]
                low, high = np.minimum(low, place), np.maximum(high, place)
        element.clear()
    if (high - low).max(initial=0.0) > LARGEST_EXTENT:
        found = f"streets that reach over {(high - low).max() / 1000:.0f} km"
        raise InputError(where, found, f"at most {LARGEST_EXTENT / 1000:.0f} km", "Cut the map into smaller parts.")


def _check(content: bytes, where: str, bounds: XmlBounds) -> None:
    """Refuse what netconvert would accept: elements that include other files, and coordinates that are not numbers."""
    xml = BoundedXml(where, bounds)

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag.rpartition(":")[2] == "include":
            raise xml.error("an element that includes another file", "one file with the whole map")
        name = f"{tag} {attributes.get('id', '')[:40]!r}"
        points = [point.split(",") for point in attributes.get("shape", "").split()]
        if any(len(point) not in (2, 3) for point in points):
            raise xml.error(f"{name} with shape {attributes['shape'][:40]!r}", "points of two coordinates, or three")
        numbers = [(key, attributes[key]) for key in ("x", "y") if key in attributes]
        for key, text in numbers + [("shape", text) for point in points for text in point]:
            if not abs(number(text)) <= LARGEST_COORDINATE:
                raise xml.error(f"{name} with {key} {text[:40]!r}", f"{key} in metres")
        lanes = attributes.get("v", "") if attributes.get("k", "").startswith("lanes") else ""
        if tag == "tag" and number(lanes) > MOST_LANES:
            raise xml.error(f"{attributes['k'][:40]} {lanes[:40]!r}", f"at most {MOST_LANES} lanes")
        for key, largest in (("lat", 90.0), ("lon", 180.0)) if tag == "node" else ():
            text = attributes.get(key, "0")
            if not abs(number(text)) <= largest:
                raise xml.error(f"{name} with {key} {text[:40]!r}", f"{key} within +-{largest:g} degrees")

    xml.parse(content, start, lambda tag: None)
