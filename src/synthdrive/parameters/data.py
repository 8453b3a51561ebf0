"""Section `data`: which raw data the pipeline starts from."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError

SOURCES = ("sample", "argoverse1")


@dataclass
class DataParameters:
    """See params.yaml for what each parameter means."""

    source: str
    raw: str

    def validate(self, where: str) -> None:
        """Raise ParameterError for an unknown source or an empty path."""
        if self.source not in SOURCES:
            raise ParameterError(f"{where}.source", repr(self.source), f"one of {', '.join(SOURCES)}")
        if not self.raw.strip():
            raise ParameterError(f"{where}.raw", repr(self.raw), "a folder")
