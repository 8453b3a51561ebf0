"""The lanes that cars may use in a SUMO network, and how they join."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

import numpy as np

from synthdrive.core.errors import InputError
from synthdrive.map_import.netconvert import VEHICLE_CLASS
from synthdrive.map_import.street_lane import StreetLane

TURNS = {"l": -1, "L": -1, "t": -1, "r": 1, "R": 1, "s": 0}  # SUMO's directions as Argoverse's LEFT, RIGHT, NONE
_NOT_STREETS = ("crossing", "walkingarea", "connector")


def read_street_lanes(network: Path) -> dict[str, StreetLane]:
    """The lanes by name, in the order of the file; raises InputError where there is none."""
    root = ElementTree.parse(network).getroot()
    side = -1 if root.get("lefthand") == "true" else 1  # where traffic keeps left, SUMO counts lanes from the left
    lanes = {}
    for edge in root.iter("edge"):
        if edge.get("function") in _NOT_STREETS:
            continue
        for lane in filter(_allowed, edge.iter("lane")):
            points = np.array([[float(v) for v in point.split(",")[:2]] for point in lane.get("shape", "").split()])
            lanes[lane.get("id", "")] = StreetLane(
                name=lane.get("id", ""),
                edge=edge.get("id", ""),
                index=side * int(lane.get("index", "0")),
                points=points,
                speed=float(lane.get("speed", "0")),
                internal=edge.get("function") == "internal",
            )
    if not lanes:
        raise InputError(network, f"no lane for {VEHICLE_CLASS} cars", "a network of streets")
    _join(root, lanes)
    return lanes


def _allowed(lane: ElementTree.Element) -> bool:
    allow, disallow = lane.get("allow"), lane.get("disallow", "")
    return VEHICLE_CLASS in allow.split() if allow is not None else VEHICLE_CLASS not in disallow.split()


def _join(root: ElementTree.Element, lanes: dict[str, StreetLane]) -> None:
    """Fill in successors and what the way across a junction is."""
    ways: dict[str, set[str]] = defaultdict(set)  # where each street leads, and whence it is reached
    across = []
    for connection in root.iter("connection"):
        source = f"{connection.get('from')}_{connection.get('fromLane')}"
        target = f"{connection.get('to')}_{connection.get('toLane')}"
        via = connection.get("via")
        following = via or target
        if source not in lanes or following not in lanes or target not in lanes:
            continue
        lanes[source].successors.append(following)
        if via is None:
            continue
        way = lanes[via]
        way.turn = TURNS.get(connection.get("dir", "s"), 0)
        way.signalled = connection.get("tl") is not None or (lanes[source].internal and lanes[source].signalled)
        if not lanes[source].internal:
            ways[f"from {lanes[source].edge}"].add(lanes[target].edge)
            ways[f"to {lanes[target].edge}"].add(lanes[source].edge)
            across.append((source, via, target))
    for source, via, target in across:
        forks = len(ways[f"from {lanes[source].edge}"]) > 1 or len(ways[f"to {lanes[target].edge}"]) > 1
        part = lanes[via]
        while part.internal:
            part.in_junction, part.turn = forks, lanes[via].turn if forks else 0
            part.signalled = lanes[via].signalled
            part = lanes[part.successors[0]]
