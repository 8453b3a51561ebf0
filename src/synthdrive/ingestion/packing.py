"""Steps that the ingestion of all datasets shares: find the raw data, pack scenes, and write them as a scene store."""

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
SKIPPED = "skipped.json"  # list of the scenes that were left out of a store

BATCH_SCENES = 32  # most scenes that a worker packs at a time
BATCH_BYTES = 4 << 20  # most bytes of their files, so that large files come in smaller batches

COPY_ADVICE = "Remove one of the two; ingest.on_bad_scene: skip leaves the copy out."
# The names that operating systems give to copies of a file
COPY = re.compile(r"(?P<original>.+?)(?: \([0-9]+\)| - Copy(?: \([0-9]+\))?| copy(?: [0-9]+)?)")


def find_source(raw: Path, name: str, unpacked: str) -> Path:
    """Find the tarball `<name>.tar.gz` (.tgz, .tar) in `raw`, else its contents in the folder `<name>` or `<unpacked>`.

    Some browsers unzip a download, which leaves `<name>.tar`.

    Raises:
        InputError: none of them exists.
    """
    names = tuple(dict.fromkeys((f"{name}.tar.gz", f"{name}.tgz", f"{name}.tar", name, unpacked)))
    for candidate in (Path(raw) / inner for inner in names):
        if candidate.exists():
            return candidate
    present = sorted(path.name for path in Path(raw).iterdir()) if Path(raw).is_dir() else None
    found = "no such folder" if present is None else ", ".join(present[:10]) or "an empty folder"
    expected = f"one of {', '.join(names)}"
    raise InputError(raw, found, expected, "data.raw in params.yaml names the folder of the raw data.")


def archive_limits(parameters: IngestParameters) -> Limits:
    """Return the largest sizes of an unpacked archive and of a file in it."""
    return Limits(parameters.max_file_megabytes * 10**6, parameters.max_archive_gigabytes * 10**9)


@dataclass(frozen=True)
class Skipped:
    """A scene that was left out: its file and the reason."""

    file: str
    reason: str


@dataclass(frozen=True)
class Packed:
    """A batch of scenes whose arrays are concatenated as in a store.

    Attributes:
        arrays: arguments of `SceneStoreWriter.append_many`; empty if no scene of the batch can be used.
        manifest: columns of the manifest, by name.
        skipped: scenes that were left out.
        lanes: lanes of the scenes' own maps, into which `lane_rows` are indices; None if scenes share city maps.
    """

    arrays: dict[str, npt.NDArray[Any]]
    manifest: dict[str, Any]
    skipped: list[Skipped] = field(default_factory=list)
    lanes: LaneSegments | None = None


@dataclass(frozen=True)
class Surroundings:
    """The L lanes of a map and the crop of it around a scene.

    Attributes:
        centrelines: centrelines of the lanes.
        is_intersection: (L,) bool.
        crop: (M,) int64, rows of the lanes in the crop.
        first_row: row of the map's first lane in the store.
    """

    centrelines: Centrelines
    is_intersection: npt.NDArray[np.bool_]
    crop: npt.NDArray[np.int64]
    first_row: int


def join(
    scenes: Sequence[RecordedScene], around: Sequence[Surroundings]
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Concatenate one or more scenes: arrays of the store, and manifest columns except those of `agent_columns`."""
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
    """Return manifest columns about the focal agent's motion over the whole scene, with its future.

    Args:
        turn_angle: change of heading, radians, from which a scene counts as a turn.
        last_observed: index of the last observed step.

    Returns:
        (B,) each: the columns of `agent_statistics`, agent_lane_distance (m, mean distance to the nearest centreline,
        NaN without lanes) and at_intersection (whether the agent is ever on a lane in an intersection).
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
    """Write scenes as a store, in the order of their ids, with the list of those that were left out.

    Args:
        source: the raw data, for messages.
        lanes: lanes of the city maps; None if each scene has its own.
        future: whether the scenes have a future.
        skip: whether to leave out scenes that look like copies of others; otherwise they are errors.

    Raises:
        InputError: no scene can be used, or two scenes have the same id; `out` is then unchanged.
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
            where = f"{scene_ids[row]}.csv" if skip else f"{source}: {scene_ids[row]}.csv"
            error = InputError(
                where, f"what looks like a second copy of {original}.csv", "each scene once", COPY_ADVICE
            )
            if not skip:
                raise error
            skipped.append(Skipped(f"{scene_ids[row]}.csv", str(error)))
        order = _canonical_order(source, scene_ids)
        writer.close(table, lanes, order[~np.isin(order, list(copies))])
        skipped.sort(key=lambda item: (scene_order(Path(item.file).stem), item.file, item.reason))
        write_json(partial / SKIPPED, [{"file": item.file, "reason": item.reason} for item in skipped])
    return skipped


def batched(files: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Group files into batches of at most `BATCH_SCENES` files and, unless one file is larger, `BATCH_BYTES` bytes."""
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
    """Return the sorting key of the order of scenes: whole numbers by value, then all other names."""
    number = scene_id.isascii() and scene_id.isdecimal()
    return (0, len(scene_id.lstrip("0")), scene_id.lstrip("0") + scene_id) if number else (1, 0, scene_id)


def _copies(scene_ids: list[str]) -> dict[int, str]:
    """Return the rows of scenes that are named like copies of another scene in the list, with that scene's id."""
    known, copies = set(scene_ids), {}
    for row, scene_id in enumerate(scene_ids):
        match = COPY.fullmatch(scene_id)
        if match and match["original"] in known:
            copies[row] = match["original"]
    return copies


def _canonical_order(source: Path, scene_ids: list[str]) -> npt.NDArray[np.int64]:
    order = np.array(sorted(range(len(scene_ids)), key=lambda row: scene_order(scene_ids[row])), dtype=np.int64)
    for earlier, later in zip(order[:-1], order[1:], strict=True):
        if scene_ids[earlier] == scene_ids[later]:
            raise InputError(source, f"two scenes {scene_ids[later]!r}", "unique file names")
    return order
