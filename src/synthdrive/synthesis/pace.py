"""Changes of pace: a driver who hurries here and dawdles there. Beyond the paper, whose drivers keep their wish."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.parameters.synthesize import PaceParameters

Floats = npt.NDArray[np.float64]

STRETCHES = 64  # drawn for each drive; a longer one begins with the first again


@dataclass(frozen=True)
class Pace:
    """The pace of D drives.

    Attributes:
        shares: (D, STRETCHES) share of the planned speed that is driven on each stretch of road, above 0, up to 1.
        offsets: (D,) metres of the first stretch that lie before the path.
        stretch: metres of one stretch.
    """

    shares: Floats
    offsets: Floats
    stretch: float

    def share(self, along: Floats) -> Floats:
        """(D,) share of the planned speed at these metres along each path."""
        stretch = ((np.maximum(along, 0.0) + self.offsets) / self.stretch).astype(np.int64) % STRETCHES
        shares: Floats = self.shares[np.arange(len(along)), stretch]
        return shares


def draw_pace(count: int, parameters: PaceParameters, random: np.random.Generator) -> Pace:
    """The pace of `count` drives: shares uniform from `slowest` to 1, independent from stretch to stretch."""
    shares = random.uniform(parameters.slowest, 1.0, (count, STRETCHES))
    return Pace(shares, random.uniform(0.0, parameters.stretch, count), parameters.stretch)


def join_pace(parts: list[Pace]) -> Pace:
    """The pace of several blocks of drives as one."""
    shares, offsets = [part.shares for part in parts], [part.offsets for part in parts]
    return Pace(np.concatenate(shares), np.concatenate(offsets), parts[0].stretch)
