"""Latitude and longitude to metres: Universal Transverse Mercator on WGS 84 (Krueger's series, true to 1 mm)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_AXIS, _FLATTENING = 6378137.0, 1 / 298.257223563  # WGS 84, m
_SCALE, _FALSE_EASTING = 0.9996, 500_000.0  # UTM, m
_N = _FLATTENING / (2 - _FLATTENING)
_RADIUS = _AXIS / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_ALPHA = (
    _N / 2 - 2 / 3 * _N**2 + 5 / 16 * _N**3,
    13 / 48 * _N**2 - 3 / 5 * _N**3,
    61 / 240 * _N**3,
)
WHOLE = 1000.0  # m; the frame's origin is a corner of UTM's grid of kilometres


def utm_zone(longitudes: Floats) -> int:
    """The zone, 1 to 60, of the middle of these longitudes, degrees."""
    middle = (float(longitudes.min()) + float(longitudes.max())) / 2
    return min(int((middle + 180.0) // 6.0) + 1, 60)


def to_utm(latitudes: Floats, longitudes: Floats, zone: int) -> Floats:
    """(N, 2) east and north in metres of (N,) degrees; south of the equator north is negative."""
    phi = np.radians(latitudes)
    away = np.radians(longitudes - (zone * 6.0 - 183.0))
    root = 2 * math.sqrt(_N) / (1 + _N)
    t = np.sinh(np.arctanh(np.sin(phi)) - root * np.arctanh(root * np.sin(phi)))
    xi, eta = np.arctan2(t, np.cos(away)), np.arctanh(np.sin(away) / np.sqrt(1 + t**2))
    north, east = xi.copy(), eta.copy()
    for k, alpha in enumerate(_ALPHA, start=1):
        north += alpha * np.sin(2 * k * xi) * np.cosh(2 * k * eta)
        east += alpha * np.cos(2 * k * xi) * np.sinh(2 * k * eta)
    return np.stack([_FALSE_EASTING + _SCALE * _RADIUS * east, _SCALE * _RADIUS * north], axis=-1)


def corner(low: Floats) -> Floats:
    """(2,) the corner of the kilometre grid south-west of a point: what is taken off so that coordinates are small."""
    whole: Floats = np.floor(low / WHOLE) * WHOLE
    return whole
