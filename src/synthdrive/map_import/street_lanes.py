"""Lanes of any map format before they are cut into segments: join ends, group neighbours, find forks and turns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from synthdrive.core.geometry import arc_length, interpolate
from synthdrive.scenes.lane_map import turn_direction

Points = npt.NDArray[np.float64]

BLEND = 30.0  # m, at most half the lane: length over which the end of a lane is bent to meet the next
LONGEST = 400.0  # m; longer lanes are cut first, because the time to draw a lane grows with the square of its length
MAX_GAP = 4.0  # m; the centreline of a lane that narrows to nothing ends half a lane's width beside the next


@dataclass
class StreetLane:
    """One lane of a street or across a junction.

    Attributes:
        name: unique name, for SUMO networks SUMO's id.
        edge: id of the group of parallel lanes to which it belongs.
        index: position in this group, counted from the right.
        points: (P, 2) float64, centreline, metres, in driving direction.
        speed: speed limit, m/s.
        internal: whether it lies within a junction of the source file.
        turn: LEFT -1, NONE 0, RIGHT +1.
        in_junction: whether it leads across a junction where lanes fork or merge.
        signalled: whether a traffic light applies to it.
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
        """Length of the centreline, metres."""
        return float(np.hypot(*np.diff(self.points, axis=0).T).sum())


Lanes = Mapping[str, StreetLane]


def drop_gaps(lanes: Lanes) -> int:
    """Remove the links between lanes whose ends lie more than MAX_GAP apart; return their number."""
    dropped = 0
    for lane in lanes.values():
        near = [name for name in lane.successors if math.dist(lane.points[-1], lanes[name].points[0]) <= MAX_GAP]
        dropped += len(lane.successors) - len(near)
        lane.successors = near
    return dropped


def meet(lanes: Lanes) -> None:
    """Bend the ends of lanes that join, so that they meet in one point.

    That point is the end with the least sum of distances to the others: where a lane merges into another, the one that
    continues stays straight.
    """
    ends: dict[str, set[str]] = {}  # for each lane end, all ends that meet there; "+": end of a lane, "-": its start
    for lane in lanes.values():
        for successor in lane.successors:
            joined = ends.setdefault(f"+{lane.name}", {f"+{lane.name}"})
            other = ends.setdefault(f"-{successor}", {f"-{successor}"})
            if joined is not other:
                joined |= other
                for end in other:
                    ends[end] = joined
    seen: set[int] = set()
    target: dict[str, Points] = {}
    for joined in ends.values():
        if id(joined) in seen:
            continue
        seen.add(id(joined))
        names = sorted(joined)
        places = np.array([lanes[name[1:]].points[-1 if name[0] == "+" else 0] for name in names])
        distance = np.linalg.norm(places[:, None] - places, axis=-1).sum(axis=1).round(6)
        target |= dict.fromkeys(names, places[int(distance.argmin())])
    for name, lane in lanes.items():
        from_start = _blended(lane.points, target.get(f"-{name}"))
        lane.points = _blended(from_start[::-1], target.get(f"+{name}"))[::-1]


def _blended(points: Points, start: Points | None) -> Points:
    """Move the start of a line to `start`, and the following points by a decreasing part of this shift."""
    if start is None or (points[0] == start).all():
        return points
    along = arc_length(points)
    left = np.clip(1.0 - along / max(min(BLEND, along[-1] / 2), 1e-6), 0.0, 1.0)
    weight = left**2 * (3 - 2 * left)
    moved: Points = points + weight[:, None] * (start - points[0])
    return moved


def group_beside(lanes: Lanes, left_of: Mapping[str, str]) -> None:
    """Give lanes that lie side by side the same `edge`, and an `index` in it counted from the right.

    Args:
        left_of: for each lane, its left neighbour in the same direction; if several lanes have the same left neighbour,
            these pairs are ignored.
    """
    right_of: dict[str, str] = {}
    for lane, left in left_of.items():
        right_of[left] = "" if left in right_of else lane
    pairs = {right: left for left, right in right_of.items() if right}
    grouped: set[str] = set()
    # Start at the rightmost lanes; the second pass is for lanes that are neighbours in a ring.
    for name in [name for name in lanes if not right_of.get(name)] + list(lanes):
        place, edge = 0, name
        while name and name not in grouped:
            grouped.add(name)
            lanes[name].edge, lanes[name].index = edge, place
            name, place = pairs.get(name, ""), place + 1


def mark_forks(lanes: Lanes, candidates: Iterable[str]) -> None:
    """Mark those of the candidates that fork from or merge with other lanes as in a junction."""
    leading: dict[str, int] = {}
    for lane in lanes.values():
        for successor in lane.successors:
            leading[successor] = leading.get(successor, 0) + 1
    fork = {name for lane in lanes.values() if len(lane.successors) > 1 for name in lane.successors}
    for name in candidates:
        merges = any(leading[successor] > 1 for successor in lanes[name].successors)
        lanes[name].in_junction = lanes[name].in_junction or name in fork or merges


def cut_long(lanes: Lanes) -> dict[str, StreetLane]:
    """Cut the lanes of edges longer than LONGEST into successive parts."""
    longest: dict[str, float] = {}
    for lane in lanes.values():
        longest[lane.edge] = max(longest.get(lane.edge, 0.0), lane.length)
    parts = {edge: math.ceil(length / LONGEST) for edge, length in longest.items()}
    cut: dict[str, StreetLane] = {}
    for name, lane in lanes.items():
        count = parts[lane.edge]
        at = arc_length(lane.points)
        ends = np.linspace(0.0, at[-1], count + 1)
        for part in range(count if count > 1 else 0):
            start, end = ends[part], ends[part + 1]
            inner = at[(at > start + 0.01) & (at < end - 0.01)]
            onward = lane.successors if part == count - 1 else [f"{name}/{part + 1}"]
            cut[_part(name, part)] = replace(
                lane, name=_part(name, part), edge=_part(lane.edge, part), successors=onward,
                points=interpolate(lane.points, np.concatenate([[start], inner, [end]])),
            )  # fmt: skip
        if count <= 1:
            cut[name] = lane
    return cut


def _part(name: str, part: int) -> str:
    return f"{name}/{part}" if part else name


def set_turns(lanes: Lanes) -> None:
    """Set the missing turns of lanes in junctions, from the change of heading across the whole junction."""
    before: dict[str, list[str]] = {}
    for lane in lanes.values():
        for successor in lane.successors:
            before.setdefault(successor, []).append(lane.name)
    for lane in lanes.values():
        if not lane.in_junction or lane.turn:
            continue
        across = _lanes_across(lane, lanes, before)
        lane.turn = turn_direction(np.concatenate([lanes[name].points for name in across]))


def _lanes_across(lane: StreetLane, lanes: Lanes, before: Mapping[str, list[str]]) -> list[str]:
    """Return the lanes in the junction that lead to this one and on from it, up to the first fork or merge."""
    chain = [lane.name]
    while len(onward := lanes[chain[-1]].successors) == 1 and onward[0] not in chain and lanes[onward[0]].in_junction:
        if len(before[onward[0]]) > 1:
            break
        chain.append(onward[0])
    while len(back := before.get(chain[0], [])) == 1 and back[0] not in chain and lanes[back[0]].in_junction:
        if len(lanes[back[0]].successors) > 1:
            break
        chain.insert(0, back[0])
    return chain


def crossing(lanes: Lanes) -> set[str]:
    """Return the lanes whose centreline crosses another; lanes that fork or merge only touch and do not count."""
    names = list(lanes)
    lines = [interpolate(lane.points, np.linspace(0.0, lane.length, 20)) for lane in lanes.values()]
    low, high = np.array([line.min(axis=0) for line in lines]), np.array([line.max(axis=0) for line in lines])
    found: set[str] = set()
    for row, name in enumerate(names):
        near = (low[row + 1 :] <= high[row]).all(axis=1) & (high[row + 1 :] >= low[row]).all(axis=1)
        for other in (np.flatnonzero(near) + row + 1).tolist():
            if _cross(lines[row], lines[other]):
                found |= {name, names[other]}
    return found


def _cross(one: Points, other: Points) -> bool:
    """Return whether two polylines cross; touching does not count."""
    start, step = one[:-1, None], np.diff(one, axis=0)[:, None]
    begin, stride = other[None, :-1], np.diff(other, axis=0)[None]
    side_of_begin, side_of_end = _side(step, begin - start), _side(step, begin + stride - start)
    side_of_start, side_of_stop = _side(stride, start - begin), _side(stride, start + step - begin)
    return bool(((side_of_begin * side_of_end < -1e-6) & (side_of_start * side_of_stop < -1e-6)).any())


def _side(direction: Points, offset: Points) -> Points:
    side: Points = direction[..., 0] * offset[..., 1] - direction[..., 1] * offset[..., 0]
    return side
