"""Where the lanes beside a route are, so that a driver can change to them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.augmentation.corridor import densify, headings, lane_points
from synthdrive.augmentation.transforms import Transform
from synthdrive.scenes.lane_map import NO_LANE, LaneMap

Floats = npt.NDArray[np.float64]

NEAREST, FURTHEST = 2.0, 6.0  # m; a neighbour's centreline lies between these from the lane's own
SPACING = 1.0  # m


def neighbour_offsets(
    lane_map: LaneMap, lanes: npt.NDArray[np.int64], transform: Transform, centreline: Floats
) -> npt.NDArray[np.float32]:
    """Metres to the left at which the neighbour lanes' centrelines run beside a centreline.

    Args:
        lanes: (N,) row of the lane that each point of the centreline is on.
        transform: warps the map.
        centreline: (N, 2) metres, on the warped map.

    Returns:
        (N, 2) float32: of the left neighbour (positive) and of the right one (negative); 0 where there is none, or
        where it runs the other way.
    """
    offsets = np.zeros((len(centreline), 2), dtype=np.float32)
    heading = headings(centreline)
    for side, neighbours in enumerate((lane_map.left, lane_map.right)):
        for lane in np.unique(lanes[neighbours[lanes] != NO_LANE]):
            points = np.flatnonzero(lanes == lane)
            beside = transform.warp(densify(lane_points(lane_map.segments, int(neighbours[lane])), SPACING))
            offset = beside[None] - centreline[points][:, None]  # [P, Q, 2]
            cos, sin = np.cos(heading[points])[:, None], np.sin(heading[points])[:, None]
            ahead, left = cos * offset[..., 0] + sin * offset[..., 1], cos * offset[..., 1] - sin * offset[..., 0]
            nearest = np.abs(ahead).argmin(axis=1)[:, None]
            lateral = np.take_along_axis(left, nearest, axis=1)[:, 0] * (1, -1)[side]
            gap = np.abs(np.take_along_axis(ahead, nearest, axis=1)[:, 0])
            along = beside[-1] - beside[0]
            same_way = cos[:, 0] * along[0] + sin[:, 0] * along[1] > 0
            there = same_way & (gap < SPACING) & (lateral > NEAREST) & (lateral < FURTHEST)
            offsets[points[there], side] = lateral[there] * (1, -1)[side]
    return offsets
