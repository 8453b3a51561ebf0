"""The elements of an .osm file as Lanelet2 uses them: nodes, ways and relations with their tags."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import InputError
from synthdrive.formats.bounded_xml import BoundedXml, XmlBounds
from synthdrive.map_import.projection import corner, to_utm, utm_zone

Floats = npt.NDArray[np.float64]

BOUNDS = XmlBounds("an .osm file", tag_bytes=1 << 16, depth=16, elements=1 << 24)
LARGEST_LATITUDE, LARGEST_LONGITUDE = 84.0, 180.0  # degrees; UTM ends there
LARGEST_COORDINATE = 1e7  # m, as in the vector maps of Argoverse


@dataclass
class Element:
    """A way or relation: its id, line in the file, the nodes of a way, members (type, id, role) and tags."""

    name: str
    line: int
    nodes: list[str] = field(default_factory=list)
    members: list[tuple[str, str, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


class OsmFile:
    """Nodes, ways and relations of a file; what an editor has marked as deleted is passed over.

    Raises:
        InputError: the XML is damaged or hostile, an id is missing or stands twice.
    """

    def __init__(self, content: bytes, where: str) -> None:
        self.where = where
        self.ways: dict[str, Element] = {}
        self.relations: dict[str, Element] = {}
        self._rows: dict[str, int] = {}
        self._lines = array("q")
        self._values = array("d")  # latitude, longitude, local_x, local_y of each node; NaN where there is none
        self._node_open = False
        self._element: Element | None = None
        self._xml = BoundedXml(where, BOUNDS)
        self._xml.parse(content, self._start, self._end)

    def positions(self, names: set[str]) -> tuple[dict[str, Floats], str]:
        """Where these nodes are, metres, and in what frame.

        Nodes that all have tags local_x and local_y are where these say. Otherwise latitude and longitude count: UTM,
        less whole kilometres, so that coordinates are small.

        Raises:
            InputError: a node has neither, or they are no numbers on a map.
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
        """Whether the file has the node."""
        return name in self._rows

    def error(self, kind: str, element: Element, found: str, expected: str, advice: str = "") -> InputError:
        """An error at a way or relation."""
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
                self._values[len(self._values) - (2 if key == "local_x" else 1)] = self._number(key, value)
        elif tag == "nd" and element is not None:
            element.nodes.append(attributes.get("ref", ""))
        elif tag == "member" and element is not None:
            element.members.append(tuple(attributes.get(key, "") for key in ("type", "ref", "role")))  # type: ignore[arg-type]

    def _open(self, tag: str, attributes: dict[str, str]) -> None:
        name = attributes.get("id", "")
        known = self._rows if tag == "node" else self.ways if tag == "way" else self.relations
        if not name or name in known:
            found = f"{tag} {name[:40]!r} a second time" if name else f"a {tag} without id"
            raise self._xml.error(found, "ids that stand once")
        if tag == "node":
            self._rows[name] = len(self._rows)
            self._lines.append(self._xml.line)
            self._values.extend(_degrees(attributes.get(key, "")) for key in ("lat", "lon"))
            self._values.extend((math.nan, math.nan))
            self._node_open = True
            return
        self._element = Element(name, self._xml.line)
        (self.ways if tag == "way" else self.relations)[name] = self._element

    def _end(self, tag: str) -> None:
        if tag in ("node", "way", "relation"):
            self._node_open, self._element = False, None

    def _number(self, key: str, text: str) -> float:
        value = _degrees(text)
        if not abs(value) <= LARGEST_COORDINATE:
            raise self._xml.error(f"{key} {text[:40]!r}", f"{key} in metres")
        return value


def _degrees(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
