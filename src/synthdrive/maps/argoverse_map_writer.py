"""Lane maps written in the official Argoverse 1 layout: one vector map XML a city inside hd_maps.tar.gz."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from synthdrive.archives import add_member, reproducible_tar
from synthdrive.artifacts import atomic_file
from synthdrive.maps.lane_map import NO_LANE, LaneMap

OFFICIAL_MAP_IDS = {"MIA": 10316, "PIT": 10314}  # in the names of the official files
TURN_DIRECTIONS = {-1: "LEFT", 0: "NONE", 1: "RIGHT"}


def map_file_name(city: str) -> str:
    """Name of a city's vector map; cities that Argoverse does not have get a number from their name."""
    number = int.from_bytes(hashlib.blake2b(city.encode(), digest_size=4).digest(), "big")
    return f"pruned_argoverse_{city}_{OFFICIAL_MAP_IDS.get(city, 20000 + number % 80000)}_vector_map.xml"


def vector_map_xml(lane_map: LaneMap) -> bytes:
    """The map as an Argoverse 1 vector map: every centreline point a node, every lane a way with its tags.

    Coordinates are printed so that reading them gives the same float64; heights are not written.
    """
    segments = lane_map.segments
    ids = segments.lane_ids.tolist()
    nodes, ways = list[str](), list[str]()
    for row, (lane_id, count) in enumerate(zip(ids, segments.counts.tolist(), strict=True)):
        first = len(nodes)
        nodes += [
            f'  <node id="{first + k}" x="{x!r}" y="{y!r}" />'
            for k, (x, y) in enumerate(segments.points[row, :count].tolist())
        ]
        left, right = int(lane_map.left[row]), int(lane_map.right[row])
        tags = {
            "has_traffic_control": bool(segments.has_traffic_control[row]),
            "turn_direction": TURN_DIRECTIONS[int(segments.turn[row])],
            "is_intersection": bool(segments.is_intersection[row]),
            "l_neighbor_id": None if left == NO_LANE else ids[left],
            "r_neighbor_id": None if right == NO_LANE else ids[right],
        }
        ways.append(f'  <way lane_id="{lane_id}">')
        ways += [f'    <tag k="{key}" v="{value}" />' for key, value in tags.items()]
        ways += [f'    <nd ref="{node}" />' for node in range(first, first + count)]
        ways += [f'    <tag k="predecessor" v="{ids[other]}" />' for other in lane_map.predecessors.of(row)]
        ways += [f'    <tag k="successor" v="{ids[other]}" />' for other in lane_map.successors.of(row)]
        ways.append("  </way>")
    head = ["<?xml version='1.0' encoding='UTF-8'?>", "<ArgoverseVectorMap>"]
    return ("\n".join([*head, *nodes, *ways, "</ArgoverseVectorMap>"]) + "\n").encode()


def write_maps(path: Path, maps: Mapping[str, LaneMap]) -> None:
    """Write hd_maps.tar.gz: one vector map a city, in the order of their names; same maps, same bytes.

    Args:
        path: the .tar.gz to write, atomically.
        maps: lane maps by city code (three letters in Argoverse).
    """
    with atomic_file(path) as partial, partial.open("wb") as stream, reproducible_tar(stream) as archive:
        for city in sorted(maps):
            add_member(archive, f"map_files/{map_file_name(city)}", vector_map_xml(maps[city]))
