"""XML that nobody has to trust: no entities, and limits on what a file may hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.parsers import expat

from synthdrive.core.errors import InputError

PIECE = 1 << 16  # bytes, what expat is given at a time


@dataclass(frozen=True)
class XmlBounds:
    """Limits on one file.

    Attributes:
        expected: what the file should be, for messages.
        tag_bytes: the longest tag.
        depth: elements inside one another.
        elements: in the file.
    """

    expected: str
    tag_bytes: int
    depth: int
    elements: int


class BoundedXml:
    """Parses one file; a document type declaration, where entities would be defined, is refused at once."""

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
        """Line of the element at hand, from 1."""
        return self._parser.CurrentLineNumber

    def error(self, found: str, expected: str) -> InputError:
        """An error at the element at hand."""
        return InputError(f"{self.where}, line {self.line}", found, expected)

    def parse(self, content: bytes, start: Callable[[str, dict[str, str]], None], end: Callable[[str], None]) -> None:
        """Call `start(tag, attributes)` and `end(tag)` for each element, in the order of the file.

        Raises:
            InputError: the XML is damaged, declares a document type, or passes a limit.
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
            found = f"{self._elements} elements, {self._depth} inside one another"
            raise self.error(found, f"at most {self._bounds.elements}, and {self._bounds.depth}")
        self._start(tag, attributes)

    def _count_end(self, tag: str) -> None:
        self._depth -= 1
        self._end(tag)
