"""What the base installation leaves out, and the extra of pip that brings it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from synthdrive.core.errors import SynthDriveError


class MissingPackageError(SynthDriveError, ModuleNotFoundError):
    """A package that is not installed, and what installs it."""


@contextmanager
def from_extra(name: str) -> Iterator[None]:
    """Around imports of packages that pyproject.toml lists under this extra.

    Raises:
        MissingPackageError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed; the extra {name!r} brings it: pip install 'synthdrive[{name}]'"
        raise MissingPackageError(message, name=error.name) from None
