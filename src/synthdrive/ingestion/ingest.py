"""From raw data in the official Argoverse 1 layout to packed maps and scenes, in constant memory."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.config.data import IngestParameters
from synthdrive.core.artifacts import atomic_directory, write_json, write_table
from synthdrive.core.errors import InputError
from synthdrive.core.parallel import local_executor, ordered_map, track, worker_count
from synthdrive.formats.archives import Limits
from synthdrive.formats.argoverse1_map_reader import read_maps
from synthdrive.formats.argoverse1_scene_reader import RecordedScene, read_scene, scene_files
from synthdrive.ingestion.statistics import Centrelines, agent_statistics, map_manifest
from synthdrive.scenes.lane_map import LaneMap, load_maps
from synthdrive.scenes.lane_segments import LaneSegments
from synthdrive.scenes.scene_store import OBSERVED_STEPS, STEPS, SceneStoreWriter

SKIPPED = "skipped.json"  # beside a store: the scenes left out
TEST = "test"  # the split whose scenes end at the last observed step

COPY_ADVICE = "Remove one of the two; ingest.on_bad_scene: skip leaves the copy out."
COPY = re.compile(r"(?P<original>.+?)(?: \([0-9]+\)| - Copy(?: \([0-9]+\))?| copy(?: [0-9]+)?)")  # as systems name them

BATCH_SCENES = 32  # scenes that a worker packs at a time
BATCH_BYTES = 4 << 20  # or fewer, when their files are large


@dataclass(frozen=True)
class Skipped:
    """A scene that was left out: its file, and what is wrong with it."""

    file: str
    reason: str


@dataclass(frozen=True)
class _Batch:
    files: list[tuple[str, bytes]]
    maps: str
    half_width: float
    turn_angle: float
    skip: bool
    steps: int


@dataclass(frozen=True)
class _Packed:
    """A batch of scenes as the store holds them, joined end to end."""

    arrays: dict[str, npt.NDArray[Any]]
    manifest: dict[str, Any]
    skipped: list[Skipped] = field(default_factory=list)


def ingest_maps(raw: Path, out: Path, parameters: IngestParameters) -> list[LaneMap]:
    """Read the vector maps under `raw` and write `<CITY>.safetensors` and `manifest.parquet` to the folder `out`.

    Args:
        raw: folder with `hd_maps.tar.gz`, or with `hd_maps/` or `map_files/` unpacked.

    Raises:
        InputError: no map is there, or one cannot be used; `out` is then as it was.
    """
    maps = list(
        read_maps(find_source(raw, "hd_maps", "map_files"), archive_limits(parameters), parameters.on_dangling_link)
    )
    with atomic_directory(out) as partial:
        for lane_map in maps:
            lane_map.save(partial / f"{lane_map.city}.safetensors")
        write_table(partial / "manifest.parquet", map_manifest(maps))
    return maps


def ingest_scenes(
    raw: Path,
    outs: Mapping[str, Path],
    maps: Path,
    parameters: IngestParameters,
    map_half_width: float,
    workers: int | None = None,
) -> dict[str, list[Skipped]]:
    """Read the scenes under `raw` and write each split as a SceneStore, in the order of the scenes' ids.

    Beside the store's own files there is `skipped.json`: the scenes left out, with the reason.

    Args:
        raw: folder with `forecasting_<split>_v1.1.tar.gz` (or .tgz, .tar), or with `forecasting_<split>_v1.1/` or
            `<split>/` unpacked.
        outs: for each split ("train", "val", "test") the folder to write to. Test scenes have the 20 observed steps
            alone, so that theirs is a store without a future; its manifest says nothing of AGENT's motion.
        maps: folder that `ingest_maps` wrote.
        map_half_width: m, half the side of the square of map around AGENT at the last observed step.
        workers: processes; see `parallel.worker_count`. The bytes do not depend on it.

    Returns:
        For each split the scenes that were skipped.

    Raises:
        InputError: no scene is there, or one cannot be used and `parameters.on_bad_scene` is "error"; that split's
            folder is then as it was.
    """
    sources = {split: find_source(raw, f"forecasting_{split}_v1.1", split) for split in outs}
    skipped: dict[str, list[Skipped]] = {}
    with local_executor(workers) as executor:
        for split, out in outs.items():
            steps = OBSERVED_STEPS if split == TEST else STEPS
            batches = _batches(sources[split], maps, parameters, map_half_width, steps)
            packed = ordered_map(executor, _pack, batches, in_flight=worker_count(workers) + 2)
            blocks = track(packed, f"ingest {split}", unit=f"batches of {BATCH_SCENES} scenes")
            skip = parameters.on_bad_scene == "skip"
            skipped[split] = _write_store(sources[split], blocks, maps, out, steps, skip)
    return skipped


def _write_store(
    source: Path, blocks: Iterable[_Packed], maps: Path, out: Path, steps: int, skip: bool
) -> list[Skipped]:
    lanes = LaneSegments.concatenate([lane_map.segments for lane_map in load_maps(maps).values()])
    manifest: list[pa.Table] = []
    skipped: list[Skipped] = []
    with atomic_directory(out) as partial:
        writer = SceneStoreWriter(partial, steps)
        for block in blocks:
            skipped += block.skipped
            if block.arrays:
                writer.append_many(**block.arrays)
                manifest.append(pa.table(block.manifest))
        if not manifest:
            raise InputError(source, f"no usable scene among {len(skipped)}", "at least one", skipped[0].reason)
        table = pa.concat_tables(manifest)
        scene_ids = table["scene_id"].to_pylist()
        copies = _copies(scene_ids)
        for row, original in copies.items():
            where = f"{source}: {scene_ids[row]}.csv"
            error = InputError(
                where, f"what looks like a second copy of {original}.csv", "each scene once", COPY_ADVICE
            )
            if not skip:
                raise error
            skipped.append(Skipped(f"{scene_ids[row]}.csv", str(error)))
        order = _canonical_order(source, scene_ids)
        writer.close(table, lanes, order[~np.isin(order, list(copies))])
        write_json(partial / SKIPPED, [{"file": item.file, "reason": item.reason} for item in skipped])
    return skipped


def find_source(raw: Path, name: str, unpacked: str) -> Path:
    """The tarball `<name>.tar.gz` (.tgz, .tar) under `raw`, else a folder `<name>` or `<unpacked>` with its contents.

    A browser that unpacks what it downloads leaves `<name>.tar`.

    Raises:
        InputError: none of them is there.
    """
    names = (f"{name}.tar.gz", f"{name}.tgz", f"{name}.tar", name, unpacked)
    for candidate in (Path(raw) / inner for inner in names):
        if candidate.exists():
            return candidate
    there = sorted(path.name for path in Path(raw).iterdir()) if Path(raw).is_dir() else None
    holds = "no such folder" if there is None else f"{', '.join(there[:10]) or 'nothing'}"
    found = f"neither {name}.tgz, nor {name}.tar, nor {name}.tar.gz, nor {name}, nor {unpacked} (but {holds})"
    raise InputError(raw, found, "one of them", "data.raw in params.yaml names the folder of the raw data.")


def scene_order(scene_id: str) -> tuple[int, int, str]:
    """Sorting key of the canonical order: whole numbers by value, then all other names."""
    number = scene_id.isascii() and scene_id.isdecimal()
    return (0, len(scene_id.lstrip("0")), scene_id.lstrip("0") + scene_id) if number else (1, 0, scene_id)


def archive_limits(parameters: IngestParameters) -> Limits:
    """How much an archive of raw data may unfold to."""
    return Limits(parameters.max_file_megabytes * 10**6, parameters.max_archive_gigabytes * 10**9)


def _batches(source: Path, maps: Path, parameters: IngestParameters, half_width: float, steps: int) -> Iterator[_Batch]:
    def batch(files: list[tuple[str, bytes]]) -> _Batch:
        turn = math.radians(parameters.turn_angle)
        return _Batch(files, str(maps), half_width, turn, parameters.on_bad_scene == "skip", steps)

    files: list[tuple[str, bytes]] = []
    size = 0
    for name, content in scene_files(source, archive_limits(parameters)):
        if files and (len(files) == BATCH_SCENES or size + len(content) > BATCH_BYTES):
            yield batch(files)
            files, size = [], 0
        files.append((f"{source}: {name}" if parameters.on_bad_scene == "error" else name, content))
        size += len(content)
    yield batch(files)


def _copies(scene_ids: list[str]) -> dict[int, str]:
    """Rows of scenes whose file's name is that of a second copy of another scene of the list, and the other's id."""
    there, copies = set(scene_ids), {}
    for row, scene_id in enumerate(scene_ids):
        match = COPY.fullmatch(scene_id)
        if match and match["original"] in there:
            copies[row] = match["original"]
    return copies


def _canonical_order(source: Path, scene_ids: list[str]) -> npt.NDArray[np.int64]:
    order = np.array(sorted(range(len(scene_ids)), key=lambda row: scene_order(scene_ids[row])), dtype=np.int64)
    for earlier, later in zip(order[:-1], order[1:], strict=True):
        if scene_ids[earlier] == scene_ids[later]:
            raise InputError(source, f"two scenes {scene_ids[later]!r}", "file names that stand once")
    return order


def _pack(batch: _Batch) -> _Packed:
    """Parse a batch of files and crop the map around each scene; runs in a worker."""
    cities = _cities(batch.maps)
    scenes: list[RecordedScene] = []
    crops: list[npt.NDArray[np.int64]] = []
    skipped: list[Skipped] = []
    for name, content in batch.files:
        try:
            scene = read_scene(content, name, batch.steps)
            city = cities.get(scene.city)
            if city is None:
                raise InputError(name, f"city {scene.city[:40]!r}", f"a city with a map: {', '.join(cities)}")
        except InputError as error:
            if not batch.skip:
                raise
            skipped.append(Skipped(name, str(error)))
            continue
        scenes.append(scene)
        crops.append(city.lane_map.lanes_near(scene.origin[0], scene.origin[1], batch.half_width))
    if not scenes:
        return _Packed({}, {}, skipped)
    arrays: dict[str, npt.NDArray[Any]] = {
        "xy": np.concatenate([scene.xy for scene in scenes]),
        "step": np.concatenate([scene.step for scene in scenes]),
        "track_lengths": np.concatenate([scene.track_lengths for scene in scenes]),
        "track_types": np.concatenate([scene.track_types for scene in scenes]),
        "tracks_per_scene": np.array([len(scene.track_types) for scene in scenes]),
        "times": np.stack([scene.times for scene in scenes]).astype(np.float32),
        "lane_rows": np.concatenate(
            [crop + cities[scene.city].first_row for scene, crop in zip(scenes, crops, strict=True)]
        ),
        "lanes_per_scene": np.array([len(crop) for crop in crops]),
    }
    manifest = _manifest(scenes, crops)
    if batch.steps == STEPS:
        manifest |= _agent_columns(scenes, crops, cities, batch.turn_angle)
    return _Packed(arrays, manifest, skipped)


def _manifest(scenes: list[RecordedScene], crops: list[npt.NDArray[np.int64]]) -> dict[str, Any]:
    return {
        "scene_id": [scene.scene_id for scene in scenes],
        "city": [scene.city for scene in scenes],
        "origin_x": np.array([scene.origin[0] for scene in scenes]),
        "origin_y": np.array([scene.origin[1] for scene in scenes]),
        "start_time": np.array([scene.start_time for scene in scenes]),
        "n_tracks": np.array([len(scene.track_types) for scene in scenes]),
        "n_rows": np.array([len(scene.xy) for scene in scenes]),
        "n_lanes": np.array([len(crop) for crop in crops]),
    }


def _agent_columns(
    scenes: list[RecordedScene], crops: list[npt.NDArray[np.int64]], cities: dict[str, _City], turn_angle: float
) -> dict[str, npt.NDArray[Any]]:
    """What AGENT does over the whole scene, its future included."""
    agents = np.stack([scene.xy[: scene.track_lengths[0]] for scene in scenes])
    lane_distance, at_intersection = np.full(len(scenes), np.nan), np.zeros(len(scenes), dtype=np.bool_)
    for row, (scene, crop) in enumerate(zip(scenes, crops, strict=True)):
        if len(crop):
            city = cities[scene.city]
            distance, nearest = city.centrelines.nearest(agents[row] + scene.origin, crop)
            lane_distance[row] = distance.mean()
            at_intersection[row] = city.lane_map.segments.is_intersection[nearest].any()
    return {
        **agent_statistics(agents, np.stack([scene.times for scene in scenes]), turn_angle),
        "agent_lane_distance": lane_distance,
        "at_intersection": at_intersection,
    }


@dataclass(frozen=True)
class _City:
    lane_map: LaneMap
    centrelines: Centrelines
    first_row: int


@lru_cache(maxsize=1)
def _cities(maps: str) -> dict[str, _City]:
    """The maps of a folder, and where each one's lanes start when all are joined; once in each worker."""
    cities: dict[str, _City] = {}
    first_row = 0
    for city, lane_map in load_maps(Path(maps)).items():
        cities[city] = _City(lane_map, Centrelines.of(lane_map.segments, lane_map.bounding_boxes), first_row)
        first_row += len(lane_map)
    return cities
