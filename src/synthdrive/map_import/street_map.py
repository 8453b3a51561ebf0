"""Draw lanes as Argoverse 1 does: as lane segments of at most ten points, with the links between them."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.config.record_sample import MapParameters
from synthdrive.core.geometry import arc_length, distance_to_polyline, interpolate
from synthdrive.map_import.street_lanes import StreetLane
from synthdrive.scenes.lane_map import MAX_POINTS, NO_LANE, LaneMap, LaneSegments, Links

Points = npt.NDArray[np.float64]

_MIN_SPACING = 0.5  # m between points; a piece shorter than 4.5 m therefore has fewer than ten points


def cut(points: Points, pieces: int) -> list[Points]:
    """Cut a polyline into pieces of equal length, each with 2 to 10 points at equal steps.

    Args:
        points: (P, 2) metres.

    Returns:
        `pieces` arrays (2 to 10, 2), metres; each starts at the point where the one before ends.
    """
    ends = np.linspace(0.0, arc_length(points)[-1], pieces + 1)
    count = min(MAX_POINTS, max(2, math.ceil(ends[1] / _MIN_SPACING) + 1))
    drawn = [
        interpolate(points, np.linspace(start, end, count)) for start, end in zip(ends[:-1], ends[1:], strict=True)
    ]
    drawn[0][0], drawn[-1][-1] = points[0], points[-1]
    return drawn


def pieces_needed(points: Points, max_length: float, max_deviation: float) -> int:
    """Return the number of pieces into which `cut` must cut a polyline so that each is short and keeps its shape.

    Args:
        points: (P, 2) metres.
        max_length: greatest length of a piece, metres.
        max_deviation: greatest distance from a point of the polyline to the pieces, metres.
    """
    length = arc_length(points)[-1]
    fewest = max(1, math.ceil(length / max_length - 1e-9))
    for pieces in range(fewest, fewest + 10):
        line = np.concatenate(cut(points, pieces))
        if length / pieces < MAX_POINTS * _MIN_SPACING or distance_to_polyline(points, line).max() <= max_deviation:
            return pieces
    return pieces


@dataclass(frozen=True)
class _Piece:
    lane: StreetLane
    points: Points


def draw_map(city: str, lanes: dict[str, StreetLane], drawing: MapParameters, first_id: int) -> LaneMap:
    """Cut the lanes into lane segments and link them.

    Successive lanes share their common point exactly. A lane shorter than `drawing.min_length` is left out, and the
    lanes at its two ends are joined. Neighbours are the lanes with the same `edge`.

    Args:
        city: name of the map.
        lanes: lanes by name, for instance from `sumo_network.read_street_lanes`.
        first_id: id of the first lane segment; the others follow consecutively.
    """
    drawn, successors = _without_stubs(lanes, drawing.min_length)
    edges = defaultdict(list)
    for lane in drawn.values():
        edges[lane.edge].append(lane)
    count = {
        edge: max(pieces_needed(lane.points, drawing.max_length, drawing.max_deviation) for lane in members)
        for edge, members in edges.items()
    }
    pieces, first = list[_Piece](), dict[str, int]()
    for name, lane in drawn.items():
        first[name] = len(pieces)
        pieces += [_Piece(lane, points) for points in cut(lane.points, count[lane.edge])]
    last = {name: first[name] + count[lane.edge] - 1 for name, lane in drawn.items()}

    following: list[list[int]] = [[] for _ in pieces]
    leading: list[list[int]] = [[] for _ in pieces]
    left = np.full(len(pieces), NO_LANE, dtype=np.int64)
    right = left.copy()
    for name, lane in drawn.items():
        links = [(row, row + 1) for row in range(first[name], last[name])]
        for row, successor in links + [(last[name], first[other]) for other in successors[name]]:
            following[row].append(successor)
            leading[successor].append(row)
        for other in edges[lane.edge]:
            side = {1: left, -1: right}.get(other.index - lane.index)
            if side is not None:
                side[first[name] : last[name] + 1] = np.arange(first[other.name], last[other.name] + 1)
    segments = _segments(pieces, first_id)
    return LaneMap(city, segments, left, right, Links.from_lists(following), Links.from_lists(leading))


def _segments(pieces: list[_Piece], first_id: int) -> LaneSegments:
    points = np.zeros((len(pieces), MAX_POINTS, 2))
    for row, piece in enumerate(pieces):
        points[row, : len(piece.points)] = piece.points.round(3)
    return LaneSegments(
        lane_ids=np.arange(first_id, first_id + len(pieces), dtype=np.int64),
        points=points,
        counts=np.array([len(piece.points) for piece in pieces], dtype=np.int64),
        turn=np.array([piece.lane.turn for piece in pieces], dtype=np.int8),
        is_intersection=np.array([piece.lane.in_junction for piece in pieces]),
        has_traffic_control=np.array([piece.lane.signalled for piece in pieces]),
    )


def _without_stubs(
    lanes: dict[str, StreetLane], min_length: float
) -> tuple[dict[str, StreetLane], dict[str, list[str]]]:
    """Leave out lanes that are too short, move the ends of the others to common points, and return their successors."""
    kept = {name: lane for name, lane in lanes.items() if lane.length >= min_length}
    node = _Nodes()
    for name, lane in lanes.items():
        for successor in lane.successors:
            node.join(f"{name} end", f"{successor} start")
        if name not in kept:
            node.join(f"{name} start", f"{name} end")
    places = defaultdict(list)
    for name, lane in kept.items():
        places[node.of(f"{name} start")].append(lane.points[0])
        places[node.of(f"{name} end")].append(lane.points[-1])
    centre = {key: np.mean(points, axis=0) for key, points in places.items()}
    drawn = {}
    for name, lane in kept.items():
        points = lane.points.copy()
        points[0], points[-1] = centre[node.of(f"{name} start")], centre[node.of(f"{name} end")]
        drawn[name] = StreetLane(**{**vars(lane), "points": points})
    return drawn, {name: _kept_successors(name, lanes, kept) for name in kept}


def _kept_successors(name: str, lanes: dict[str, StreetLane], kept: dict[str, StreetLane]) -> list[str]:
    found, waiting, seen = list[str](), list(lanes[name].successors), set[str]()
    while waiting:
        successor = waiting.pop(0)
        if successor in seen:
            continue
        seen.add(successor)
        if successor in kept:
            found.append(successor)
        else:
            waiting += lanes[successor].successors
    return found


class _Nodes:
    """Groups of lane ends that are the same point (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def of(self, end: str) -> str:
        root = end
        while self._parent.get(root, root) != root:
            root = self._parent[root]
        while self._parent.get(end, end) != root:
            self._parent[end], end = root, self._parent[end]
        return root

    def join(self, one: str, other: str) -> None:
        first, second = self.of(one), self.of(other)
        if first != second:
            self._parent[second] = first
