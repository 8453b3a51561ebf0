"""Made-up scenarios in the official Argoverse 2 layout."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

STEPS, HISTORY = 110, 50
START = 315_977_000 * 10**9


def scenario_id(number: int) -> str:
    """A scenario ID in the official format."""
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def scenario_columns(number: int, steps: int = STEPS, kind: str = "vehicle", city: str = "austin") -> dict[str, list]:
    """Columns of a scenario: the AV and the focal track at 10 m/s, and a cyclist visible only in steps 5 to 39."""
    time = np.arange(steps)
    tracks = [
        ("AV", "vehicle", 1, time, np.stack([time * 1.0 - 30.0, np.full(steps, 0.5)], axis=1)),
        ("17", "cyclist", 0, time[5:40], np.stack([time[5:40] * 0.5, np.full(35, 8.0)], axis=1)),
        (f"{number}", kind, 3, time, np.stack([time * 1.0, 0.1 * np.sin(time)], axis=1)),
    ]
    columns: dict[str, list] = {name: [] for name in ("track_id", "object_type", "object_category", "timestep")}
    columns |= {"position_x": [], "position_y": [], "observed": []}
    for name, track_kind, category, when, xy in tracks:
        count = len(when)
        columns["track_id"] += [name] * count
        columns["object_type"] += [track_kind] * count
        columns["object_category"] += [category] * count
        columns["timestep"] += when.tolist()
        columns["observed"] += (when < HISTORY).tolist()
        columns["position_x"] += (xy[:, 0] + 1000.0 + number).tolist()
        columns["position_y"] += (xy[:, 1] + 50.0).tolist()
    rows = len(columns["track_id"])
    constant = {
        "scenario_id": scenario_id(number),
        "start_timestamp": float(START),
        "end_timestamp": float(START + 109 * 10**8),
        "num_timestamps": STEPS,
        "focal_track_id": f"{number}",
        "city": city,
    }
    return columns | {name: [value] * rows for name, value in constant.items()}


def parquet(columns: dict[str, list]) -> bytes:
    """The columns as a scenario file."""
    written = io.BytesIO()
    pq.write_table(pa.table(columns), written, compression="snappy")
    return written.getvalue()


def points(*places: tuple[float, float]) -> list[dict[str, float]]:
    """Points in the format of the map files."""
    return [{"x": float(x), "y": float(y), "z": 0.0} for x, y in places]


def segment(number: int, line: list[tuple[float, float]], kind: str = "VEHICLE", **values: object) -> dict[str, object]:
    """A lane segment along a line; its boundaries are 2 m to either side."""
    record = {
        "id": number, "lane_type": kind, "is_intersection": False, "predecessors": [], "successors": [],
        "left_neighbor_id": None, "right_neighbor_id": None, "centerline": points(*line),
        "left_lane_boundary": points(*((x, y + 2) for x, y in line)),
        "right_lane_boundary": points(*((x, y - 2) for x, y in line)),
        "left_lane_mark_type": "NONE", "right_lane_mark_type": "NONE",
    }  # fmt: skip
    return {**record, **values}


def street_map(number: int) -> dict[str, dict[str, object]]:
    """A street with two lanes and an oncoming lane, a left turn at its end, and a bicycle lane."""
    east = 1000.0 + number

    def straight(y: float, begin: float = -60.0, end: float = 60.0) -> list[tuple[float, float]]:
        return [(east + x, 50.0 + y) for x in np.linspace(begin, end, 41).tolist()]

    angle = np.linspace(0.0, np.pi / 2, 20)
    curve = [(east + 60.0 + 15.0 * np.sin(a), 65.0 - 15.0 * np.cos(a)) for a in angle.tolist()]
    segments = [
        segment(1, straight(0.0), successors=[4, 99], left_neighbor_id=2, right_neighbor_id=5),
        segment(2, straight(4.0), left_neighbor_id=3, right_neighbor_id=1),
        segment(3, straight(8.0)[::-1], left_neighbor_id=2, predecessors=[98]),  # oncoming
        segment(4, curve, is_intersection=True, predecessors=[1]),
        segment(5, straight(-4.0), kind="BIKE", left_neighbor_id=1),
    ]
    return {str(record["id"]): record for record in segments}


def map_json(segments: dict[str, dict[str, object]]) -> bytes:
    """The segments as a map file."""
    return json.dumps({"lane_segments": segments, "drivable_areas": {}, "pedestrian_crossings": {}}).encode()


def scenario_pair(number: int, **options: object) -> dict[str, bytes]:
    """The two files of a scenario, by name."""
    name = scenario_id(number)
    return {
        f"{name}/scenario_{name}.parquet": parquet(scenario_columns(number, **options)),
        f"{name}/log_map_archive_{name}.json": map_json(street_map(number)),
    }


def write_split(path: Path, files: dict[str, bytes], order: list[str] | None = None) -> Path:
    """A plain tarball `<split>.tar` of these files, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name in order or list(files):
            member = tarfile.TarInfo(f"{path.stem}/{name}")
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
    return path
