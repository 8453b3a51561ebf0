"""Vehicles parked along the kerb: two in three tracks of Argoverse 1 stand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.recording.centrelines import along, arc_length
from synthdrive.recording.street_lanes import StreetLane

_SLOT = 7.0  # m of kerb for a parked vehicle
_CLEAR = 12.0  # m beside junctions, without parking
_TO_THE_SIDE = 2.6  # m, from the centreline of the lane beside (3.2 m wide) to the middle of the vehicle
_SPREAD = 0.15  # m, standard deviation of that


def park(lanes: dict[str, StreetLane], per_km: float, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """(P, 2) float64, metres: middles of the parked vehicles, `per_km` a km of kerb in the mean.

    Some streets are full and some are empty: the density of a street is drawn from an exponential distribution.
    """
    kerb: dict[str, StreetLane] = {}
    for lane in lanes.values():
        if not lane.internal and (lane.edge not in kerb or lane.index < kerb[lane.edge].index):
            kerb[lane.edge] = lane
    places = [np.zeros((0, 2))]
    for lane in kerb.values():
        slots = int((arc_length(lane.points)[-1] - 2 * _CLEAR) // _SLOT)
        if slots < 1:
            continue
        count = min(slots, random.poisson(per_km * slots * _SLOT / 1000 * random.exponential()))
        slot = np.sort(random.choice(slots, count, replace=False))
        at = _CLEAR + _SLOT * (slot + random.uniform(0.4, 0.6, count))
        ahead = along(lane.points, at + 0.5) - along(lane.points, at - 0.5)
        right = np.stack([ahead[:, 1], -ahead[:, 0]], axis=-1) / np.maximum(np.hypot(*ahead.T), 1e-6)[:, None]
        places.append(along(lane.points, at) + random.normal(_TO_THE_SIDE, _SPREAD, (count, 1)) * right)
    return np.concatenate(places)
