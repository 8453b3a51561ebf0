"""Import a map of any supported format as a lane map, and write it to the folder of maps that the stages read."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthdrive.config.record_sample import MapParameters, StreetParameters
from synthdrive.core.artifacts import atomic_directory, write_json, write_table
from synthdrive.core.errors import InputError, ParameterError
from synthdrive.formats.argoverse2_map_reader import CAR_LANES, read_vehicle_lanes
from synthdrive.ingestion.statistics import map_manifest
from synthdrive.map_import.lanelet2 import read_lanelet2
from synthdrive.map_import.opendrive_lanes import read_opendrive
from synthdrive.map_import.street_lanes import StreetLane, cut_long, drop_gaps, group_beside, meet, set_turns
from synthdrive.map_import.street_map import draw_map
from synthdrive.map_import.sumo_network import read_openstreetmap, read_sumo
from synthdrive.scenes.lane_map import NO_LANE, LaneMap

MOST_BYTES = 1 << 29  # largest map file; the OpenStreetMap extract of a large city has 300 MB
FORMATS = "OpenDRIVE (.xodr), SUMO (.net.xml), OpenStreetMap or Lanelet2 (.osm), or Argoverse 2 (.json)"
CITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")

_ROOT = re.compile(rb"<(?:[A-Za-z0-9_]+:)?(OpenDRIVE|net|osm)[\s>/]")
_LANELET = re.compile(rb"[\"']lanelet[\"']")


@dataclass(frozen=True)
class ImportedMap:
    """A lane map and its source.

    Attributes:
        lane_map: the lane map, in metres.
        source: name of the file.
        sha256: SHA-256 of the file.
        kind: format of the file.
        frame: description of the coordinate frame.
        left_out: number of objects of each kind that the lane map leaves out.
    """

    lane_map: LaneMap
    source: str
    sha256: str
    kind: str
    frame: str
    left_out: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """Return the content of the JSON file that is written beside the map."""
        segments = self.lane_map.segments
        steps = np.linalg.norm(np.diff(segments.points, axis=1), axis=-1)[segments.valid[:, 1:]]
        return {
            "source": self.source,
            "sha256": self.sha256,
            "format": self.kind,
            "frame": self.frame,
            "lane_segments": len(self.lane_map),
            "kilometres": round(float(steps.sum()) / 1000, 3),
            "links": len(self.lane_map.successors.rows),
            "left_out": self.left_out,
        }


def import_map(
    source: Path,
    city: str,
    drawing: MapParameters,
    streets: StreetParameters,
    left_hand: bool = False,
    skip_broken: bool = False,
) -> ImportedMap:
    """Read a map of any supported format; the same file always gives the same lane map.

    Args:
        source: the file; its format is detected from its content, not from its name.
        city: name to give the map.
        drawing: how lanes are cut into segments.
        streets: how netconvert redraws SUMO networks and OpenStreetMap extracts.
        left_hand: traffic keeps left; only for OpenStreetMap, whose files do not say so.
        skip_broken: leave out objects that refer to something missing from the file, instead of raising.

    Raises:
        InputError: the format is unknown; the file is damaged, hostile or too large, or has no lane for cars.
        ParameterError: `city` is not a valid name, or `left_hand` is given for another format than OpenStreetMap.
    """
    if not CITY.fullmatch(city):
        raise ParameterError("--city", repr(city), "letters, digits and hyphens, at most 32")
    content = _content(source)
    kind = _kind(content, source)
    if left_hand and kind != "OpenStreetMap":
        advice = "Files of other formats say on which side traffic keeps."
        raise ParameterError("--left-hand", f"a {kind} file", "an OpenStreetMap file", advice)
    lanes, frame, left_out = _read(kind, content, str(source), streets, left_hand, skip_broken)
    long_enough = [lane for lane in lanes.values() if lane.length >= drawing.min_length]
    if not long_enough:
        raise InputError(source, "no lane for cars", f"a lane of at least {drawing.min_length:g} m")
    left_out["lanes that are too short"] = len(lanes) - len(long_enough)
    lane_map = draw_map(city, cut_long(lanes), drawing, first_id=1)
    missing = {what: count for what, count in sorted(left_out.items()) if count}
    return ImportedMap(lane_map, Path(source).name, hashlib.sha256(content).hexdigest(), kind, frame, missing)


def write_map(out: Path, imported: ImportedMap) -> list[str]:
    """Add a map to the folder of lane maps `out`, completely or not at all; return the cities in the folder.

    Writes `<CITY>.safetensors`, `<CITY>.json` (see `ImportedMap.summary`) and the manifest of all maps.

    Raises:
        InputError: the folder contains other files, which would be lost.
    """
    others = sorted(Path(out).iterdir()) if Path(out).is_dir() else []
    for path in others:
        if path.suffix not in (".safetensors", ".json") and path.name != "manifest.parquet":
            raise InputError(path, "a file that is not a lane map", "a folder with lane maps only, or a new one")
    city = imported.lane_map.city
    with atomic_directory(out) as partial:
        for path in others:
            if path.name != "manifest.parquet" and path.stem != city:
                shutil.copyfile(path, partial / path.name)
        imported.lane_map.save(partial / f"{city}.safetensors")
        write_json(partial / f"{city}.json", imported.summary())
        maps = [LaneMap.load(path) for path in sorted(partial.glob("*.safetensors"))]
        write_table(partial / "manifest.parquet", map_manifest(maps))
    return [lane_map.city for lane_map in maps]


def _content(source: Path) -> bytes:
    path = Path(source)
    if not path.is_file():
        raise InputError(path, "no such file", f"a map: {FORMATS}")
    if path.stat().st_size > MOST_BYTES:
        found = f"{path.stat().st_size} bytes"
        raise InputError(path, found, f"at most {MOST_BYTES}", "Cut the map into smaller parts.")
    return path.read_bytes()


def _kind(content: bytes, source: Path) -> str:
    start = content[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{"):
        return "Argoverse 2"
    root = _ROOT.search(content[: 1 << 20]) if start.startswith(b"<") else None
    if root is None:
        packed = start.startswith((b"\x1f\x8b", b"BZh", b"PK"))
        advice = "Unpack the file first." if packed else ""
        raise InputError(source, "a packed file" if packed else "another format", FORMATS, advice)
    if root[1] == b"osm":
        return "Lanelet2" if _LANELET.search(content) else "OpenStreetMap"
    return "OpenDRIVE" if root[1] == b"OpenDRIVE" else "SUMO"


def _read(
    kind: str, content: bytes, where: str, streets: StreetParameters, left_hand: bool, skip_broken: bool
) -> tuple[dict[str, StreetLane], str, dict[str, int]]:
    """Read a file of this format; return the lanes, the frame, and the number of objects left out by kind."""
    if kind == "OpenDRIVE":
        return _in_file_frame(read_opendrive(content, where, skip_broken))
    if kind == "Lanelet2":
        return read_lanelet2(content, where, skip_broken)
    if kind == "Argoverse 2":
        return _in_file_frame(_read_argoverse2(content, where))
    with tempfile.TemporaryDirectory(prefix="synthdrive-map-") as folder:
        if kind == "SUMO":
            return *read_sumo(content, where, Path(folder), streets), {}
        return *read_openstreetmap(content, where, Path(folder), streets, left_hand), {}


def _in_file_frame(
    read: tuple[dict[str, StreetLane], dict[str, int]],
) -> tuple[dict[str, StreetLane], str, dict[str, int]]:
    return read[0], "as in the file", read[1]


def _read_argoverse2(content: bytes, where: str) -> tuple[dict[str, StreetLane], dict[str, int]]:
    """Read the lanes by name (their id), and the number of objects left out by kind.

    Raises:
        InputError: see `read_vehicle_lanes`; or there is no lane for motor vehicles.
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
