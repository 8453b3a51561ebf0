"""Section `augment`: which routes are sampled, and how the map around each is warped."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError
from synthdrive.core.limits import value

FINEST_SPACING = 0.05  # m; finer points than this say nothing more of a lane


@dataclass
class RouteParameters:
    """`augment.routes`; params.yaml says what each parameter means."""

    per_city: int = value(at_least=1, unit="")
    length: float = value(above=0, unit="m")
    min_length: float = value(above=0, unit="m")
    min_fresh: float = value(above=0, unit="m")
    lead_out: float = value(at_least=0, unit="m")
    max_joint_angle: float = value(above=0, at_most=180, unit="degrees")

    def validate(self, where: str) -> None:
        """A route's lengths must fit one another."""
        if not self.min_fresh <= self.min_length <= self.length:
            found = f"min_fresh {self.min_fresh}, min_length {self.min_length}, length {self.length}"
            raise ParameterError(where, found, "min_fresh <= min_length <= length")


@dataclass
class TransformParameters:
    """`augment.transforms`; params.yaml says what each parameter means."""

    kinds: list[str] = value(choices=("smooth", "double", "ripple", "combination"), fewest=1)
    amplitudes: list[float] = value(above=0, unit="", fewest=1)
    shape: str = value(choices=("released", "sattack", "custom"))
    power: float = value(at_least=2, unit="")
    border: float = value(at_least=0, unit="m")
    shift: float = value(above=0, unit="m")
    wavelength: float = value(above=0, unit="m")


@dataclass
class AugmentParameters:
    """Section `augment`; params.yaml says what each parameter means."""

    seed: int = value(at_least=0, unit="")
    routes: RouteParameters = value()
    originals: bool = value()
    per_route: int = value(at_least=0, unit="")
    transforms: TransformParameters = value()
    densify: float = value(at_least=0, unit="m")
    min_radius: float = value(at_least=0, unit="m")
    radius_smoothing: float = value(at_least=0, unit="m")
    corridor_margin: float = value(at_least=0, unit="m")

    def validate(self, where: str) -> None:
        """There must be a kind of scene; 0 keeps a lane's points, and other spacings must not be too fine."""
        if self.per_route == 0 and not self.originals:
            raise ParameterError(f"{where}.per_route", "0, and originals false", "at least one kind of scene")
        if 0 < self.densify < FINEST_SPACING:
            raise ParameterError(f"{where}.densify", str(self.densify), f"0, or at least {FINEST_SPACING} (m)")
