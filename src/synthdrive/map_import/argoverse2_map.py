"""Maps of Argoverse 2 (log_map_archive_*.json): the lanes of its vehicles, as lanes."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import InputError
from synthdrive.core.geometry import arc_length, interpolate
from synthdrive.map_import.joints import drop_gaps, group_beside, meet, set_turns
from synthdrive.map_import.street_lane import StreetLane

Floats = npt.NDArray[np.float64]

CAR_LANES = ("VEHICLE", "BUS")
SIDES = ("left", "right")
CENTRELINE_POINTS = 10  # as the official code takes them from the two boundaries
LARGEST_COORDINATE = 1e7  # m, as in the vector maps of Argoverse


def read_argoverse2(content: bytes, where: str) -> tuple[dict[str, StreetLane], dict[str, int]]:
    """The lanes by name (their id), and how many of what was left out.

    Links to lanes beyond the map's edge are forgotten; a neighbour that does not name the lane back runs the other way
    and is none.

    Raises:
        InputError: the JSON is damaged or of another kind, a lane lacks a key or has points that are no numbers.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"unreadable JSON ({error})", "a map of Argoverse 2") from None
    segments = found.get("lane_segments") if isinstance(found, dict) else None
    if not isinstance(segments, dict) or not segments:
        raise InputError(where, "no lane_segments", "a map of Argoverse 2")
    lanes, records, left_out = dict[str, StreetLane](), dict[str, dict[str, Any]](), Counter[str]()
    for record in segments.values():
        if not isinstance(record, dict) or record.get("id") is None:
            raise InputError(where, "a lane segment without id", "a map of Argoverse 2")
        name, kind = str(record["id"])[:40], record.get("lane_type", "VEHICLE")
        if kind not in CAR_LANES:
            left_out[f"lanes of type {kind}"[:60]] += 1
            continue
        at = f"{where}, lane segment {name}"
        points = _centreline(record, at)
        junction = bool(record.get("is_intersection"))
        lanes[name] = StreetLane(name, name, 0, points, 0.0, internal=junction, in_junction=junction)
        records[name] = record
    if not lanes:
        raise InputError(where, "no lane for cars", f"lane segments of type {' or '.join(CAR_LANES)}")
    for name, record in records.items():
        ends = {str(other) for other in _list(record.get("successors"))}
        ends |= {other for other in records if name in map(str, _list(records[other].get("predecessors")))}
        lanes[name].successors = [other for other in lanes if other in ends]
        left_out["links beyond the edge"] += len(ends) - len(lanes[name].successors)
    left_out["links across a gap"] = drop_gaps(lanes)
    lefts = {name: str(record.get("left_neighbor_id")) for name, record in records.items()}
    rights = {name: str(record.get("right_neighbor_id")) for name, record in records.items()}
    group_beside(lanes, {name: left for name, left in lefts.items() if rights.get(left) == name})
    meet(lanes)
    set_turns(lanes)
    return lanes, dict(left_out)


def _centreline(record: dict[str, Any], where: str) -> Floats:
    if record.get("centerline"):
        return _points(record["centerline"], f"{where}, centerline")
    left, right = (_points(record.get(f"{side}_lane_boundary"), f"{where}, {side}_lane_boundary") for side in SIDES)
    fractions = np.linspace(0.0, 1.0, CENTRELINE_POINTS)
    sides = [interpolate(bound, fractions * arc_length(bound)[-1]) for bound in (left, right)]
    middle: Floats = (sides[0] + sides[1]) / 2
    return middle


def _points(value: Any, where: str) -> Floats:
    try:
        points = np.array([[float(point["x"]), float(point["y"])] for point in value])
    except (TypeError, KeyError, ValueError, OverflowError):
        raise InputError(where, "no list of points", "points with x and y in metres") from None
    if len(points) == 0 or not (np.abs(points) <= LARGEST_COORDINATE).all():
        raise InputError(where, f"{len(points)} points, not all of them numbers", "x and y in metres")
    return points


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
