"""Errors that a user can act on: what is wrong, where, and what was expected instead."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from types import FrameType


class SynthDriveError(Exception):
    """Base of every error that SynthDrive raises on purpose; its message is for the user."""


class InputError(SynthDriveError):
    """An input file, row or value that cannot be used.

    Args:
        where: the file, and the row, key or archive member in it.
        found: what was found there.
        expected: what should be there.
        advice: what the user can do about it, if that is not obvious.
    """

    def __init__(self, where: object, found: str, expected: str, advice: str = "") -> None:
        self.where, self.found, self.expected, self.advice = str(where), found, expected, advice
        text = f"{where}: found {found}; expected {expected}"
        super().__init__(f"{text}. {advice}" if advice else text)

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str, str]]:
        """Pickle the four parts, so that the error can come from a worker process; Exception pickles only the text."""
        return type(self), (self.where, self.found, self.expected, self.advice)


class ParameterError(InputError):
    """A parameter that is unknown, of the wrong type, or impossible."""


class MissingPackageError(SynthDriveError, ModuleNotFoundError):
    """An optional package that is not installed; the message says how to install it."""


@contextmanager
def from_extra(name: str) -> Iterator[None]:
    """Wrap the imports of packages that are installed only with the extra `name` of pyproject.toml.

    Raises:
        MissingPackageError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed; the extra {name!r} brings it: pip install 'synthdrive[{name}]'"
        raise MissingPackageError(message, name=error.name) from None


class Terminated(KeyboardInterrupt):
    """SIGTERM as an exception, so that code that cleans up after Ctrl-C also does so when a scheduler stops the job."""


def stop_status(stopped: KeyboardInterrupt) -> int:
    """Return the exit status of a stopped command: 143 after SIGTERM, 130 after Ctrl-C."""
    return 143 if isinstance(stopped, Terminated) else 130


NO_SPACE = ("no space left on device", "disk quota exceeded")
NO_MEMORY = ("cannot allocate memory", "can't allocate memory", "out of memory", "bad_alloc", "can't start new thread")


def lack(error: BaseException) -> str | None:
    """Say which resource ran out (disk or memory) and what to do; None if the error has another cause."""
    text = str(error).lower()
    if any(words in text for words in NO_SPACE):
        return f"{error}. Free some space, then run the same command again: nothing half-written was left behind."
    if isinstance(error, BrokenExecutor):
        what = f"a worker process was killed, most likely because the machine is out of memory ({error})"
    elif isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        what = f"out of memory ({str(error) or type(error).__name__})"
    else:
        return None
    return f"{what}. Run the same command again with less at a time: SYNTHDRIVE_WORKERS=1, or a smaller batch."


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print errors that a user can act on as one line on stderr; other exceptions keep their traceback.

    The exit status is 2 for a SynthDriveError or if memory or disk space has run out; see `stop_status` for Ctrl-C and
    SIGTERM. `SYNTHDRIVE_TRACEBACK=1` shows the traceback of these errors too.
    """
    try:
        with terminated_by_exception():
            yield
    except (Exception, KeyboardInterrupt) as error:
        stopped = isinstance(error, KeyboardInterrupt)
        message = "stopped; the same command starts again" if stopped else lack(error)
        if isinstance(error, SynthDriveError):
            message = message or str(error)
        if message is None or os.environ.get("SYNTHDRIVE_TRACEBACK") == "1":
            raise
        print(message if stopped else f"error: {message}", file=sys.stderr)
        raise SystemExit(stop_status(error) if isinstance(error, KeyboardInterrupt) else 2) from None


@contextmanager
def terminated_by_exception() -> Iterator[None]:
    """Raise Terminated in the block on SIGTERM, so that it can clean up; a second SIGTERM ends the process at once."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _raise_terminated(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated
