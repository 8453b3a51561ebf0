"""Ingestion of raw data in the official Argoverse 1 layout: packed maps and scenes, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from synthdrive.config.data import IngestParameters
from synthdrive.core.artifacts import atomic_directory, write_table
from synthdrive.core.errors import InputError
from synthdrive.core.parallel import local_executor, ordered_map, track, worker_count
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.formats.argoverse1_map_reader import read_maps
from synthdrive.formats.argoverse1_scene_reader import read_scene, scene_files
from synthdrive.ingestion.packing import (
    BATCH_SCENES,
    TEST,
    Packed,
    Skipped,
    Surroundings,
    agent_columns,
    archive_limits,
    batched,
    find_source,
    join,
    write_store,
)
from synthdrive.ingestion.statistics import Centrelines, map_manifest
from synthdrive.scenes.lane_map import LaneMap, LaneSegments, load_maps
from synthdrive.scenes.scene_store import RecordedScene


@dataclass(frozen=True)
class _Batch:
    files: list[tuple[str, bytes]]
    maps: str
    half_width: float
    turn_angle: float
    skip: bool
    steps: int


def ingest_maps(raw: Path, out: Path, parameters: IngestParameters) -> list[LaneMap]:
    """Read the vector maps under `raw` and write `<CITY>.safetensors` and `manifest.parquet` to the folder `out`.

    Args:
        raw: folder with `hd_maps.tar.gz`, or with `hd_maps/` or `map_files/` unpacked.

    Raises:
        InputError: there is no map, or one cannot be used; `out` is then unchanged.
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

    The folder also gets `skipped.json`, which lists the scenes that were left out and the reasons.

    Args:
        raw: folder with `forecasting_<split>_v1.1.tar.gz` (or .tgz, .tar), or with `forecasting_<split>_v1.1/` or
            `<split>/` unpacked.
        outs: folder to write to, for each split ("train", "val", "test"). Test scenes have only the 20 observed steps:
            their store has no future, and its manifest no columns about the focal agent's motion.
        maps: folder written by `ingest_maps`.
        map_half_width: m, half the side of the square map crop around the focal agent at the last observed step.
        workers: number of processes, see `parallel.worker_count`; it does not affect the output.

    Returns:
        The skipped scenes of each split.

    Raises:
        InputError: there is no scene, or one cannot be used and `parameters.on_bad_scene` is "error"; that split's
            folder is then unchanged.
    """
    sources = {split: find_source(raw, f"forecasting_{split}_v1.1", split) for split in outs}
    skipped: dict[str, list[Skipped]] = {}
    with local_executor(workers) as executor:
        for split, out in outs.items():
            steps = ARGOVERSE1.history_steps if split == TEST else ARGOVERSE1.steps
            batches = _batches(sources[split], maps, parameters, map_half_width, steps)
            packed = ordered_map(executor, _pack, batches, in_flight=worker_count(workers) + 2)
            blocks = track(packed, f"ingest {split}", unit=f"batches of {BATCH_SCENES} scenes")
            skip = parameters.on_bad_scene == "skip"
            lanes = LaneSegments.concatenate([lane_map.segments for lane_map in load_maps(maps).values()])
            skipped[split] = write_store(sources[split], blocks, lanes, out, ARGOVERSE1, split != TEST, skip)
    return skipped


def _batches(source: Path, maps: Path, parameters: IngestParameters, half_width: float, steps: int) -> Iterator[_Batch]:
    turn, skip = math.radians(parameters.turn_angle), parameters.on_bad_scene == "skip"
    for files in batched(scene_files(source, archive_limits(parameters)), lambda file: len(file[1])):
        named = [(name if skip else f"{source}: {name}", content) for name, content in files]
        yield _Batch(named, str(maps), half_width, turn, skip, steps)


def _pack(batch: _Batch) -> Packed:
    """Parse a batch of files and crop the map around each scene; runs in a worker."""
    cities = _cities(batch.maps)
    scenes: list[RecordedScene] = []
    around: list[Surroundings] = []
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
        crop = city.lane_map.lanes_near(scene.origin[0], scene.origin[1], batch.half_width)
        around.append(Surroundings(city.centrelines, city.lane_map.segments.is_intersection, crop, city.first_row))
    if not scenes:
        return Packed({}, {}, skipped)
    arrays, manifest = join(scenes, around)
    if batch.steps == ARGOVERSE1.steps:
        manifest |= agent_columns(scenes, around, batch.turn_angle, ARGOVERSE1.last_observed)
    return Packed(arrays, manifest, skipped)


@dataclass(frozen=True)
class _City:
    lane_map: LaneMap
    centrelines: Centrelines
    first_row: int


@lru_cache(maxsize=1)
def _cities(maps: str) -> dict[str, _City]:
    """Load the maps of a folder, each with the row of its first lane among the lanes of all; once per worker."""
    cities: dict[str, _City] = {}
    first_row = 0
    for city, lane_map in load_maps(Path(maps)).items():
        cities[city] = _City(lane_map, Centrelines.of(lane_map.segments, lane_map.bounding_boxes), first_row)
        first_row += len(lane_map)
    return cities
