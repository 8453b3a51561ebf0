"""Raw scenes of the reference data as float64 arrays, read independently of the library's readers."""

from __future__ import annotations

import csv
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthdrive.augmentation.transforms import Transform
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.formats.archives import Limits
from synthdrive.formats.argoverse1_map_reader import read_maps
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import TRACK_TYPES

LAST_OBSERVED = ARGOVERSE1.last_observed

LIMITS = Limits(file_bytes=1 << 30, archive_bytes=1 << 34)


@dataclass
class RawScene:
    city: str
    origin: np.ndarray  # (2,) city frame
    xy: np.ndarray  # (R, 2) relative to origin, float64
    step: np.ndarray
    lengths: np.ndarray
    types: np.ndarray
    times: np.ndarray  # (50,)
    augmentation: Transform | None


def parse_scene(text: str) -> RawScene:
    rows = list(csv.DictReader(io.StringIO(text)))
    times = sorted({float(row["TIMESTAMP"]) for row in rows})
    tracks: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        tracks.setdefault(row["TRACK_ID"], []).append(row)
    ordered = sorted(tracks.values(), key=lambda track: TRACK_TYPES.index(track[0]["OBJECT_TYPE"]))  # stable
    joined = [row for track in ordered for row in track]
    xy = np.array([[float(row["X"]), float(row["Y"])] for row in joined])
    transform = None
    if "REF_xmin" in rows[0]:
        amplitude = float(rows[0]["ATTACK_POWER_TYPE"]) * (1 if int(rows[0]["AUGMENT_DIRECTION"]) == 0 else -1)
        kind = ("smooth", "double")[int(rows[0]["AUGMENT_TYPE"])]
        transform = Transform(anchor=float(rows[0]["REF_xmin"]), **{kind: amplitude})
    origin = xy[LAST_OBSERVED]
    return RawScene(
        city=rows[0]["CITY_NAME"],
        origin=origin,
        xy=xy - origin,
        step=np.array([times.index(float(row["TIMESTAMP"])) for row in joined]),
        lengths=np.array([len(track) for track in ordered]),
        types=np.array([TRACK_TYPES.index(track[0]["OBJECT_TYPE"]) for track in ordered]),
        times=np.array(times) - times[0],
        augmentation=transform,
    )


def scenes_from_tar(path: Path, ids: list[str]) -> dict[str, RawScene]:
    requested, found = set(ids), {}
    with tarfile.open(path) as archive:
        for member in archive:
            stem = Path(member.name).stem
            if member.isfile() and stem in requested:
                found[stem] = parse_scene(archive.extractfile(member).read().decode())
                if len(found) == len(requested):
                    break
    return found


class Maps:
    """Lanes of both cities by official ID."""

    def __init__(self, path: Path) -> None:
        self.maps = {lane_map.city: lane_map for lane_map in read_maps(path, LIMITS)}

    def lanes(self, scene: RawScene, lane_ids: np.ndarray) -> LaneSegments:
        """The lanes with these IDs, warped by the scene's transform, relative to its origin; zero beyond the counts."""
        segments = self.maps[scene.city].segments
        row = {lane: index for index, lane in enumerate(segments.lane_ids.tolist())}
        segments = segments.take(np.array([row[lane] for lane in lane_ids.tolist()]))
        points = segments.points if scene.augmentation is None else scene.augmentation.warp(segments.points)
        return segments.with_points(np.where(segments.valid[..., None], points - scene.origin, 0.0))

    def crop_ids(self, scene: RawScene, half_width: float) -> set[int]:
        """Official IDs of the lanes in the scene's crop, which is taken from the map without the transform."""
        centre = scene.origin if scene.augmentation is None else scene.augmentation.unwarp(scene.origin)
        lane_map = self.maps[scene.city]
        return set(lane_map.segments.lane_ids[lane_map.lanes_near(*centre, half_width)].tolist())
