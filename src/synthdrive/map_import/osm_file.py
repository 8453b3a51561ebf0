"""Read .osm files as Lanelet2 uses them: nodes, ways and relations with their tags, and node positions in metres."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import InputError
from synthdrive.formats.bounded_xml import BoundedXml, XmlBounds, number
from synthdrive.scenes.lane_map import LARGEST_COORDINATE

Floats = npt.NDArray[np.float64]

BOUNDS = XmlBounds("an .osm file", tag_bytes=1 << 16, depth=16, elements=1 << 24)
LARGEST_LATITUDE, LARGEST_LONGITUDE = 84.0, 180.0  # degrees, the range of UTM


@dataclass
class Element:
    """A way or relation: its id, its line in the file, its nodes (of a way), members (type, id, role) and tags."""

    name: str
    line: int
    nodes: list[str] = field(default_factory=list)
    members: list[tuple[str, str, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


class OsmFile:
    """Nodes, ways and relations of a file, without those that an editor has marked as deleted.

    Raises:
        InputError: the XML is damaged or hostile, or an id is missing or occurs twice.
    """

    def __init__(self, content: bytes, where: str) -> None:
        self.where = where
        self.ways: dict[str, Element] = {}
        self.relations: dict[str, Element] = {}
        self._rows: dict[str, int] = {}
        self._lines = array("q")
        self._values = array("d")  # latitude, longitude, local_x, local_y of each node; NaN if missing
        self._node_open = False
        self._element: Element | None = None
        self._xml = BoundedXml(where, BOUNDS)
        self._xml.parse(content, self._start, self._end)

    def positions(self, names: set[str]) -> tuple[dict[str, Floats], str]:
        """Return the position of each named node, (2,) metres, and a description of the frame.

        If all these nodes have tags local_x and local_y, these are the positions. Otherwise latitude and longitude are
        converted to UTM, minus whole kilometres to keep coordinates small.

        Raises:
            InputError: a node has neither, or its coordinates are out of range.
        """
        order = sorted(names, key=lambda name: self._rows[name])
        rows = np.array([self._rows[name] for name in order], dtype=np.int64)
        values = np.frombuffer(self._values, dtype=np.float64).reshape(-1, 4)[rows]
        local = (np.abs(values[:, 2:]) <= LARGEST_COORDINATE).all(axis=1)
        degrees = np.abs(values[:, 0]) <= LARGEST_LATITUDE
        degrees &= np.abs(values[:, 1]) <= LARGEST_LONGITUDE
        if local.all():
            return dict(zip(order, values[:, 2:].copy(), strict=True)), "local_x, local_y of the file"
        if not degrees.all():
            row = int(np.flatnonzero(~(local if local.any() else degrees))[0])
            lat, lon, x, y = values[row]
            raise InputError(
                f"{self.where}, line {self._lines[int(rows[row])]}, node {order[row][:40]!r}",
                f"latitude {lat:g}, longitude {lon:g}, local_x {x:g}, local_y {y:g}",
                f"a latitude within +-{LARGEST_LATITUDE:g} and a longitude within +-{LARGEST_LONGITUDE:g} degrees, or "
                "tags local_x and local_y in metres",
            )
        zone = utm_zone(values[:, 1])
        metres = to_utm(values[:, 0], values[:, 1], zone)
        origin = corner(metres.min(axis=0))
        return dict(
            zip(order, metres - origin, strict=True)
        ), f"UTM zone {zone}, less {origin[0]:.0f}, {origin[1]:.0f} m"

    def has_node(self, name: str) -> bool:
        """Return whether the file contains the node."""
        return name in self._rows

    def error(self, kind: str, element: Element, found: str, expected: str, advice: str = "") -> InputError:
        """Make an error that names the line of a way or relation."""
        return InputError(f"{self.where}, line {element.line}, {kind} {element.name[:40]!r}", found, expected, advice)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = self._element
        if tag in ("node", "way", "relation"):
            self._node_open, self._element = False, None
            if attributes.get("action") != "delete" and attributes.get("visible") != "false":
                self._open(tag, attributes)
        elif tag == "tag" and (element is not None or self._node_open):
            key, value = attributes.get("k", ""), attributes.get("v", "")
            if element is not None:
                element.tags[key] = value.strip()
            elif key in ("local_x", "local_y"):
                self._values[len(self._values) - (2 if key == "local_x" else 1)] = self._metres(key, value)
        elif tag == "nd" and element is not None:
            element.nodes.append(attributes.get("ref", ""))
        elif tag == "member" and element is not None:
            element.members.append(tuple(attributes.get(key, "") for key in ("type", "ref", "role")))  # type: ignore[arg-type]

    def _open(self, tag: str, attributes: dict[str, str]) -> None:
        name = attributes.get("id", "")
        known = self._rows if tag == "node" else self.ways if tag == "way" else self.relations
        if not name or name in known:
            found = f"{tag} {name[:40]!r} a second time" if name else f"a {tag} without id"
            raise self._xml.error(found, "an id that occurs once")
        if tag == "node":
            self._rows[name] = len(self._rows)
            self._lines.append(self._xml.line)
            self._values.extend(number(attributes.get(key, "")) for key in ("lat", "lon"))
            self._values.extend((math.nan, math.nan))
            self._node_open = True
            return
        self._element = Element(name, self._xml.line)
        (self.ways if tag == "way" else self.relations)[name] = self._element

    def _end(self, tag: str) -> None:
        if tag in ("node", "way", "relation"):
            self._node_open, self._element = False, None

    def _metres(self, key: str, text: str) -> float:
        value = number(text)
        if not abs(value) <= LARGEST_COORDINATE:
            raise self._xml.error(f"{key} {text[:40]!r}", f"{key} in metres")
        return value


# Universal Transverse Mercator on WGS 84 by Krueger's series, accurate to 1 mm
_AXIS, _FLATTENING = 6378137.0, 1 / 298.257223563  # WGS 84, m
_SCALE, _FALSE_EASTING = 0.9996, 500_000.0  # UTM, m
_N = _FLATTENING / (2 - _FLATTENING)
_RADIUS = _AXIS / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_ALPHA = (
    _N / 2 - 2 / 3 * _N**2 + 5 / 16 * _N**3,
    13 / 48 * _N**2 - 3 / 5 * _N**3,
    61 / 240 * _N**3,
)
GRID = 1000.0  # m; the origin of the frame is a corner of UTM's kilometre grid


def utm_zone(longitudes: Floats) -> int:
    """Return the zone, 1 to 60, of the middle of these longitudes, (N,) degrees."""
    middle = (float(longitudes.min()) + float(longitudes.max())) / 2
    return min(int((middle + 180.0) // 6.0) + 1, 60)


def to_utm(latitudes: Floats, longitudes: Floats, zone: int) -> Floats:
    """Convert degrees (N,) to easting and northing, (N, 2) metres; the northing is negative south of the equator."""
    phi = np.radians(latitudes)
    away = np.radians(longitudes - (zone * 6.0 - 183.0))
    root = 2 * math.sqrt(_N) / (1 + _N)
    t = np.sinh(np.arctanh(np.sin(phi)) - root * np.arctanh(root * np.sin(phi)))
    xi, eta = np.arctan2(t, np.cos(away)), np.arctanh(np.sin(away) / np.sqrt(1 + t**2))
    north, east = xi.copy(), eta.copy()
    for k, alpha in enumerate(_ALPHA, start=1):
        north += alpha * np.sin(2 * k * xi) * np.cosh(2 * k * eta)
        east += alpha * np.cos(2 * k * xi) * np.sinh(2 * k * eta)
    return np.stack([_FALSE_EASTING + _SCALE * _RADIUS * east, _SCALE * _RADIUS * north], axis=-1)


def corner(low: Floats) -> Floats:
    """Return the corner of the kilometre grid south-west of a point (2,), metres; a frame's origin lies there."""
    south_west: Floats = np.floor(low / GRID) * GRID
    return south_west
