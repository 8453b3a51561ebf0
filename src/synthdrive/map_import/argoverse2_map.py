"""Maps of Argoverse 2 (log_map_archive_*.json) as streets: lanes that are cut and drawn like those of other formats."""

from __future__ import annotations

from collections import Counter

from synthdrive.core.errors import InputError
from synthdrive.formats.argoverse2_map_reader import CAR_LANES, read_vehicle_lanes
from synthdrive.map_import.joints import drop_gaps, group_beside, meet, set_turns
from synthdrive.map_import.street_lane import StreetLane
from synthdrive.scenes.lane_map import NO_LANE


def read_argoverse2(content: bytes, where: str) -> tuple[dict[str, StreetLane], dict[str, int]]:
    """The lanes by name (their id), and how many of what was left out; see `read_vehicle_lanes`.

    Raises:
        InputError: as `read_vehicle_lanes`, or there is no lane for motor vehicles.
    """
    found = read_vehicle_lanes(content, where)
    if not len(found):
        raise InputError(where, "no lane for cars", f"lane segments of type {' or '.join(CAR_LANES)}")
    names = [str(number) for number in found.ids]
    lanes = {
        name: StreetLane(name, name, 0, line, 0.0, internal=junction, in_junction=junction)
        for name, line, junction in zip(names, found.lines, found.is_intersection, strict=True)
    }
    for name, successors in zip(names, found.successors, strict=True):
        lanes[name].successors = [names[row] for row in successors]
    left_out = Counter(found.left_out)
    left_out["links across a gap"] = drop_gaps(lanes)
    group_beside(lanes, {name: names[left] for name, left in zip(names, found.left, strict=True) if left != NO_LANE})
    meet(lanes)
    set_turns(lanes)
    return lanes, dict(left_out)
