"""Lane changes: the centreline moved to a neighbour lane and back. Beyond the paper, whose drives keep their lane."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.augmentation.corridor import headings
from synthdrive.config.synthesize import LaneChangeParameters
from synthdrive.core.geometry import arc_length

Floats = npt.NDArray[np.float64]


def with_lane_changes(
    centreline: Floats, neighbours: Floats, parameters: LaneChangeParameters, random: np.random.Generator
) -> Floats:
    """A centreline that here and there runs in a neighbour lane.

    A change needs a neighbour lane all along: `length` metres over, `stay` metres there and `length` metres back.

    Args:
        centreline: (N, 2) metres, dense.
        neighbours: (N, 2) metres to the left to the left and right neighbour lanes, 0 where there is none.

    Returns:
        (N, 2) metres.
    """
    along = arc_length(centreline)
    offset = np.zeros(len(centreline))
    whole = 2 * parameters.length + parameters.stay
    position = random.uniform(0.0, parameters.spacing)
    while position + whole < along[-1]:
        inside = (along >= position) & (along <= position + whole)
        sides = [side for side in (0, 1) if np.all(neighbours[inside, side] != 0.0)]
        if sides:
            side = int(random.choice(sides))
            share = _there_and_back(along[inside] - position, parameters.length, whole)
            offset[inside] = share * neighbours[inside, side]
            position += whole
        position += random.uniform(0.5, 1.5) * parameters.spacing
    heading = headings(centreline)
    moved: Floats = centreline + offset[:, None] * np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    return moved


def _there_and_back(along: Floats, length: float, whole: float) -> Floats:
    """Share of the way to the neighbour lane: a smooth step up, 1, a smooth step down."""
    share = np.clip(np.minimum(along, whole - along) / length, 0.0, 1.0)
    smooth: Floats = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
    return smooth
