"""Writing of scene stores, scene by scene, in constant memory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.core.artifacts import atomic_directory, write_json, write_table
from synthdrive.core.timing import Timing
from synthdrive.scenes.lane_map import MAX_POINTS, SEGMENT_ARRAYS, LaneSegments
from synthdrive.scenes.scene_store import CITY_MAPS, LANES, LOCAL_MAPS, METADATA, STORE_ARRAYS, SceneStore
from synthdrive.scenes.stored_arrays import COPIED_AT_A_TIME, raw_to_npy

REORDER_SCENES = 1024  # scenes held in memory at a time when a store is sorted


class SceneStoreWriter:
    """Writes a store scene by scene in constant memory; use it inside `artifacts.atomic_directory`.

    Args:
        directory: an existing folder.
        timing: timing of every scene.
        future: whether the scenes have a future.
        maps: CITY_MAPS if the lanes are added once, at any time; LOCAL_MAPS if each block of scenes comes with its own.

    Example:
        with atomic_directory(out) as partial:
            writer = SceneStoreWriter(partial, timing)
            for ...: writer.append(...)
            writer.close(manifest, lanes)
    """

    def __init__(self, directory: Path, timing: Timing, future: bool = True, maps: str = CITY_MAPS) -> None:
        self.directory, self.timing, self.maps = Path(directory), timing, maps
        self.steps = timing.steps if future else timing.history_steps
        self._lanes = LaneSegmentsWriter(self.directory / LANES)
        self._files = {name: (self.directory / f"{name}.raw").open("wb") for name in STORE_ARRAYS}
        self._length = dict.fromkeys(STORE_ARRAYS, 0)
        for name in ("track_offsets", "scene_tracks", "lane_offsets"):
            self._write(name, np.zeros(1, dtype=np.int64))

    def append(
        self,
        xy: npt.NDArray[np.float32],
        step: npt.NDArray[np.uint8],
        track_lengths: npt.NDArray[np.int64],
        track_types: npt.NDArray[np.uint8],
        times: npt.NDArray[np.float32],
        lane_rows: npt.NDArray[np.int32],
    ) -> None:
        """Add a scene; see `Scene` for shapes and units. `track_lengths` (K,) are the lengths that its offsets give."""
        self.append_many(
            xy, step, track_lengths, track_types, np.array([len(track_types)]), times[None], lane_rows,
            np.array([len(lane_rows)]),
        )  # fmt: skip

    def append_many(
        self,
        xy: npt.NDArray[np.float32],
        step: npt.NDArray[np.uint8],
        track_lengths: npt.NDArray[np.int64],
        track_types: npt.NDArray[np.uint8],
        tracks_per_scene: npt.NDArray[np.int64],
        times: npt.NDArray[np.float32],
        lane_rows: npt.NDArray[np.int32],
        lanes_per_scene: npt.NDArray[np.int64],
    ) -> None:
        """Add a block of scenes whose arrays are concatenated; `times` is (B, steps), as in `SceneStore`."""
        rows, tracks, lanes = (self._length[name] for name in ("xy", "track_types", "lane_rows"))
        self._write("xy", xy)
        self._write("step", step)
        self._write("track_offsets", rows + np.cumsum(track_lengths))
        self._write("track_types", track_types)
        self._write("scene_tracks", tracks + np.cumsum(tracks_per_scene))
        self._write("times", times)
        self._write("lane_offsets", lanes + np.cumsum(lanes_per_scene))
        self._write("lane_rows", lane_rows)

    def append_lanes(self, lanes: LaneSegments) -> int:
        """Add lanes and return the row of the first of them, by which crops refer to them."""
        return self._lanes.append(lanes)

    def append_scenes(self, store: SceneStore, scenes: npt.NDArray[np.int64]) -> None:
        """Add scenes of another store with the same timing, and their lanes if each scene has its own."""
        arrays = store.gather(scenes)
        if self.maps == LOCAL_MAPS:
            first = self.append_lanes(store.lanes.take(arrays["lane_rows"]))
            arrays["lane_rows"] = first + np.arange(len(arrays["lane_rows"]))
        self.append_many(**arrays)

    def close(
        self,
        manifest: pa.Table,
        lanes: LaneSegments | None = None,
        order: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Finish the store: write manifest, lanes and array headers, then check it.

        Args:
            manifest: table with a row for each scene, in the order in which they were added.
            lanes: the segments that the crops refer to, unless they were added before.
            order: (S,) int64 indices of the scenes that the store keeps, in this order; None for all, as added.
        """
        if lanes is not None:
            self.append_lanes(lanes)
        for name, stream in self._files.items():
            stream.close()
            dtype, element = STORE_ARRAYS[name]
            shape = (self._length[name], *(size or self.steps for size in element))
            raw_to_npy(self.directory / f"{name}.raw", self.directory / f"{name}.npy", dtype, shape)
        write_table(self.directory / "manifest.parquet", manifest)
        write_json(self.directory / METADATA, {"timing": self.timing.plain(), "maps": self.maps})
        self._lanes.close()
        if order is not None and not np.array_equal(order, np.arange(manifest.num_rows)):
            self._reorder(manifest, order)
        SceneStore.load(self.directory)

    def _reorder(self, manifest: pa.Table, order: npt.NDArray[np.int64]) -> None:
        """Rewrite the store in another order, a block of scenes at a time."""
        with atomic_directory(self.directory / "reordered") as partial:
            writer = type(self)(partial, self.timing, self.steps == self.timing.steps, self.maps)
            for start in range(0, len(order), REORDER_SCENES):
                store = SceneStore.load(self.directory, check=False)  # reopened, so that mapped pages are released
                writer.append_scenes(store, order[start : start + REORDER_SCENES])
            shared = SceneStore.load(self.directory, check=False).lanes if self.maps == CITY_MAPS else None
            writer.close(manifest.take(order), shared)
        for file in sorted((self.directory / "reordered").iterdir()):
            file.replace(self.directory / file.name)
        (self.directory / "reordered").rmdir()

    def _write(self, name: str, array: npt.NDArray[Any]) -> None:
        self._files[name].write(np.ascontiguousarray(array, dtype=STORE_ARRAYS[name][0]).tobytes())
        self._length[name] += len(array)


class LaneSegmentsWriter:
    """Writes lane segments block by block in constant memory, to the same bytes as `LaneSegments.save`.

    Args:
        path: the file; until `close`, there is a temporary file for each array beside it.
    """

    # The order in which safetensors writes arrays: by type, then by name
    _ORDER = ("counts", "lane_ids", "points", "turn", "has_traffic_control", "is_intersection")
    _TYPES = {"int64": "I64", "float64": "F64", "int8": "I8", "bool": "BOOL"}

    def __init__(self, path: Path) -> None:
        self.path, self._lanes = Path(path), 0
        self._files = {name: path.with_name(f"{path.name}.{name}.raw").open("wb") for name in self._ORDER}

    def append(self, lanes: LaneSegments) -> int:
        """Add lanes and return the row of the first of them."""
        first, self._lanes = self._lanes, self._lanes + len(lanes)
        for name, stream in self._files.items():
            stream.write(np.ascontiguousarray(getattr(lanes, name)).tobytes())
        return first

    def close(self) -> None:
        """Join the arrays into the file and delete the temporary files."""
        header: dict[str, Any] = {"__metadata__": {}}
        end = 0
        for name, stream in self._files.items():
            start, end = end, end + stream.tell()
            stream.close()
            shape = [self._lanes, MAX_POINTS, 2] if name == "points" else [self._lanes]
            kind = self._TYPES[SEGMENT_ARRAYS[name][0]]
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with self.path.open("wb") as target:
            target.write(len(text).to_bytes(8, "little") + text)
            for stream in self._files.values():
                raw = Path(stream.name)
                with raw.open("rb") as source:
                    shutil.copyfileobj(source, target, COPIED_AT_A_TIME)
                raw.unlink()
