"""Recorded scenes of any dataset become a scene store: found, packed in workers, written in constant memory, sorted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.config.data import IngestParameters
from synthdrive.core.artifacts import atomic_directory, write_json
from synthdrive.core.errors import InputError
from synthdrive.core.timing import Timing
from synthdrive.formats.archives import Limits
from synthdrive.ingestion.statistics import Centrelines, agent_statistics
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import CITY_MAPS, LOCAL_MAPS, RecordedScene
from synthdrive.scenes.scene_store_writer import SceneStoreWriter

T = TypeVar("T")

TEST = "test"  # the split whose scenes end at the last observed step
SKIPPED = "skipped.json"  # beside a store: the scenes left out

BATCH_SCENES = 32  # scenes that a worker packs at a time
BATCH_BYTES = 4 << 20  # or fewer, when their files are large

COPY_ADVICE = "Remove one of the two; ingest.on_bad_scene: skip leaves the copy out."
COPY = re.compile(r"(?P<original>.+?)(?: \([0-9]+\)| - Copy(?: \([0-9]+\))?| copy(?: [0-9]+)?)")  # as systems name them


def find_source(raw: Path, name: str, unpacked: str) -> Path:
    """The tarball `<name>.tar.gz` (.tgz, .tar) under `raw`, else a folder `<name>` or `<unpacked>` with its contents.

    A browser that unpacks what it downloads leaves `<name>.tar`.

    Raises:
        InputError: none of them is there.
    """
    names = tuple(dict.fromkeys((f"{name}.tar.gz", f"{name}.tgz", f"{name}.tar", name, unpacked)))
    for candidate in (Path(raw) / inner for inner in names):
        if candidate.exists():
            return candidate
    there = sorted(path.name for path in Path(raw).iterdir()) if Path(raw).is_dir() else None
    holds = "no such folder" if there is None else f"{', '.join(there[:10]) or 'nothing'}"
    folders = " nor ".join(f"{each}," for each in names[3:]).removesuffix(",")
    found = f"neither {name}.tgz, nor {name}.tar, nor {name}.tar.gz, nor {folders} (but {holds})"
    raise InputError(raw, found, "one of them", "data.raw in params.yaml names the folder of the raw data.")


def archive_limits(parameters: IngestParameters) -> Limits:
    """How much an archive of raw data may unfold to."""
    return Limits(parameters.max_file_megabytes * 10**6, parameters.max_archive_gigabytes * 10**9)


@dataclass(frozen=True)
class Skipped:
    """A scene that was left out: its file, and what is wrong with it."""

    file: str
    reason: str


@dataclass(frozen=True)
class Packed:
    """A batch of scenes as the store holds them, joined end to end.

    Attributes:
        arrays: as `SceneStoreWriter.append_many` takes them; empty where no scene of the batch can be used.
        manifest: columns.
        skipped: scenes left out.
        lanes: of the scenes' own maps, which `lane_rows` count from 0; None where the maps are those of cities.
    """

    arrays: dict[str, npt.NDArray[Any]]
    manifest: dict[str, Any]
    skipped: list[Skipped] = field(default_factory=list)
    lanes: LaneSegments | None = None


@dataclass(frozen=True)
class Surroundings:
    """The lanes that a scene's crop is taken from.

    Attributes:
        centrelines: of these lanes.
        is_intersection: (L,) bool.
        crop: (M,) int64, the lanes of the crop.
        first_row: where the lanes begin in the store.
    """

    centrelines: Centrelines
    is_intersection: npt.NDArray[np.bool_]
    crop: npt.NDArray[np.int64]
    first_row: int


def join(
    scenes: Sequence[RecordedScene], around: Sequence[Surroundings]
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Arrays and manifest columns of scenes, at least one, without what the focal agent does."""
    crops = [each.crop for each in around]
    arrays: dict[str, npt.NDArray[Any]] = {
        "xy": np.concatenate([scene.xy for scene in scenes]),
        "step": np.concatenate([scene.step for scene in scenes]),
        "track_lengths": np.concatenate([scene.track_lengths for scene in scenes]),
        "track_types": np.concatenate([scene.track_types for scene in scenes]),
        "tracks_per_scene": np.array([len(scene.track_types) for scene in scenes]),
        "times": np.stack([scene.times for scene in scenes]).astype(np.float32),
        "lane_rows": np.concatenate([each.crop + each.first_row for each in around]),
        "lanes_per_scene": np.array([len(crop) for crop in crops]),
    }
    manifest = {
        "scene_id": [scene.scene_id for scene in scenes],
        "city": [scene.city for scene in scenes],
        "origin_x": np.array([scene.origin[0] for scene in scenes]),
        "origin_y": np.array([scene.origin[1] for scene in scenes]),
        "start_time": np.array([scene.start_time for scene in scenes]),
        "n_tracks": np.array([len(scene.track_types) for scene in scenes]),
        "n_rows": np.array([len(scene.xy) for scene in scenes]),
        "n_lanes": np.array([len(crop) for crop in crops]),
    }
    return arrays, manifest


def agent_columns(
    scenes: Sequence[RecordedScene], around: Sequence[Surroundings], turn_angle: float, last_observed: int
) -> dict[str, npt.NDArray[Any]]:
    """What the focal agent does over the whole scene, its future included.

    Args:
        turn_angle: radians of heading change from which a scene counts as a turn.
        last_observed: step.
    """
    agents = np.stack([scene.xy[: scene.track_lengths[0]] for scene in scenes])
    lane_distance, at_intersection = np.full(len(scenes), np.nan), np.zeros(len(scenes), dtype=np.bool_)
    for row, (scene, lanes) in enumerate(zip(scenes, around, strict=True)):
        if len(lanes.crop):
            distance, nearest = lanes.centrelines.nearest(agents[row] + scene.origin, lanes.crop)
            lane_distance[row] = distance.mean()
            at_intersection[row] = lanes.is_intersection[nearest].any()
    return {
        **agent_statistics(agents, np.stack([scene.times for scene in scenes]), turn_angle, last_observed),
        "agent_lane_distance": lane_distance,
        "at_intersection": at_intersection,
    }


def write_store(
    source: Path,
    blocks: Iterable[Packed],
    lanes: LaneSegments | None,
    out: Path,
    timing: Timing,
    future: bool,
    skip: bool,
) -> list[Skipped]:
    """Write the scenes as a store, in the order of their ids, and beside it the list of those left out.

    Args:
        source: for messages.
        lanes: of the cities' maps; None where each scene brings its own.
        future: whether the scenes have one.
        skip: leave out what looks like a copy of another scene; else it is an error.

    Raises:
        InputError: no scene can be used, or one is there twice; `out` is then as it was.
    """
    manifest: list[pa.Table] = []
    skipped: list[Skipped] = []
    with atomic_directory(out) as partial:
        writer = SceneStoreWriter(partial, timing, future, LOCAL_MAPS if lanes is None else CITY_MAPS)
        for block in blocks:
            skipped += block.skipped
            if block.arrays:
                arrays = block.arrays
                if block.lanes is not None:
                    arrays = {**arrays, "lane_rows": arrays["lane_rows"] + writer.append_lanes(block.lanes)}
                writer.append_many(**arrays)
                manifest.append(pa.table(block.manifest))
        if not manifest:
            reason = skipped[0].reason if skipped else ""
            raise InputError(source, f"no usable scene among {len(skipped)}", "at least one", reason)
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


def batched(files: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Files in the batches that workers pack: `BATCH_SCENES` at most, fewer where they exceed `BATCH_BYTES`."""
    batch: list[T] = []
    size = 0
    for file in files:
        if batch and (len(batch) == BATCH_SCENES or size + size_of(file) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += size_of(file)
    yield batch


def scene_order(scene_id: str) -> tuple[int, int, str]:
    """Sorting key of the canonical order: whole numbers by value, then all other names."""
    number = scene_id.isascii() and scene_id.isdecimal()
    return (0, len(scene_id.lstrip("0")), scene_id.lstrip("0") + scene_id) if number else (1, 0, scene_id)


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
