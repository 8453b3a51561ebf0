"""Ingestion of the official archives of Argoverse 2 motion forecasting: packed maps and scenes, in constant memory.

Every scenario has its own map. A store contains the lanes of each scene's crop; a sample of the train scenes' maps is
kept whole for `augment` and `synthesize`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from synthdrive.config.data import POOLED, IngestParameters
from synthdrive.core.artifacts import atomic_directory, write_table
from synthdrive.core.errors import InputError
from synthdrive.core.parallel import local_executor, ordered_map, track, worker_count
from synthdrive.core.seeding import item_seed
from synthdrive.core.timing import ARGOVERSE2, Timing
from synthdrive.formats.archives import read_files
from synthdrive.formats.argoverse2_map_reader import read_vehicle_lanes
from synthdrive.formats.argoverse2_scene_reader import FILE, ScenarioFiles, read_scenario, scenario_files
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
from synthdrive.scenes.lane_map import LaneMap, LaneSegments
from synthdrive.scenes.scene_store import AGENT_TYPE, RecordedScene

FOCAL_TRACK = "focal_track_id"  # manifest column that submissions need


@dataclass(frozen=True)
class _Batch:
    files: list[ScenarioFiles]
    source: str
    half_width: float
    turn_angle: float
    skip: bool
    timing: Timing
    future: bool


def ingest_local_maps(
    raw: Path, out: Path, train_scenes: Collection[str], parameters: IngestParameters
) -> list[LaneMap]:
    """Write `parameters.local_maps` maps of train scenes: `<scenario>.safetensors` and `manifest.parquet`.

    The maps are those whose scenario ids have the smallest hashes. Maps without a lane for motor vehicles are not used.

    Args:
        raw: folder with `train.tar`, or with `train/` unpacked; with pooled scenes also `val.tar` or `val/`.
        train_scenes: ids of the scenes in the train store. Windows on the map of an evaluated scene would leak it into
            training, so no other map is used.

    Raises:
        InputError: there is no map, one occurs twice, or one cannot be used and `parameters.on_bad_scene` is "error";
            `out` is then unchanged.
    """
    splits = ("train", "val") if parameters.validation == POOLED else ("train",)
    sources = [find_source(raw, split, split) for split in splits]
    maps = _sample_maps(sources, set(train_scenes), parameters)
    if not maps:
        where = ", ".join(map(str, sources))
        raise InputError(where, "no map of a train scene with a lane for motor vehicles", "log_map_archive_<id>.json")
    with atomic_directory(out) as partial:
        for lane_map in maps:
            lane_map.save(partial / f"{lane_map.city}.safetensors")
        write_table(partial / "manifest.parquet", map_manifest(maps))
    return maps


def _sample_maps(sources: Sequence[Path], scenarios: set[str], parameters: IngestParameters) -> list[LaneMap]:
    kept: list[tuple[int, str, LaneMap]] = []  # a heap by negative hash: the first entry has the largest hash
    seen: set[str] = set()

    def is_wanted(path: str) -> bool:
        name = _scenario_of_map(path)  # equal hashes are those of a second file
        return name in scenarios and (len(kept) < parameters.local_maps or _sampling_hash(name) <= -kept[0][0])

    files = (
        (f"{source}: {path}", _scenario_of_map(path), content)
        for source in sources
        for path, content in read_files(source, is_wanted, archive_limits(parameters))
    )
    for where, name, content in track(files, "ingest maps", unit="maps read"):
        if name in seen:
            raise InputError(where, "a second file of this name", "each file once")
        seen.add(name)
        try:
            lanes = read_vehicle_lanes(content, where)
        except InputError:
            if parameters.on_bad_scene == "error":
                raise
            continue  # `ingest_scenarios` lists the scenario as skipped
        if not len(lanes):
            continue
        heapq.heappush(kept, (-_sampling_hash(name), name, lanes.lane_map(name)))
        if len(kept) > parameters.local_maps:
            heapq.heappop(kept)
    return [lane_map for _, _, lane_map in sorted(kept, key=lambda entry: entry[1])]


def _scenario_of_map(path: str) -> str:
    """Return the scenario of a map file; empty for other files."""
    match = FILE.fullmatch(PurePosixPath(path).name)
    return (match["map"] or "") if match else ""


def _sampling_hash(name: str) -> int:
    return item_seed(0, "local map", name)


def ingest_scenarios(
    raw: Path,
    outs: Mapping[str, Path],
    parameters: IngestParameters,
    map_half_width: float,
    timing: Timing,
    workers: int | None = None,
) -> dict[str, list[Skipped]]:
    """Read the scenarios under `raw` and write each split as a SceneStore, in the order of their ids.

    The folder also gets `skipped.json`, which lists the scenarios that were left out and the reasons. The manifest has
    two more columns than that of Argoverse 1: the type of the focal agent and its track id.

    Args:
        raw: folder with `<split>.tar`, or with `<split>/` unpacked.
        outs: folder to write to, for each split ("train", "val", "test"). Test scenarios have only the observed steps:
            their store has no future, and its manifest no columns about the focal agent's motion.
        map_half_width: m, half the side of the square map crop around the focal agent at the last observed step.
        timing: number of steps to take before and after the last observed step; at most 50 and 60.
        workers: number of processes, see `parallel.worker_count`; it does not affect the output.

    Returns:
        The skipped scenarios of each split.

    Raises:
        InputError: there is no scenario, one cannot be used and `parameters.on_bad_scene` is "error" (that split's
            folder is then unchanged), or the recordings are shorter than `timing`.
    """
    if timing.history_steps > ARGOVERSE2.history_steps or timing.future_steps > ARGOVERSE2.future_steps:
        raise InputError("scene.timing", str(timing), f"a part of Argoverse 2's {ARGOVERSE2}")
    sources = {split: find_source(raw, split, split) for split in outs}
    skipped: dict[str, list[Skipped]] = {}
    with local_executor(workers) as executor:
        for split, out in outs.items():
            future = split != TEST
            batches = _batches(sources[split], parameters, map_half_width, timing, future)
            packed = ordered_map(executor, _pack, batches, in_flight=worker_count(workers) + 2)
            blocks = track(packed, f"ingest {split}", unit=f"batches of {BATCH_SCENES} scenes")
            skip = parameters.on_bad_scene == "skip"
            skipped[split] = write_store(sources[split], blocks, None, out, timing, future, skip)
    return skipped


def _batches(
    source: Path, parameters: IngestParameters, half_width: float, timing: Timing, future: bool
) -> Iterator[_Batch]:
    turn, skip = math.radians(parameters.turn_angle), parameters.on_bad_scene == "skip"
    for files in batched(scenario_files(source, archive_limits(parameters)), lambda file: file.size):
        yield _Batch(files, "" if skip else f"{source}: ", half_width, turn, skip, timing, future)


def _pack(batch: _Batch) -> Packed:
    """Parse a batch of scenarios and crop the map of each; runs in a worker."""
    scenes: list[RecordedScene] = []
    lanes: list[LaneSegments] = []
    skipped: list[Skipped] = []
    for files in batch.files:
        try:
            scene, crop = _read(files, batch)
        except InputError as error:
            if not batch.skip:
                raise
            skipped.append(Skipped(files.name, str(error)))
            continue
        scenes.append(scene)
        lanes.append(crop)
    if not scenes:
        return Packed({}, {}, skipped)
    first = np.cumsum([0, *(len(crop) for crop in lanes[:-1])])
    around = [
        Surroundings(Centrelines.of(crop), crop.is_intersection, np.arange(len(crop)), int(row))
        for crop, row in zip(lanes, first, strict=True)
    ]
    arrays, manifest = join(scenes, around)
    manifest[AGENT_TYPE] = [scene.agent_type for scene in scenes]
    manifest[FOCAL_TRACK] = [scene.agent_track_id for scene in scenes]
    if batch.future:
        manifest |= agent_columns(scenes, around, batch.turn_angle, batch.timing.last_observed)
    return Packed(arrays, manifest, skipped, LaneSegments.concatenate(lanes))


def _read(files: ScenarioFiles, batch: _Batch) -> tuple[RecordedScene, LaneSegments]:
    if files.scene is None or files.local_map is None:
        missing = f"scenario_{files.name}.parquet" if files.scene is None else f"log_map_archive_{files.name}.json"
        raise InputError(f"{batch.source}{files.name}", f"no {missing}", "both files of the scenario")
    where = f"{batch.source}scenario_{files.name}.parquet"
    scene = read_scenario(files.scene, files.name, where, batch.timing, batch.future)
    vehicle_lanes = read_vehicle_lanes(files.local_map, f"{batch.source}log_map_archive_{files.name}.json")
    return scene, vehicle_lanes.crop(float(scene.origin[0]), float(scene.origin[1]), batch.half_width)
