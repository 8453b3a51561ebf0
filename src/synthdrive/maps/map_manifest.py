"""A row for each lane of the maps, with what the gate judges."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.maps.lane_map import NO_LANE, LaneMap, Links
from synthdrive.maps.lane_segments import LaneSegments


def map_manifest(maps: list[LaneMap]) -> pa.Table:
    """One row a lane, in the order of the maps and of their files.

    Columns: city, lane_id, n_points, length (m), min_spacing, max_spacing (m, between neighbouring points), finite,
    turn (LEFT -1, NONE 0, RIGHT +1), is_intersection, has_traffic_control, n_successors, n_predecessors,
    successors_link_back (each successor names this lane as a
    predecessor, and the other way round), neighbours_link_back (each neighbour names this lane as a neighbour),
    successor_gap (m, the largest distance from this lane's end to a successor's start; 0 without successors).
    """
    return pa.concat_tables([_lanes(lane_map) for lane_map in maps])


def _lanes(lane_map: LaneMap) -> pa.Table:
    segments, size = lane_map.segments, len(lane_map)
    spacing = np.where(segments.valid[:, 1:], np.linalg.norm(np.diff(segments.points, axis=1), axis=2), np.nan)
    finite = np.isfinite(np.where(segments.valid[..., None], segments.points, 0.0)).all(axis=(1, 2))
    columns: dict[str, Any] = {
        "city": pa.array([lane_map.city] * size, pa.string()),
        "lane_id": segments.lane_ids,
        "n_points": segments.counts,
        "length": np.nansum(spacing, axis=1),
        "min_spacing": np.nanmin(spacing, axis=1),
        "max_spacing": np.nanmax(spacing, axis=1),
        "finite": finite,
        "turn": segments.turn.astype(np.int64),
        "is_intersection": segments.is_intersection,
        "has_traffic_control": segments.has_traffic_control,
        "n_successors": np.diff(lane_map.successors.offsets),
        "n_predecessors": np.diff(lane_map.predecessors.offsets),
        "successors_link_back": _linked_back(lane_map),
        "neighbours_link_back": _neighbours_back(lane_map),
        "successor_gap": _successor_gaps(segments, lane_map.successors),
    }
    return pa.table(columns)


def _pairs(links: Links) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(N,) rows that a link leads from, and to."""
    return np.repeat(np.arange(len(links.offsets) - 1), np.diff(links.offsets)), links.rows


def _linked_back(lane_map: LaneMap) -> npt.NDArray[np.bool_]:
    (lane, follower), (later, earlier) = _pairs(lane_map.successors), _pairs(lane_map.predecessors)
    size = len(lane_map)
    forward, backward = lane * size + follower, earlier * size + later
    good = np.ones(size, dtype=np.bool_)
    good[lane[~np.isin(forward, backward)]] = False
    good[later[~np.isin(backward, forward)]] = False
    return good


def _neighbours_back(lane_map: LaneMap) -> npt.NDArray[np.bool_]:
    good, rows = np.ones(len(lane_map), dtype=np.bool_), np.arange(len(lane_map))
    for neighbour in (lane_map.left, lane_map.right):
        there = neighbour != NO_LANE
        back = (lane_map.left[neighbour] == rows) | (lane_map.right[neighbour] == rows)
        good &= ~there | back
    return good


def _successor_gaps(segments: LaneSegments, successors: Links) -> npt.NDArray[np.float64]:
    lane, follower = _pairs(successors)
    ends = segments.points[np.arange(len(segments)), segments.counts - 1]
    gaps = np.zeros(len(segments))
    np.maximum.at(gaps, lane, np.linalg.norm(segments.points[follower, 0] - ends[lane], axis=1))
    return gaps
