"""The elements of an OpenDRIVE file that a lane map is made of, with their lines, for messages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from synthdrive.core.errors import InputError
from synthdrive.formats.bounded_xml import BoundedXml, XmlBounds

BOUNDS = XmlBounds("an OpenDRIVE file", tag_bytes=1 << 20, depth=64, elements=1 << 23)
SIDES = ("left", "center", "right")
KEPT = {
    *("OpenDRIVE", "road", "link", "predecessor", "successor", "planView", "geometry", "line", "arc", "spiral"),
    *("poly3", "paramPoly3", "lanes", "laneOffset", "laneSection", *SIDES, "lane", "width", "border", "signals"),
    *("signal", "signalReference", "validity", "junction", "connection", "laneLink"),
}  # what the map is made of; whatever else there is, and all inside it, is passed over


@dataclass
class Element:
    """An XML element: its name, attributes, line in the file, and the elements inside."""

    where: str
    tag: str
    attributes: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)

    def all(self, *tags: str) -> Iterator[Element]:
        """Children of these names."""
        return (child for child in self.children if child.tag in tags)

    def first(self, tag: str) -> Element | None:
        """The first child of this name."""
        return next(self.all(tag), None)

    def get(self, key: str, default: str = "") -> str:
        """An attribute."""
        return self.attributes.get(key, default).strip()

    def number(self, key: str, default: float | None = None, largest: float = 1e12) -> float:
        """A finite number, at most `largest` in size; raises InputError."""
        text = self.attributes.get(key)
        if text is None and default is not None:
            return default
        try:
            value = float(text or "")
        except ValueError:
            value = math.nan
        if not abs(value) <= largest:
            found = f"no {key}" if text is None else f"{key} {text[:40]!r}"
            raise self.error(found, f"{key} as a finite number of at most {largest:g}")
        return value

    def integer(self, key: str) -> int:
        """A whole number; raises InputError."""
        text = self.get(key)
        if not text.lstrip("+-").isdecimal() or len(text) > 6:
            raise self.error(f"{key} {text[:40]!r}", f"{key} as a whole number")
        return int(text)

    def error(self, found: str, expected: str) -> InputError:
        """An error at this element."""
        name = f" {self.get('id')[:40]!r}" if self.get("id") else ""
        return InputError(f"{self.where}, line {self.line}, {self.tag}{name}", found, expected)


def read_tree(content: bytes, where: str) -> Element:
    """The root element; raises InputError where the XML is damaged or hostile, or no OpenDRIVE."""
    xml = BoundedXml(where, BOUNDS)
    top = Element(where, "", {}, 0)
    path = [top]
    skipped = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal skipped
        if skipped or tag not in KEPT:
            skipped += 1
            return
        element = Element(where, tag, attributes, xml.line)
        path[-1].children.append(element)
        path.append(element)

    def end(tag: str) -> None:
        nonlocal skipped
        if skipped:
            skipped -= 1
        else:
            path.pop()

    xml.parse(content, start, end)
    root = top.first("OpenDRIVE")
    if root is None:
        raise InputError(where, "another root element", "<OpenDRIVE>")
    return root
