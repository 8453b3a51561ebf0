"""Curves of OpenDRIVE: the reference line of a road, and piecewise cubic quantities along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SAME = 1e-9  # m; starts along a road that differ by less are the same
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)  # to integrate along a clothoid, with an error far below 1 mm
_ARC_STEPS = 2000  # number of parameter values at which the arc length of a cubic is measured


@dataclass(frozen=True)
class Curve:
    """One <geometry> of a reference line.

    Attributes:
        s, length: its start along the reference line and its length, metres.
        x, y, heading: position, metres, and direction, radians, of its start.
        kind: clothoid (including line and arc) or cubic (poly3, paramPoly3).
        values: of a clothoid, the curvatures at start and end, 1/m; of a cubic, aU, bU, cU, dU, aV, bV, cV, dV.
        stretch: of a cubic, the value of its parameter at the end, or 0 if the parameter is u itself.
    """

    s: float
    x: float
    y: float
    heading: float
    length: float
    kind: str
    values: tuple[float, ...]
    stretch: float = 0.0

    def at(self, distance: Floats) -> tuple[Floats, Floats]:
        """Return points (N, 2) in metres and headings (N,) in radians at rising distances (N,) from the start."""
        if self.kind == "clothoid":
            return self._clothoid(distance)
        return self._cubic(distance)

    def _clothoid(self, distance: Floats) -> tuple[Floats, Floats]:
        start, end = self.values
        slope = (end - start) / self.length

        def heading(s: Floats) -> Floats:
            return self.heading + start * s + slope * s**2 / 2

        before = np.concatenate([[0.0], distance[:-1]])
        half = (distance - before) / 2
        angles = heading((before + half)[:, None] + half[:, None] * _NODES)  # [N, 5]
        steps = np.stack([np.cos(angles) @ _WEIGHTS, np.sin(angles) @ _WEIGHTS], axis=-1) * half[:, None]
        return np.array([self.x, self.y]) + np.cumsum(steps, axis=0), heading(distance)

    def _cubic(self, distance: Floats) -> tuple[Floats, Floats]:
        u, v = self.values[:4], self.values[4:]
        p = distance * (self.stretch / self.length) if self.stretch else self._parameter(distance)
        along, across = cubic(u, p), cubic(v, p)
        slope_u = u[1] + 2 * u[2] * p + 3 * u[3] * p**2
        slope_v = v[1] + 2 * v[2] * p + 3 * v[3] * p**2
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        points = np.stack([self.x + cos * along - sin * across, self.y + sin * along + cos * across], axis=-1)
        return points, self.heading + np.arctan2(slope_v, slope_u)

    def _parameter(self, distance: Floats) -> Floats:
        """Return u at these distances along the curve v(u)."""
        u = np.linspace(0.0, self.length, _ARC_STEPS)
        length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(u), np.diff(cubic(self.values[4:], u))))])
        return np.interp(distance, length, u)


def cubic(coefficients: tuple[float, ...], x: Floats) -> Floats:
    """Return a + b x + c x^2 + d x^3."""
    a, b, c, d = coefficients
    return a + x * (b + x * (c + x * d))


@dataclass(frozen=True)
class Piecewise:
    """A piecewise cubic quantity along a road: pieces (start in metres, (a, b, c, d)) by start; 0 before the first."""

    pieces: tuple[tuple[float, tuple[float, ...]], ...]

    def before(self, s: float) -> Self:
        """Return the pieces that start before s, metres: at a step there, the last value before it and not the next."""
        return type(self)(tuple(piece for piece in self.pieces if piece[0] < s - SAME))

    def at(self, s: Floats) -> Floats:
        """Return the values (N,) at s, (N,) metres."""
        if not self.pieces:
            return np.zeros_like(s)
        starts = np.array([start for start, _ in self.pieces])
        values = np.array([piece for _, piece in self.pieces])
        which = np.searchsorted(starts, s + SAME, side="right") - 1
        a, b, c, d = values[np.maximum(which, 0)].T
        x = s - starts[np.maximum(which, 0)]
        return np.where(which >= 0, a + x * (b + x * (c + x * d)), 0.0)


def reference_line(curves: tuple[Curve, ...], s: Floats) -> tuple[Floats, Floats]:
    """Return points (N, 2), metres, and headings (N,), radians, of a reference line at s, (N,) rising metres."""
    starts = np.array([curve.s for curve in curves])
    which = np.maximum(np.searchsorted(starts, s + SAME, side="right") - 1, 0)
    points, headings = np.empty((len(s), 2)), np.empty(len(s))
    for index in np.unique(which):
        curve, here = curves[int(index)], which == index
        distance = np.clip(s[here] - curve.s, 0.0, curve.length)
        points[here], headings[here] = curve.at(distance)
    return points, headings
