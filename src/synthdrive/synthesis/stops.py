"""Stops and starts, as at signs and lights. Beyond the paper, whose drives never stop."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from synthdrive.parameters.synthesize import StopParameters

Floats = npt.NDArray[np.float64]

STANDING = 0.2  # m/s; slower than this within reach of the line, and the car stands
REACH = 1.0  # m
MARGIN = 0.5  # m before the line that a car aims for, so that the lag of its brakes does not carry it across
EASE = 0.8  # share of the braking at which the approach to a line begins
FIRST_STOP = 25.0  # m from a path's start, at least


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
    lines = FIRST_STOP + np.cumsum(gaps, axis=1)
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
