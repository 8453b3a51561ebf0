"""Errors that a user can act on: what is wrong, where, and what was expected instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class SynthDriveError(Exception):
    """Base of every error that SynthDrive raises on purpose; its message is for the user."""


class InputError(SynthDriveError):
    """A file, row or value that cannot be used.

    Args:
        where: the file, and the row, key or member inside it.
        found: what is there.
        expected: what should be there.
        advice: what the user can do about it, where that is not obvious.
    """

    def __init__(self, where: object, found: str, expected: str, advice: str = "") -> None:
        self.where, self.found, self.expected, self.advice = str(where), found, expected, advice
        text = f"{where}: found {found}; expected {expected}"
        super().__init__(f"{text}. {advice}" if advice else text)

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str, str]]:
        """Survive the trip from a worker process: Exception would re-create itself from the text alone."""
        return type(self), (self.where, self.found, self.expected, self.advice)


class ParameterError(InputError):
    """A parameter that is unknown, of the wrong type, or impossible."""


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn a SynthDriveError into one line on stderr and exit status 2; other exceptions keep their traceback.

    `SYNTHDRIVE_TRACEBACK=1` keeps the traceback of these errors too.
    """
    try:
        yield
    except SynthDriveError as error:
        if os.environ.get("SYNTHDRIVE_TRACEBACK") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
