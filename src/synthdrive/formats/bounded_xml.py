"""Parsing of untrusted XML, as events or as a tree: without entities, and within limits of size."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from synthdrive.core.errors import InputError

PIECE = 1 << 16  # bytes given to expat at a time


@dataclass(frozen=True)
class XmlBounds:
    """Limits for an XML file.

    Attributes:
        expected: description of the expected file, for messages.
        tag_bytes: length of the longest tag.
        depth: most levels of nested elements.
        elements: most elements in the file.
    """

    expected: str
    tag_bytes: int
    depth: int
    elements: int


class BoundedXml:
    """Parses one file; a document type declaration, which could define entities, is an error."""

    def __init__(self, where: str, bounds: XmlBounds) -> None:
        self.where = where
        self._bounds = bounds
        self._elements = self._depth = 0
        self._start: Callable[[str, dict[str, str]], None] = lambda tag, attributes: None
        self._end: Callable[[str], None] = lambda tag: None
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._count_start
        self._parser.EndElementHandler = self._count_end
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    @property
    def line(self) -> int:
        """Line of the current element, from 1."""
        return self._parser.CurrentLineNumber

    def error(self, found: str, expected: str) -> InputError:
        """Return an error at the current element."""
        return InputError(f"{self.where}, line {self.line}", found, expected)

    def parse(self, content: bytes, start: Callable[[str, dict[str, str]], None], end: Callable[[str], None]) -> None:
        """Call `start(tag, attributes)` and `end(tag)` for each element, in the order of the file.

        Raises:
            InputError: the XML is damaged, declares a document type, or exceeds a limit.
        """
        self._start, self._end = start, end
        longest = self._bounds.tag_bytes
        try:
            for first in range(0, len(content), PIECE):
                if first - self._parser.CurrentByteIndex > longest:
                    raise self.error(f"a tag of more than {longest} bytes", f"tags as in {self._bounds.expected}")
                self._parser.Parse(content[first : first + PIECE], False)
            self._parser.Parse(b"", True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise InputError(
                self.where, f"unreadable XML ({error})", f"a whole file: {self._bounds.expected}"
            ) from None

    def _refuse_doctype(self, *_: object) -> None:
        raise self.error("a document type declaration", "plain XML without DTD and entities")

    def _count_start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements, self._depth = self._elements + 1, self._depth + 1
        if self._elements > self._bounds.elements or self._depth > self._bounds.depth:
            found = f"{self._elements} elements in {self._depth} levels"
            raise self.error(found, f"at most {self._bounds.elements} elements in {self._bounds.depth} levels")
        self._start(tag, attributes)

    def _count_end(self, tag: str) -> None:
        self._depth -= 1
        self._end(tag)


def number(text: str) -> float:
    """Convert a string to a number; NaN if it is not one."""
    try:
        return float(text)
    except ValueError:
        return math.nan


@dataclass
class XmlElement:
    """An element of a tree: its name, attributes, line in the file, and child elements."""

    where: str
    tag: str
    attributes: dict[str, str]
    line: int
    children: list[XmlElement] = field(default_factory=list)

    def all(self, *tags: str) -> Iterator[XmlElement]:
        """Return the children with these names."""
        return (child for child in self.children if child.tag in tags)

    def first(self, tag: str) -> XmlElement | None:
        """Return the first child with this name, if there is one."""
        return next(self.all(tag), None)

    def get(self, key: str, default: str = "") -> str:
        """Return an attribute, without surrounding whitespace."""
        return self.attributes.get(key, default).strip()

    def number(self, key: str, default: float | None = None, largest: float = 1e12) -> float:
        """Return an attribute as a finite number; raises InputError unless its absolute value is at most `largest`."""
        text = self.attributes.get(key)
        if text is None and default is not None:
            return default
        value = number(text or "")
        if not abs(value) <= largest:
            found = f"no {key}" if text is None else f"{key} {text[:40]!r}"
            raise self.error(found, f"{key} as a finite number of at most {largest:g}")
        return value

    def integer(self, key: str) -> int:
        """Return an attribute as a whole number of at most six digits; raises InputError if it is not one."""
        text = self.get(key)
        if not re.fullmatch(r"[+-]?[0-9]{1,6}", text):
            raise self.error(f"{key} {text[:40]!r}", f"{key} as a whole number")
        return int(text)

    def error(self, found: str, expected: str) -> InputError:
        """Return an error at this element."""
        name = f" {self.get('id')[:40]!r}" if self.get("id") else ""
        return InputError(f"{self.where}, line {self.line}, {self.tag}{name}", found, expected)


def read_tree(content: bytes, where: str, bounds: XmlBounds, root_tag: str, kept: Collection[str]) -> XmlElement:
    """Read a file as a tree of the elements with certain names.

    Args:
        content: the file.
        where: the file, for messages.
        bounds: limits for the file.
        root_tag: name of the root element.
        kept: names of the elements to keep, including the root; other elements are dropped with everything in them.

    Returns:
        The root element.

    Raises:
        InputError: see `BoundedXml.parse`, or the root element has another name.
    """
    xml = BoundedXml(where, bounds)
    top = XmlElement(where, "", {}, 0)
    path = [top]
    skipped = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal skipped
        if skipped or tag not in kept:
            skipped += 1
            return
        element = XmlElement(where, tag, attributes, xml.line)
        path[-1].children.append(element)
        path.append(element)

    def end(tag: str) -> None:
        nonlocal skipped
        if skipped:
            skipped -= 1
        else:
            path.pop()

    xml.parse(content, start, end)
    root = top.first(root_tag)
    if root is None:
        raise InputError(where, "another root element", f"<{root_tag}>")
    return root
