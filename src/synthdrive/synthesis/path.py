"""A driver's path: the centreline smoothed, so that corners are cut, more so at speed (docs/method.md 2, 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

from synthdrive.augmentation.corridor import resample
from synthdrive.config.synthetic_data import DriverParameters

Floats = npt.NDArray[np.float64]

SPACING = 0.5  # m between the points of a path
TRUNCATE = 4.0  # standard deviations to which the Gaussian kernels reach


@dataclass(frozen=True)
class Paths:
    """The paths of D drives along one or several routes, with a point every SPACING metres, padded to the longest.

    Attributes:
        points: (D, S, 2) metres, city frame; the path goes straight on beyond its length.
        curvature: (D, S) of the path, 1/m, positive to the left; 0 beyond the length.
        foreseen: (D, S) curvature, 1/m, not negative, that the driver plans its speed with: that of the road seen
            broadly (smoothed over `curvature_smoothing_time` x desired speed).
        lengths: (D,) metres.
    """

    points: Floats
    curvature: Floats
    foreseen: Floats
    lengths: Floats

    def at(self, values: Floats, along: Floats) -> Floats:
        """Values given at the points (D, S), interpolated at distances (D, T) in metres; held beyond the ends."""
        place = np.clip(along / SPACING, 0.0, values.shape[1] - 1.000001)
        index = place.astype(np.int64)
        rows = np.arange(len(along))[:, None]
        first = values[rows, index]
        between: Floats = first + (place - index) * (values[rows, index + 1] - first)
        return between


def plan_paths(centreline: Floats, desired_speeds: Floats, driver: DriverParameters) -> Paths:
    """One path along a centreline for each desired speed.

    Args:
        centreline: (N, 2) metres, city frame.
        desired_speeds: (V,) m/s.
    """
    line = resample(centreline, SPACING)
    spacing = float(np.hypot(*(line[1] - line[0]))) or SPACING
    widths = np.maximum(
        np.outer((driver.path_smoothing_time, driver.curvature_smoothing_time), desired_speeds),
        driver.min_path_smoothing,
    )
    smoothed = _smooth(line, np.concatenate([[driver.min_path_smoothing], *widths]), spacing)
    narrow, wide, broad = smoothed[0], *np.split(smoothed[1:], 2)  # [S, 2], [V, S, 2], [V, S, 2]
    points = _limit_deviation(line, narrow, wide, driver.max_deviation, spacing)
    return _even_steps(points, np.abs(_curvature(broad)))


def stack_paths(parts: list[Paths]) -> Paths:
    """The drives of several routes as one padded block."""
    longest = max(part.points.shape[1] for part in parts)
    points, curvature, foreseen = [], [], []
    for part in parts:
        pad = longest - part.points.shape[1]
        step = part.points[:, -1:] - part.points[:, -2:-1]
        beyond = part.points[:, -1:] + step * np.arange(1, pad + 1)[:, None]
        points.append(np.concatenate([part.points, beyond], axis=1))
        curvature.append(np.pad(part.curvature, ((0, 0), (0, pad))))
        foreseen.append(np.pad(part.foreseen, ((0, 0), (0, pad))))
    lengths = np.concatenate([part.lengths for part in parts])
    return Paths(np.concatenate(points), np.concatenate(curvature), np.concatenate(foreseen), lengths)


def _smooth(line: Floats, widths: Floats, spacing: float) -> Floats:
    """(V, S, 2): a polyline smoothed by Gaussians of `widths` metres; it goes straight on beyond its ends."""
    pad = int(np.ceil(TRUNCATE * widths.max() / spacing)) + 1
    before = line[0] - np.arange(pad, 0, -1)[:, None] * (line[1] - line[0])
    after = line[-1] + np.arange(1, pad + 1)[:, None] * (line[-1] - line[-2])
    extended = np.concatenate([before, line, after])
    smoothed = [gaussian_filter1d(extended, width / spacing, axis=0, truncate=TRUNCATE) for width in widths]
    return np.stack(smoothed)[:, pad:-pad]


def _limit_deviation(line: Floats, narrow: Floats, wide: Floats, limit: float, spacing: float) -> Floats:
    """Blend the wide smoothing with the narrow one where it would leave the line by more than `limit` metres."""
    deviation = np.hypot(wide[..., 0] - line[:, 0], wide[..., 1] - line[:, 1])
    if deviation.max() <= limit:
        return wide
    fraction = np.minimum(1.0, limit / np.maximum(deviation, 1e-9))
    reach = max(3, 2 * int(round(10.0 / spacing)) + 1)
    fraction = gaussian_filter1d(minimum_filter1d(fraction, reach, axis=1), 3.0 / spacing, axis=1)
    blended: Floats = narrow + fraction[..., None] * (wide - narrow)
    return blended


def _even_steps(points: Floats, foreseen: Floats) -> Paths:
    """Polylines (D, S, 2) and what is foreseen at their points (D, S), brought to a point every SPACING metres."""
    steps = np.diff(points, axis=1)
    distance = np.cumsum(np.hypot(steps[..., 0], steps[..., 1]), axis=1)
    distance = np.concatenate([np.zeros((len(points), 1)), distance], axis=1)
    lengths = distance[:, -1]
    at = SPACING * np.arange(int(np.ceil(lengths.max() / SPACING)) + 2)
    even, seen = np.empty((len(points), len(at), 2)), np.zeros((len(points), len(at)))
    for row, (polyline, along) in enumerate(zip(points, distance, strict=True)):
        even[row] = np.stack([np.interp(at, along, polyline[:, axis]) for axis in (0, 1)], axis=-1)
        even[row] += np.maximum(at - lengths[row], 0.0)[:, None] * steps[row, -1] / max(np.hypot(*steps[row, -1]), 1e-9)
        seen[row] = np.interp(at, along, foreseen[row], right=0.0)
    return Paths(even, _curvature(even), seen, lengths)


def _curvature(points: Floats) -> Floats:
    """(D, S) signed curvature of polylines (D, S, 2), 1/m; 0 at the ends."""
    steps = np.diff(points, axis=1)
    length = np.hypot(steps[..., 0], steps[..., 1])
    heading = np.arctan2(steps[..., 1], steps[..., 0])
    turn = (np.diff(heading, axis=1) + np.pi) % (2 * np.pi) - np.pi
    curvature = np.zeros(points.shape[:2])
    curvature[:, 1:-1] = turn / np.maximum((length[:, 1:] + length[:, :-1]) / 2, 1e-3)
    return curvature
