"""Redraw SUMO networks with netconvert so that they can be driven and mapped.

The networks come from the eclipse-sumo wheel (OpenStreetMap data from SUMO's traffic games) or from a user. Redrawing
adds what they lack: bends instead of corners, turns with as many points as a lane segment of Argoverse, speed limits
that fit the bends, and traffic lights with fixed programs.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthdrive.config.record_sample import StreetParameters
from synthdrive.core.errors import InputError
from synthdrive.map_import.sumo_programs import VEHICLE_CLASS, netconvert, sumo_home

Points = npt.NDArray[np.float64]

_MIN_BEND_DEGREES = 2.0  # smaller corners are invisible and stay
_STEP = 0.5  # m between the points at which the curvature is measured
_BEND_WINDOW = 6.0  # m over which the curvature is measured: about the length of a car
_MIN_SECTION = 10.0  # m; shorter sections of a street get no speed limit of their own


def network_file(name: str) -> Path:
    """Return the path of a network of the wheel, given relative to SUMO's folder; raise InputError if it is missing."""
    path = sumo_home() / name
    if not path.is_file():
        raise InputError(path, "no such file", "a network that eclipse-sumo brings", "Reinstall eclipse-sumo.")
    return path


def redraw(source: Path, folder: Path, streets: StreetParameters, where: object = "", whole: bool = False) -> Path:
    """Rebuild a network for passenger cars and return the path of the new file.

    Corners inside streets become arcs, turns are drawn with `streets.turn_points` points, bends and turns get speed
    limits that keep the lateral acceleration, U-turns and crossings are left out, traffic lights get new programs.

    Args:
        source: a SUMO network.
        folder: folder for plain descriptions and the new network, `network.net.xml`.
        where: name of the network, for messages; by default `source`.
        whole: keep all parts of a network that is not connected, instead of the largest only.

    Raises:
        InputError: netconvert refuses the network.
    """
    plain, where = folder / "plain", where or source
    components = [] if whole else ["--keep-edges.components", "1"]
    netconvert(
        folder,
        where,
        ["--sumo-net-file", str(source), "--plain-output-prefix", str(plain), "-o", str(folder / "first.net.xml")]
        + ["--keep-edges.by-vclass", VEHICLE_CLASS, *components, "--geometry.remove", "true"],
    )
    turnarounds = _turnarounds(folder / "first.net.xml")
    last_parts = _edit_edges(Path(f"{plain}.edg.xml"), streets)
    _edit_connections(Path(f"{plain}.con.xml"), turnarounds, last_parts)
    netconvert(
        folder,
        where,
        ["-n", f"{plain}.nod.xml", "-e", f"{plain}.edg.xml", "-x", f"{plain}.con.xml"]
        + ["--ignore-errors.edge-type", "true", "--no-turnarounds", "true", "--walkingareas", "false"]
        + (["--lefthand", "true"] if is_left_hand(folder / "first.net.xml") else [])
        + ["--junctions.internal-link-detail", str(streets.turn_points)]
        + ["--junctions.limit-turn-speed", str(streets.lateral_acceleration)]
        + ["--tls.default-type", "static", "--tls.cycle.time", str(streets.signal_cycle)]
        + ["-o", str(folder / "network.net.xml")],
    )
    return folder / "network.net.xml"


def is_left_hand(network: Path) -> bool:
    """Return whether a SUMO network has left-hand traffic."""
    root = next(element for _, element in ElementTree.iterparse(network, events=("start",)))
    return bool(root.get("lefthand") == "true")


def _turnarounds(network: Path) -> set[tuple[str, str]]:
    connections = ElementTree.parse(network).getroot().iter("connection")
    return {(c.get("from", ""), c.get("to", "")) for c in connections if c.get("dir") == "t"}


def _edit_connections(path: Path, turnarounds: set[tuple[str, str]], last_parts: dict[str, str]) -> None:
    tree = ElementTree.parse(path)
    root = tree.getroot()
    for element in list(root):
        link = (element.get("from", ""), element.get("to", ""))
        if element.tag != "connection" or link in turnarounds:
            root.remove(element)
        else:
            element.set("from", last_parts.get(link[0], link[0]))
    tree.write(path)


def _edit_edges(path: Path, streets: StreetParameters) -> dict[str, str]:
    """Round corners and limit speeds in bends; return the name of the last part of each street split for this."""
    tree = ElementTree.parse(path)
    last_parts = {}
    for edge in tree.getroot().iter("edge"):
        shape = [tuple(map(float, point.split(",")))[:2] for point in edge.get("shape", "").split()]
        if len(shape) < 3:
            continue
        points = round_corners(np.array(shape), streets.bend_radius, streets.max_corner_cut)
        edge.set("shape", " ".join(f"{x:.4f},{y:.4f}" for x, y in points))
        limit = float(edge.get("speed", "13.89"))
        for position, speed in bend_speeds(points, limit, streets.lateral_acceleration):
            if position == 0.0:
                edge.set("speed", f"{speed:.2f}")
            else:
                ElementTree.SubElement(edge, "split", pos=f"{position:.2f}", speed=f"{speed:.2f}")
                last_parts[edge.get("id", "")] = f"{edge.get('id')}.{int(position)}"  # as netconvert names it
    tree.write(path)
    return last_parts


def round_corners(points: Points, radius: float, max_cut: float) -> Points:
    """Replace the corners of a polyline by arcs; its ends stay.

    Args:
        points: (P, 2) metres.
        radius: radius of the arcs, metres; smaller where there is no room.
        max_cut: greatest distance of an arc from its corner, metres.

    Returns:
        (Q, 2) metres.
    """
    steps = np.diff(points, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    keep = np.concatenate([[True], lengths > 0.01])
    points, steps, lengths = points[keep], steps[keep[1:]], lengths[keep[1:]]
    rounded = [points[0]]
    for i in range(1, len(points) - 1):
        before, after = steps[i - 1] / lengths[i - 1], steps[i] / lengths[i]
        angle = math.atan2(before[0] * after[1] - before[1] * after[0], float(before @ after))
        if abs(angle) < math.radians(_MIN_BEND_DEGREES) or abs(angle) > math.radians(170.0):
            rounded.append(points[i])
            continue
        half = abs(angle) / 2
        room = 0.49 * min(lengths[i - 1], lengths[i])
        tangent = min(min(radius, max_cut / (1 / math.cos(half) - 1)) * math.tan(half), room)
        start, end = points[i] - tangent * before, points[i] + tangent * after
        fraction = np.linspace(0.0, 1.0, max(3, math.ceil(math.degrees(abs(angle)) / 6) + 1))[:, None]
        rounded.extend((1 - fraction) ** 2 * start + 2 * fraction * (1 - fraction) * points[i] + fraction**2 * end)
    rounded.append(points[-1])
    return np.array(rounded)


def bend_speeds(points: Points, limit: float, lateral_acceleration: float) -> list[tuple[float, float]]:
    """Return speed limits along a street at which its bends keep the lateral acceleration.

    Args:
        points: (P, 2) metres, the street's centreline.
        limit: speed limit of the street, m/s.
        lateral_acceleration: greatest lateral acceleration in a bend, m/s2.

    Returns:
        sections (start in metres, speed in m/s) along the street, the first at 0; empty if `limit` fits everywhere.
    """
    at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    length = float(at[-1])
    window = round(_BEND_WINDOW / _STEP)
    grid = np.arange(0.0, length, _STEP)
    course = np.stack([np.interp(grid, at, points[:, k]) for k in (0, 1)], axis=-1)
    heading = np.unwrap(np.arctan2(*np.diff(course, axis=0).T[::-1]))
    if len(heading) <= window:
        return []
    curvature = np.abs(heading[window:] - heading[:-window]) / _BEND_WINDOW
    speed = np.sqrt(lateral_acceleration / np.maximum(curvature, 1e-6))
    slow = np.flatnonzero(speed < limit - 0.5)
    if not slow.size:
        return []
    groups = np.split(slow, np.flatnonzero(np.diff(slow) * _STEP > 2 * _MIN_SECTION) + 1)
    sections = [(0.0, limit)]
    for group in groups:
        start, end = group[0] * _STEP, (group[-1] + window) * _STEP
        slowest = max(float(speed[group].min()), 2.0)
        if start - sections[-1][0] < _MIN_SECTION:
            sections[-1] = (sections[-1][0], min(slowest, sections[-1][1]))
        else:
            sections.append((start, slowest))
        if length - end > _MIN_SECTION:
            sections.append((end, limit))
    return sections
