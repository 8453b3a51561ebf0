"""Beyond the paper, each off by default: stops, changes of speed and tracking noise."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from synthdrive.config.synthetic_data import NoiseParameters, SpeedVariationParameters, StopParameters
from synthdrive.core.timing import STEP_SECONDS

Floats = npt.NDArray[np.float64]

STANDING = 0.2  # m/s; slower than this within reach of the line, and the car stands
REACH = 1.0  # m
MARGIN = 0.5  # m before the line that a car aims for, so that the lag of its brakes does not carry it across
EASE = 0.8  # fraction of the braking at which the approach to a line begins


@dataclass
class Stops:
    """The stops of D drives while they are driven.

    Attributes:
        lines: (D, K) metres along the path at which to stop, rising; infinite beyond the last.
        waits: (D, K) seconds to stand there.
        braking: m/s2 of a usual approach.
    """

    lines: Floats
    waits: Floats
    braking: float
    _next: npt.NDArray[np.int64] = field(init=False)
    _waited: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._next = np.zeros(len(self.lines), dtype=np.int64)
        self._waited = np.zeros(len(self.lines))

    def wish(self, along: Floats, speed: Floats, seconds: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """What the next line asks for, and a step of waiting.

        Returns:
            (D,) m/s2, infinite where no line is near, and (D,) bool, True where the car must stand still.
        """
        row = np.arange(len(along))
        distance = self.lines[row, self._next] - along
        needed = speed**2 / (2.0 * np.maximum(distance - MARGIN, 0.05))
        braking = np.where(needed > EASE * self.braking, -needed, np.inf)
        braking = np.where(distance < MARGIN + 0.1, np.minimum(braking, -self.braking), braking)
        standing = (speed < STANDING) & (distance < REACH)
        self._waited = np.where(standing, self._waited + seconds, self._waited)
        passed = (standing & (self._waited >= self.waits[row, self._next])) | (distance < -REACH)
        self._next = np.minimum(self._next + passed, self.lines.shape[1] - 1)
        self._waited = np.where(passed, 0.0, self._waited)
        return braking, standing & ~passed


def draw_stops(lengths: Floats, parameters: StopParameters, random: np.random.Generator) -> Stops:
    """Stops at random places, `spacing` metres apart on average, of random duration.

    Args:
        lengths: (D,) metres of the paths.
    """
    count = int(np.ceil(2.0 * lengths.max() / parameters.spacing)) + 1
    gaps = random.uniform(0.5, 1.5, (len(lengths), count)) * parameters.spacing
    lines = parameters.min_distance + np.cumsum(gaps, axis=1)
    lines[lines > lengths[:, None]] = np.inf
    lines = np.concatenate([lines, np.full((len(lengths), 1), np.inf)], axis=1)
    waits = random.uniform(parameters.min_wait, parameters.max_wait, lines.shape)
    return Stops(lines, waits, parameters.braking)


def join_stops(parts: list[Stops]) -> Stops:
    """The stops of several blocks of drives as one."""
    widest = max(part.lines.shape[1] for part in parts)
    lines, waits = [], []
    for part in parts:
        pad = ((0, 0), (0, widest - part.lines.shape[1]))
        lines.append(np.pad(part.lines, pad, constant_values=np.inf))
        waits.append(np.pad(part.waits, pad))
    return Stops(np.concatenate(lines), np.concatenate(waits), parts[0].braking)


INTERVALS = 64  # drawn for each drive; a longer one begins with the first again


@dataclass(frozen=True)
class SpeedVariation:
    """The speed variation of D drives.

    Attributes:
        factors: (D, INTERVALS) fraction of the planned speed that is driven on each interval of road, above 0, up to 1.
        offsets: (D,) metres of the first interval that lie before the path.
        interval: metres of one interval.
    """

    factors: Floats
    offsets: Floats
    interval: float

    def factor(self, along: Floats) -> Floats:
        """(D,) fraction of the planned speed at these metres along each path."""
        interval = ((np.maximum(along, 0.0) + self.offsets) / self.interval).astype(np.int64) % INTERVALS
        factors: Floats = self.factors[np.arange(len(along)), interval]
        return factors


def draw_speed_variation(
    count: int, parameters: SpeedVariationParameters, random: np.random.Generator
) -> SpeedVariation:
    """Speed variation of `count` drives: factors uniform from `min_speed_factor` to 1, drawn anew for each interval."""
    factors = random.uniform(parameters.min_speed_factor, 1.0, (count, INTERVALS))
    return SpeedVariation(factors, random.uniform(0.0, parameters.interval, count), parameters.interval)


def join_speed_variation(parts: list[SpeedVariation]) -> SpeedVariation:
    """The speed variation of several blocks of drives as one."""
    factors, offsets = [part.factors for part in parts], [part.offsets for part in parts]
    return SpeedVariation(np.concatenate(factors), np.concatenate(offsets), parts[0].interval)


STANDS = 1e-3  # m in a step; along and across mean nothing to a track that moves less


def tracking_noise(xy: Floats, noise: NoiseParameters, random: np.random.Generator) -> Floats:
    """Position errors (W, T, 2) of tracks `xy` (W, T, 2), metres: Gaussian, stationary, correlated along T.

    Their deviation differs from track to track where `log_std` is above 0: log-normal, `std` its median. Where
    `lateral_factor` is below 1, errors across the direction of motion are smaller than errors along it by this factor.
    """
    white = random.standard_normal(xy.shape)
    keep = float(np.exp(-STEP_SECONDS / noise.correlation_time)) if noise.correlation_time > 0 else 0.0
    errors = white.copy()
    for step in range(1, xy.shape[1]):
        errors[:, step] = keep * errors[:, step - 1] + np.sqrt(1.0 - keep**2) * white[:, step]
    deviation = noise.std * np.exp(noise.log_std * random.standard_normal((len(xy), 1, 1)))
    along, across = np.moveaxis(deviation * errors * np.array([1.0, noise.lateral_factor]), -1, 0)
    cos, sin = np.moveaxis(_directions(xy), -1, 0)
    return np.stack([cos * along - sin * across, sin * along + cos * across], axis=-1)


def _directions(xy: Floats) -> Floats:
    """(W, T, 2) unit vectors of motion; of the whole track's where it stands for a moment, along x where always."""
    steps = np.gradient(xy, axis=1)
    length = np.hypot(steps[..., 0], steps[..., 1])[..., None]
    whole = xy[:, -1:] - xy[:, :1]
    distance = np.hypot(whole[..., 0], whole[..., 1])[..., None]
    otherwise = np.where(distance > STANDS, whole / np.maximum(distance, STANDS), np.array([1.0, 0.0]))
    directions: Floats = np.where(length > STANDS, steps / np.maximum(length, STANDS), otherwise)
    return directions
