"""Map transforms: displacements across an axis, as a function of the place along it, that bend roads.

In the paper the axis is city X (docs/method.md 2). Roads across the axis are only shifted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import ParameterError

Floats = npt.NDArray[np.float64]

TURN_LENGTH = 10.0  # m, length of a turn's bend; fixed in the reference's formula (docs/method.md 2)
GRAVITY = 9.8  # m/s2, the value in s-attack's feasibility check

KINDS = ("smooth", "double", "ripple", "combination")


@dataclass(frozen=True)
class TransformShape:
    """Constants shared by a family of transforms.

    Attributes:
        power: exponent b of the turn; the larger it is, the more the turn resembles a corner.
        border: metres from the anchor to the start of the transform.
        shift: metres d between the two bends of a double turn.
        wavelength: metres l of the ripple.
    """

    power: float = 20.0
    border: float = 40.0
    shift: float = 10.0
    wavelength: float = 17.0

    def __post_init__(self) -> None:
        if self.power < 2:
            raise ParameterError("transform power", f"{self.power}", "at least 2, so that the bend has a curvature")
        if self.shift <= 0 or self.wavelength <= 0:
            raise ParameterError("transform shift, wavelength", f"{self.shift}, {self.wavelength}", "lengths above 0 m")


SHAPES = {
    "released": TransformShape(),  # the paper's released data
    "sattack": TransformShape(power=3.0, border=5.0, shift=10.0, wavelength=60.0),  # Bahari et al., CVPR 2022
}


@dataclass(frozen=True)
class Transform:
    """A map transform y' = y + f(x - anchor), with f the sum of a smooth turn, a double turn and a ripple.

    x is the place along the axis, y the one across it, to the left; with axis 0 they are city X and Y.

    An amplitude of 0 omits its term. The slope after a turn of amplitude A is A / 10; a double turn shifts the road
    sideways by A * shift / 10 metres; a ripple varies by 2 A metres. A negative amplitude mirrors the term.

    Attributes:
        smooth, double, ripple: amplitudes.
        anchor: place along the axis, metres, from which the border is measured.
        shape: constants of the family.
        axis: direction of the axis, radians from city X.
    """

    smooth: float = 0.0
    double: float = 0.0
    ripple: float = 0.0
    anchor: float = 0.0
    shape: TransformShape = SHAPES["released"]
    axis: float = 0.0

    def along(self, points: npt.ArrayLike) -> Floats:
        """Return the places (...) along the axis, metres, of points (..., 2), metres, city frame."""
        x, y = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
        place: Floats = math.cos(self.axis) * x + math.sin(self.axis) * y
        return place

    def displacement(self, x: npt.ArrayLike) -> Floats:
        """Return f, metres, at `x` metres from the anchor; any shape."""
        return self._evaluate(x, 0)

    def slope(self, x: npt.ArrayLike) -> Floats:
        """Return the first derivative of `displacement`; unlike the release's, it is also correct beyond the bend."""
        return self._evaluate(x, 1)

    def second_derivative(self, x: npt.ArrayLike) -> Floats:
        """Return the second derivative of `displacement`, 1/m."""
        return self._evaluate(x, 2)

    def curvature(self, x: npt.ArrayLike) -> Floats:
        """Return the curvature of a road that ran along +X before the transform, 1/m, positive to the left."""
        curvature: Floats = self.second_derivative(x) / (1.0 + self.slope(x) ** 2) ** 1.5
        return curvature

    def warp(self, points: npt.ArrayLike) -> Floats:
        """Apply the transform to points (..., 2), metres, city frame."""
        return self._moved(points, 1.0)

    def unwarp(self, points: npt.ArrayLike) -> Floats:
        """Apply the inverse transform to points (..., 2), metres, city frame."""
        return self._moved(points, -1.0)

    def max_speed(self, friction: float = 0.7, samples: int = 100) -> float:
        """Return the speed, m/s, at which the tightest point of the bend needs all of the tyres' grip (s-attack).

        The curvature is sampled from the border to the end of the longest of the three terms.

        Args:
            friction: friction coefficient of the tyres.
            samples: number of points at which the curvature is sampled.
        """
        shape = self.shape
        end = shape.border + max(TURN_LENGTH, 2 * TURN_LENGTH + shape.shift, shape.wavelength)
        tightest = np.abs(self.curvature(np.linspace(shape.border, end, samples))).max()
        return float(np.sqrt(friction * GRAVITY / tightest)) if tightest > 0 else float("inf")

    def _moved(self, points: npt.ArrayLike, sign: float) -> Floats:
        moved = np.array(points, dtype=np.float64)
        distance = sign * self.displacement(self.along(moved) - self.anchor)
        moved[..., 0] -= math.sin(self.axis) * distance
        moved[..., 1] += math.cos(self.axis) * distance
        return moved

    def _evaluate(self, x: npt.ArrayLike, order: int) -> Floats:
        u = np.asarray(x, dtype=np.float64) - self.shape.border
        value = np.zeros_like(u)
        if self.smooth:
            value += self.smooth * _turn(u, self.shape.power, order)
        if self.double:
            late = _turn(u - self.shape.shift, self.shape.power, order)
            value += self.double * (_turn(u, self.shape.power, order) - late)
        if self.ripple:
            value += self.ripple * _ripple(u, self.shape.wavelength, order)
        return value


def make_transform(kind: str, amplitude: float, anchor: float, shape: TransformShape, axis: float = 0.0) -> Transform:
    """Make a transform of one of KINDS; a combination has all three terms with the same amplitude.

    Raises:
        ParameterError: the kind is unknown.
    """
    if kind not in KINDS:
        raise ParameterError("transform", repr(kind), f"one of {', '.join(KINDS)}")
    terms: dict[str, Any] = dict.fromkeys(KINDS[:3] if kind == "combination" else (kind,), float(amplitude))
    return Transform(anchor=anchor, shape=shape, axis=axis, **terms)


def _turn(u: Floats, power: float, order: int) -> Floats:
    """Return the unit smooth turn S(u) or a derivative: 0, then (u/10)^b / b, then the straight line u/10 - 1 + 1/b."""
    ratio = np.clip(u / TURN_LENGTH, 0.0, 1.0)
    if order == 0:
        return np.where(u < TURN_LENGTH, ratio**power / power, u / TURN_LENGTH - 1.0 + 1.0 / power)
    if order == 1:
        bend: Floats = ratio ** (power - 1) / TURN_LENGTH
        return bend
    return np.where(u < TURN_LENGTH, (power - 1) * ratio ** (power - 2) / TURN_LENGTH**2, 0.0) * (u >= 0)


def _ripple(u: Floats, wavelength: float, order: int) -> Floats:
    """Return the unit ripple 1 - cos(2 pi u / l) beyond the border, or a derivative."""
    k = 2.0 * np.pi / wavelength
    wave = (1.0 - np.cos(k * u), k * np.sin(k * u), k**2 * np.cos(k * u))[order]
    return np.where(u >= 0, wave, 0.0)
