"""Section `scene`: what a driving scene is, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError


@dataclass
class SceneParameters:
    """See params.yaml for what each parameter means."""

    map_half_width: float

    def validate(self, where: str) -> None:
        """Raise ParameterError for a value that makes no scene."""
        if not 0 < self.map_half_width <= 1000:
            raise ParameterError(f"{where}.map_half_width", str(self.map_half_width), "metres above 0, at most 1000")
