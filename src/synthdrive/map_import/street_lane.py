"""A lane of a street as a map in any format gives it, before it is cut into Argoverse's segments."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass
class StreetLane:
    """One lane of a street, or of a way across a junction.

    Attributes:
        name: SUMO's id.
        edge: id of the street or way it belongs to.
        index: place in it, counted from the right.
        points: (P, 2) float64, centreline, metres, in driving direction.
        speed: m/s, the limit.
        turn: LEFT -1, NONE 0, RIGHT +1.
        in_junction: it leads across a junction where ways part or meet.
        signalled: a traffic light rules it.
        successors: names of the lanes that follow.
    """

    name: str
    edge: str
    index: int
    points: npt.NDArray[np.float64]
    speed: float
    internal: bool
    turn: int = 0
    in_junction: bool = False
    signalled: bool = False
    successors: list[str] = field(default_factory=list)

    @property
    def length(self) -> float:
        """Metres along the centreline."""
        return float(np.hypot(*np.diff(self.points, axis=0).T).sum())
