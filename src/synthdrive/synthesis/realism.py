"""Options beyond the paper, off by default: stops, speed variation and tracking noise."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from synthdrive.config.synthetic_data import NoiseParameters, SpeedVariationParameters, StopParameters
from synthdrive.core.timing import STEP_SECONDS

Floats = npt.NDArray[np.float64]

STANDING = 0.2  # m/s; a car that is slower than this near a stop line stands still
STOP_REACH = 1.0  # m; greatest distance from the stop line at which a car stands, or after which it has passed it
MARGIN = 0.5  # m; a car aims this far before the stop line, so that the lag of its brakes does not carry it across
BRAKING_ONSET = 0.8  # fraction of the usual braking; once a stop requires more than this, the car brakes


@dataclass
class Stops:
    """The stops of D drives, and which of them each drive has made so far.

    Attributes:
        lines: (D, K) stop lines, metres along the path, rising; infinite after the last one.
        waits: (D, K) seconds to stand at each line.
        braking: usual braking before a stop, m/s2.
    """

    lines: Floats
    waits: Floats
    braking: float
    _next: npt.NDArray[np.int64] = field(init=False)
    _waited: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._next = np.zeros(len(self.lines), dtype=np.int64)
        self._waited = np.zeros(len(self.lines))

    def advance(self, along: Floats, speed: Floats, seconds: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Count a step of waiting and return what the next stop requires.

        Args:
            along: (D,) metres along the path.
            speed: (D,) m/s.
            seconds: length of the step.

        Returns:
            (D,) largest acceleration allowed, m/s2, infinite if no stop is near, and (D,) bool, True where the car must
            stand still.
        """
        row = np.arange(len(along))
        distance = self.lines[row, self._next] - along
        needed = speed**2 / (2.0 * np.maximum(distance - MARGIN, 0.05))
        braking = np.where(needed > BRAKING_ONSET * self.braking, -needed, np.inf)
        braking = np.where(distance < MARGIN + 0.1, np.minimum(braking, -self.braking), braking)
        standing = (speed < STANDING) & (distance < STOP_REACH)
        self._waited = np.where(standing, self._waited + seconds, self._waited)
        passed = (standing & (self._waited >= self.waits[row, self._next])) | (distance < -STOP_REACH)
        self._next = np.minimum(self._next + passed, self.lines.shape[1] - 1)
        self._waited = np.where(passed, 0.0, self._waited)
        return braking, standing & ~passed


def draw_stops(lengths: Floats, parameters: StopParameters, random: np.random.Generator) -> Stops:
    """Draw stops at random places, on average `spacing` metres apart, with random waits.

    Args:
        lengths: (D,) lengths of the paths, metres.
    """
    count = int(np.ceil(2.0 * lengths.max() / parameters.spacing)) + 1
    gaps = random.uniform(0.5, 1.5, (len(lengths), count)) * parameters.spacing
    lines = parameters.min_distance + np.cumsum(gaps, axis=1)
    lines[lines > lengths[:, None]] = np.inf
    lines = np.concatenate([lines, np.full((len(lengths), 1), np.inf)], axis=1)
    waits = random.uniform(parameters.min_wait, parameters.max_wait, lines.shape)
    return Stops(lines, waits, parameters.braking)


def join_stops(parts: list[Stops]) -> Stops:
    """Join the stops of several blocks of drives."""
    widest = max(part.lines.shape[1] for part in parts)
    lines, waits = [], []
    for part in parts:
        pad = ((0, 0), (0, widest - part.lines.shape[1]))
        lines.append(np.pad(part.lines, pad, constant_values=np.inf))
        waits.append(np.pad(part.waits, pad))
    return Stops(np.concatenate(lines), np.concatenate(waits), parts[0].braking)


INTERVALS = 64  # intervals drawn for each drive; on a longer path they repeat


@dataclass(frozen=True)
class SpeedVariation:
    """The speed variation of D drives.

    Attributes:
        factors: (D, INTERVALS) fraction of the planned speed that is driven on each interval of road, in (0, 1].
        offsets: (D,) metres of the first interval that lie before the start of the path.
        interval: length of an interval, metres.
    """

    factors: Floats
    offsets: Floats
    interval: float

    def factor(self, along: Floats) -> Floats:
        """Return the fraction of the planned speed, (D,), at `along` (D,) metres of each path."""
        interval = ((np.maximum(along, 0.0) + self.offsets) / self.interval).astype(np.int64) % INTERVALS
        factors: Floats = self.factors[np.arange(len(along)), interval]
        return factors


def draw_speed_variation(
    count: int, parameters: SpeedVariationParameters, random: np.random.Generator
) -> SpeedVariation:
    """Draw the speed variation of `count` drives: a factor between `min_speed_factor` and 1 for each interval."""
    factors = random.uniform(parameters.min_speed_factor, 1.0, (count, INTERVALS))
    return SpeedVariation(factors, random.uniform(0.0, parameters.interval, count), parameters.interval)


def join_speed_variation(parts: list[SpeedVariation]) -> SpeedVariation:
    """Join the speed variation of several blocks of drives."""
    factors, offsets = [part.factors for part in parts], [part.offsets for part in parts]
    return SpeedVariation(np.concatenate(factors), np.concatenate(offsets), parts[0].interval)


MIN_STEP = 1e-3  # m; a track that moves less than this in a step has no direction of motion


def tracking_noise(xy: Floats, noise: NoiseParameters, random: np.random.Generator) -> Floats:
    """Draw position errors (W, T, 2) for tracks `xy` (W, T, 2), metres: Gaussian, stationary, correlated over time.

    With `log_std` above 0, the standard deviation differs between tracks: it is log-normal with median `std`. Errors
    across the direction of motion are `lateral_factor` times as large as errors along it.
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
    """Return unit vectors of motion (W, T, 2): while a track stands, from its first to its last point, or else +x."""
    steps = np.gradient(xy, axis=1)
    length = np.hypot(steps[..., 0], steps[..., 1])[..., None]
    whole = xy[:, -1:] - xy[:, :1]
    distance = np.hypot(whole[..., 0], whole[..., 1])[..., None]
    otherwise = np.where(distance > MIN_STEP, whole / np.maximum(distance, MIN_STEP), np.array([1.0, 0.0]))
    directions: Floats = np.where(length > MIN_STEP, steps / np.maximum(length, MIN_STEP), otherwise)
    return directions
