"""Lanelet2 (.osm with lanelets): read the lanelets that cars may use as lanes.

In this format, a lanelet has a left and a right bound, which are ways that neighbouring lanelets share. A lanelet
follows another if both bounds start where the other's end, and lies beside it if they share a bound. `participant:`
tags, or else the subtype, say which road users may use it; lanelets of roads are one-way unless a tag says otherwise.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import InputError
from synthdrive.core.geometry import arc_length, interpolate
from synthdrive.map_import.osm_file import Element, OsmFile
from synthdrive.map_import.street_lanes import StreetLane, crossing, group_beside, mark_forks, meet, set_turns

Floats = npt.NDArray[np.float64]

CAR_SUBTYPES = ("road", "highway", "play_street", "exit", "")  # a lanelet without a subtype is a road
YES, NO = ("yes", "true", "1"), ("no", "false", "0")
TURNS = {"left": -1, "straight": 0, "right": 1}  # values of the tag turn_direction in Autoware's maps
STEP = 1.0  # m between the points of a centreline
CENTIMETRES = 100.0  # per metre; points that round to the same centimetre count as equal
MOST_POINTS = 1 << 22  # of all lanes together, about 4,000 km


@dataclass(frozen=True)
class _Lanelet:
    """A lanelet: its bounds in driving direction, (P, 2) metres, and its centreline if the file has one."""

    element: Element
    left: Floats
    right: Floats
    centre: Floats | None

    def reversed(self) -> _Lanelet:
        """Return the same lanelet in the opposite driving direction."""
        centre = None if self.centre is None else self.centre[::-1]
        return _Lanelet(self.element, self.right[::-1], self.left[::-1], centre)


def read_lanelet2(
    content: bytes, where: str, skip_broken: bool = False
) -> tuple[dict[str, StreetLane], str, dict[str, int]]:
    """Read the lanes by name, their frame, and the number of lanelets left out by kind.

    The name of a lane is the lanelet's id, with `-` appended for the opposite direction of a two-way lanelet.

    Args:
        content: content of the file.
        where: name of the file, for messages.
        skip_broken: leave out lanelets that lack a bound, a way or a node, instead of raising.

    Raises:
        InputError: see `osm_file.OsmFile`; a bound of a lanelet is missing or has no extent; a node has no position;
            there is no lanelet for cars.
    """
    file = OsmFile(content, where)
    left_out: Counter[str] = Counter()
    chosen: list[tuple[Element, list[str], list[str], list[str]]] = []
    for element in file.relations.values():
        if element.tags.get("type") != "lanelet":
            continue
        if not _for_cars(element.tags):
            left_out[f"lanelets not for cars, subtype {element.tags.get('subtype', 'none')[:30]}"] += 1
            continue
        try:
            left, right, centre = (_bound(file, element, role) for role in ("left", "right", "centerline"))
        except InputError:
            if not skip_broken:
                raise
            left_out["broken lanelets"] += 1
        else:
            chosen.append((element, left, right, centre))
    if not chosen:
        raise InputError(where, "no lanelet for cars", "at least one lanelet of subtype road")
    places, frame = file.positions({node for _, *bounds in chosen for nodes in bounds for node in nodes})
    lanelets = dict[str, _Lanelet]()
    for element, left, right, centre in chosen:
        lines = [np.array([places[node] for node in nodes]) for nodes in (left, right, centre)]
        lanelet = _oriented(element, lines[0], lines[1], lines[2] if len(centre) > 1 else None)
        if lanelet is None:
            error = file.error("lanelet", element, "bounds without extent", "two bounds with a lane between them", SKIP)
            if not skip_broken:
                raise error
            left_out["broken lanelets"] += 1
            continue
        lanelets[element.name] = lanelet
        if element.tags.get("one_way:vehicle", element.tags.get("one_way", "yes")).lower() in NO:
            lanelets[f"{element.name}-"] = lanelet.reversed()
    return _lanes(file, lanelets), frame, dict(left_out)


SKIP = "--skip-broken leaves such lanelets out."


def _for_cars(tags: dict[str, str]) -> bool:
    participants = {key: value.lower() in YES for key, value in tags.items() if key.startswith("participant:")}
    if participants:
        return participants.get("participant:vehicle:car", participants.get("participant:vehicle", False))
    return tags.get("subtype", "") in CAR_SUBTYPES


def _bound(file: OsmFile, lanelet: Element, role: str) -> list[str]:
    """Return the nodes of a bound or centreline, which consists of one or several ways; a centreline may be missing."""
    names = [name for kind, name, of in lanelet.members if kind == "way" and of == role]
    if not names and role != "centerline":
        raise file.error("lanelet", lanelet, f"no {role} bound", "a way as left and one as right bound", SKIP)
    parts = []
    for name in names:
        way = file.ways.get(name)
        if way is None:
            found = f"way {name[:40]!r} as {role} bound, which the file does not have"
            raise file.error("lanelet", lanelet, found, "ways of the file", SKIP)
        missing = next((node for node in way.nodes if not file.has_node(node)), None)
        if missing is not None:
            found = f"node {missing[:40]!r}, which the file does not have"
            raise file.error("way", way, found, "nodes of the file", SKIP)
        if len(way.nodes) >= 2:
            parts.append(way.nodes)
        elif role != "centerline":
            raise file.error("way", way, f"{len(way.nodes)} nodes in a bound", "at least 2", SKIP)
    nodes = list(parts[0]) if parts else []
    for part in parts[1:]:
        if len(nodes) and nodes[0] in (part[0], part[-1]) and nodes[-1] not in (part[0], part[-1]):
            nodes.reverse()
        if nodes[-1] not in (part[0], part[-1]):
            raise file.error("lanelet", lanelet, f"ways as {role} bound that do not join", "one line", SKIP)
        nodes += part[1:] if nodes[-1] == part[0] else part[-2::-1]
    return nodes


def _oriented(element: Element, left: Floats, right: Floats, centre: Floats | None) -> _Lanelet | None:
    """Orient both bounds in driving direction, with the left one on the left; None if they enclose no area."""
    same = np.hypot(*(left[0] - right[0])) + np.hypot(*(left[-1] - right[-1]))
    crossed = np.hypot(*(left[0] - right[-1])) + np.hypot(*(left[-1] - right[0]))
    if crossed < same:
        right = right[::-1]
    ring = np.concatenate([right, left[::-1]])
    after = np.roll(ring, -1, axis=0)
    area = float((ring[:, 0] * after[:, 1] - ring[:, 1] * after[:, 0]).sum()) / 2
    if abs(area) < 0.1 or max(arc_length(left)[-1], arc_length(right)[-1]) < 0.1:
        return None
    if area < 0:
        left, right = left[::-1], right[::-1]
    start, end = (left[0] + right[0]) / 2, (left[-1] + right[-1]) / 2
    if centre is not None:
        if math.dist(centre[0], start) + math.dist(centre[-1], end) > math.dist(centre[0], end) + math.dist(
            centre[-1], start
        ):
            centre = centre[::-1]
        if math.dist(centre[0], start) > 2.0 or math.dist(centre[-1], end) > 2.0:
            centre = None  # it does not belong to this lanelet
    return _Lanelet(element, left, right, centre)


def _lanes(file: OsmFile, lanelets: dict[str, _Lanelet]) -> dict[str, StreetLane]:
    starts, right_bounds = defaultdict(list), defaultdict(list)
    lanes, size = dict[str, StreetLane](), 0
    for name, lanelet in lanelets.items():
        points = _centreline(lanelet)
        size += len(points)
        if size > MOST_POINTS:
            raise file.error("lanelet", lanelet.element, f"more than {MOST_POINTS} m up to here", "the map of a city")
        lanes[name] = StreetLane(name=name, edge=name, index=0, points=points, speed=0.0, internal=False)
        starts[_key(lanelet.left[0], lanelet.right[0])].append(name)
        right_bounds[_key(*lanelet.right)].append(name)
    left_of = {}
    for name, lanelet in lanelets.items():
        lanes[name].successors = [
            other
            for other in starts[_key(lanelet.left[-1], lanelet.right[-1])]
            if other.rstrip("-") != name.rstrip("-")
        ]
        beside = right_bounds[_key(*lanelet.left)]
        if len(beside) == 1 and beside[0] != name:
            left_of[name] = beside[0]
    group_beside(lanes, left_of)
    meet(lanes)
    _mark_junctions(lanes, lanelets)
    set_turns(lanes)
    for name in _signalled(file, lanelets):
        for ruled in (name, *lanes[name].successors):
            lanes[ruled].signalled = lanes[ruled].in_junction
    return lanes


def _centreline(lanelet: _Lanelet) -> Floats:
    if lanelet.centre is not None:
        return lanelet.centre
    longest = max(arc_length(lanelet.left)[-1], arc_length(lanelet.right)[-1])
    fractions = np.linspace(0.0, 1.0, min(max(2, math.ceil(longest / STEP) + 1), MOST_POINTS))
    sides = [interpolate(bound, fractions * arc_length(bound)[-1]) for bound in (lanelet.left, lanelet.right)]
    middle: Floats = (sides[0] + sides[1]) / 2
    return middle


def _key(*points: Floats) -> tuple[tuple[int, int], ...]:
    return tuple((round(float(x) * CENTIMETRES), round(float(y) * CENTIMETRES)) for x, y in points)


def _mark_junctions(lanes: dict[str, StreetLane], lanelets: dict[str, _Lanelet]) -> None:
    """Mark lanelets with a turn direction as in a junction; in a map without any, those that fork, merge or cross."""
    tagged = {name: lanelet.element.tags.get("turn_direction") for name, lanelet in lanelets.items()}
    if any(direction in TURNS for direction in tagged.values()):
        for name, direction in tagged.items():
            lanes[name].in_junction = direction in TURNS
            lanes[name].turn = TURNS.get(direction or "", 0) * (-1 if name.endswith("-") else 1)
        return
    mark_forks(lanes, lanes)
    for name in crossing(lanes):
        lanes[name].in_junction = True


def _signalled(file: OsmFile, lanelets: dict[str, _Lanelet]) -> Iterator[str]:
    lights = {name for name, relation in file.relations.items() if relation.tags.get("subtype") == "traffic_light"}
    for name, lanelet in lanelets.items():
        if any(kind == "relation" and ref in lights for kind, ref, _ in lanelet.element.members):
            yield name
