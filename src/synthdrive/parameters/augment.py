"""Parameters of the augment stage."""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import ParameterError

KINDS = ("smooth", "double", "ripple", "combination")
SHAPES = ("released", "sattack", "custom")


@dataclass
class RouteParameters:
    """How routes are sampled on the lane graph; see params.yaml for units and sources."""

    per_city: int
    length: float
    min_length: float
    min_fresh: float
    lead_out: float
    max_joint_angle: float

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        if self.per_city < 1:
            raise ParameterError(f"{where}.per_city", f"{self.per_city}", "at least 1 route")
        if not 0 < self.min_fresh <= self.min_length <= self.length:
            found = f"min_fresh {self.min_fresh}, min_length {self.min_length}, length {self.length}"
            raise ParameterError(where, found, "0 < min_fresh <= min_length <= length, in metres")
        if self.lead_out < 0:
            raise ParameterError(f"{where}.lead_out", f"{self.lead_out}", "metres from 0")
        if not 0 < self.max_joint_angle <= 180:
            raise ParameterError(f"{where}.max_joint_angle", f"{self.max_joint_angle}", "degrees above 0, up to 180")


@dataclass
class TransformParameters:
    """Which map transforms are drawn; see params.yaml for units and sources."""

    kinds: list[str]
    amplitudes: list[float]
    shape: str
    power: float
    border: float
    shift: float
    wavelength: float

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        for kind in self.kinds:
            if kind not in KINDS:
                raise ParameterError(f"{where}.kinds", repr(kind), f"one of {', '.join(KINDS)}")
        if not self.kinds or not self.amplitudes:
            raise ParameterError(where, "no kinds or no amplitudes", "at least one of each (or per_route: 0)")
        if min(self.amplitudes) <= 0:
            raise ParameterError(f"{where}.amplitudes", f"{min(self.amplitudes)}", "above 0; directions are drawn")
        if self.shape not in SHAPES:
            raise ParameterError(f"{where}.shape", repr(self.shape), f"one of {', '.join(SHAPES)}")
        if self.power < 2 or self.shift <= 0 or self.wavelength <= 0:
            found = f"power {self.power}, shift {self.shift}, wavelength {self.wavelength}"
            raise ParameterError(where, found, "power of at least 2, shift and wavelength above 0 m")


@dataclass
class AugmentParameters:
    """Section `augment`; see params.yaml for units and sources."""

    seed: int
    routes: RouteParameters
    originals: bool
    per_route: int
    transforms: TransformParameters
    densify: float
    min_radius: float
    radius_smoothing: float
    corridor_margin: float

    def validate(self, where: str) -> None:
        """Refuse impossible values."""
        self.routes.validate(f"{where}.routes")
        self.transforms.validate(f"{where}.transforms")
        if self.per_route < 0:
            raise ParameterError(f"{where}.per_route", f"{self.per_route}", "0 or more augmented scenes a route")
        if self.per_route == 0 and not self.originals:
            raise ParameterError(where, "per_route 0 and originals false", "at least one kind of scene")
        if self.densify < 0 or 0 < self.densify < 0.05:
            raise ParameterError(f"{where}.densify", f"{self.densify}", "metres from 0.05, or 0 for the given points")
        for name in ("min_radius", "radius_smoothing", "corridor_margin"):
            if getattr(self, name) < 0:
                raise ParameterError(f"{where}.{name}", f"{getattr(self, name)}", "metres from 0")
