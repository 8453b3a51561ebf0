"""Reader of maps of Argoverse 2 motion forecasting: `log_map_archive_<scenario>.json`, the map around one scenario.

Only lane segments for motor vehicles are used (types VEHICLE and BUS, not BIKE). A left or right neighbour that does
not link back runs in the opposite direction and is ignored, as are links beyond the edge of the map. The turn of a lane
is computed from its centreline; the files do not say which lanes have traffic control.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import InputError
from synthdrive.core.geometry import arc_length, interpolate, polyline_of_points
from synthdrive.scenes.lane_map import (
    LARGEST_COORDINATE,
    MAX_POINTS,
    NO_LANE,
    LaneMap,
    LaneSegments,
    Links,
    turn_direction,
)

Floats = npt.NDArray[np.float64]

CAR_LANES = ("VEHICLE", "BUS")
SIDES = ("left", "right")
BOUNDARY_POINTS = 10  # number of points at which the official code averages the two boundaries of a lane
LARGEST_ID = 2**63
MOST_LANES = 1 << 14  # a hundred times those of the largest official map
CROP_MARGIN = 10.0  # m; no bounding box of a lane extends further beyond its centreline


@dataclass(frozen=True)
class VehicleLanes:
    """The L lanes for motor vehicles in one map file.

    Attributes:
        ids: id of each lane, unique in the file.
        lines: centrelines (P, 2), metres, city frame, in driving direction, with at least two distinct points.
        is_intersection: whether each lane is in an intersection.
        successors: rows of the successors of each lane, including lanes that name it as their predecessor.
        left, right: row of the neighbour in the same direction, or NO_LANE.
        left_out: number of lanes and links that were left out, by kind.
    """

    ids: list[int]
    lines: list[Floats]
    is_intersection: list[bool]
    successors: list[list[int]]
    left: list[int]
    right: list[int]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.ids)

    def segments(self, rows: npt.NDArray[np.int64] | None = None) -> LaneSegments:
        """Return lanes (all, or those at `rows` (N,)) with at most ten points each.

        Longer centrelines are resampled, more densely where they turn.
        """
        chosen = range(len(self)) if rows is None else rows.tolist()
        points, counts = np.zeros((len(chosen), MAX_POINTS, 2)), np.empty(len(chosen), dtype=np.int64)
        for place, row in enumerate(chosen):
            line = self.lines[row]
            line = polyline_of_points(line, MAX_POINTS) if len(line) > MAX_POINTS else line
            points[place, : len(line)], counts[place] = line, len(line)
        inside = [self.is_intersection[row] for row in chosen]
        turns = [turn_direction(self.lines[row]) if crosses else 0 for row, crosses in zip(chosen, inside, strict=True)]
        return LaneSegments(
            lane_ids=np.array([self.ids[row] for row in chosen], dtype=np.int64),
            points=points,
            counts=counts,
            turn=np.array(turns, dtype=np.int8),
            is_intersection=np.array(inside, dtype=np.bool_),
            has_traffic_control=np.zeros(len(chosen), dtype=np.bool_),
        )

    def crop(self, x: float, y: float, half_width: float) -> LaneSegments:
        """Return the lanes whose bounding box overlaps a square around (x, y), metres; see `LaneMap.lanes_near`."""
        if not len(self):
            return self.segments()
        starts = np.cumsum([0, *(len(line) for line in self.lines[:-1])])
        flat = np.concatenate(self.lines)
        low, high = np.minimum.reduceat(flat, starts), np.maximum.reduceat(flat, starts)
        reach = half_width + CROP_MARGIN
        near = ((low <= np.array([x, y]) + reach) & (high >= np.array([x, y]) - reach)).all(axis=1)
        segments = self.segments(np.flatnonzero(near))
        boxes = segments.bounding_boxes()
        inside = (boxes[:, 0] <= x + half_width) & (boxes[:, 2] >= x - half_width)
        inside &= (boxes[:, 1] <= y + half_width) & (boxes[:, 3] >= y - half_width)
        return segments.take(np.flatnonzero(inside))

    def lane_map(self, name: str) -> LaneMap:
        """Return a map of all lanes with this name."""
        predecessors: list[list[int]] = [[] for _ in self.ids]
        for row, following in enumerate(self.successors):
            for successor in following:
                predecessors[successor].append(row)
        return LaneMap(
            city=name,
            segments=self.segments(),
            left=np.array(self.left, dtype=np.int64),
            right=np.array(self.right, dtype=np.int64),
            successors=Links.from_lists(self.successors),
            predecessors=Links.from_lists(predecessors),
        )


def read_vehicle_lanes(content: bytes, where: str) -> VehicleLanes:
    """Read the lanes for motor vehicles, possibly none, of a map file.

    Args:
        content: the JSON file.
        where: the file, for messages.

    Raises:
        InputError: the JSON is damaged or not a map, or a lane has no id or fewer than two distinct points.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"unreadable JSON ({error})", "a map of Argoverse 2") from None
    segments = found.get("lane_segments") if isinstance(found, dict) else None
    if not isinstance(segments, dict):
        raise InputError(where, "no lane_segments", "a map of Argoverse 2")
    if len(segments) > MOST_LANES:
        raise InputError(where, f"{len(segments)} lane segments", f"at most {MOST_LANES}")
    records, left_out = dict[int, dict[str, Any]](), Counter[str]()
    for record in segments.values():
        number = record.get("id") if isinstance(record, dict) else None
        if type(number) is not int or abs(number) >= LARGEST_ID:
            raise InputError(where, f"a lane segment with id {number!r:.40}", "a whole number")
        kind = record.get("lane_type", "VEHICLE")
        if kind not in CAR_LANES:
            left_out[f"lanes of type {kind}"[:60]] += 1
        elif number in records:
            raise InputError(f"{where}, lane segment {number}", "a second one of that id", "ids that stand once")
        else:
            records[number] = record
    rows = {number: row for row, number in enumerate(records)}
    linked: list[dict[int, None]] = [{} for _ in rows]  # ordered sets
    for number, row in rows.items():
        at = f"{where}, lane segment {number}"
        for other in _ids(records[number].get("successors"), f"{at}: successors"):
            if other in rows:
                linked[row][rows[other]] = None
            else:
                left_out["links beyond the edge"] += 1
        for other in _ids(records[number].get("predecessors"), f"{at}: predecessors"):
            if other in rows:
                linked[rows[other]][row] = None
    return VehicleLanes(
        ids=list(rows),
        lines=_lines(records, where),
        is_intersection=[bool(record.get("is_intersection")) for record in records.values()],
        successors=[sorted(following) for following in linked],
        left=_neighbours(records, rows, "left_neighbor_id", "right_neighbor_id"),
        right=_neighbours(records, rows, "right_neighbor_id", "left_neighbor_id"),
        left_out=dict(left_out),
    )


def _neighbours(records: dict[int, dict[str, Any]], rows: dict[int, int], side: str, other_side: str) -> list[int]:
    """Return the row of each lane's neighbour on one side, if that has the lane as its neighbour on the other side."""
    neighbours = [record.get(side) for record in records.values()]
    return [
        rows[neighbour]
        if type(neighbour) is int and neighbour in rows and records[neighbour].get(other_side) == number
        else NO_LANE
        for number, neighbour in zip(records, neighbours, strict=True)
    ]


def _ids(value: Any, where: str) -> list[int]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(type(number) is int for number in value):
        raise InputError(where, repr(value)[:60], "ids of lane segments")
    return value


def _lines(records: dict[int, dict[str, Any]], where: str) -> list[Floats]:
    """Return the centreline (P, 2) of each lane: the stored one, else the mean of its two boundaries."""
    lines = []
    for number, record in records.items():
        if record.get("centerline"):
            line = _points(record, "centerline", number, where)
        else:
            left, right = (_points(record, f"{side}_lane_boundary", number, where) for side in SIDES)
            fraction = np.linspace(0.0, 1.0, BOUNDARY_POINTS)
            sides = [interpolate(bound, fraction * arc_length(bound)[-1]) for bound in (left, right)]
            line = (sides[0] + sides[1]) / 2
        if len(line) < 2 or (line == line[0]).all():
            at = f"{where}, lane segment {number}"
            raise InputError(at, "a centreline whose points are all the same", "at least 2 distinct points")
        lines.append(line)
    return lines


def _points(record: dict[str, Any], key: str, number: int, where: str) -> Floats:
    value = record.get(key)
    try:
        points = np.array([(point["x"], point["y"]) for point in value or ()], dtype=np.float64).reshape(-1, 2)
    except (TypeError, KeyError, ValueError, OverflowError):
        at = f"{where}, lane segment {number}, {key}"
        raise InputError(at, "no list of points", "points with x and y in metres") from None
    if len(points) == 0 or not (np.abs(points) <= LARGEST_COORDINATE).all():
        at = f"{where}, lane segment {number}, {key}"
        raise InputError(at, f"{len(points)} points, not all of them numbers", "x and y in metres")
    return points
