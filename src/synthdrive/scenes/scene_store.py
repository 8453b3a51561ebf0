"""Driving scenes packed into a few memory-mapped arrays, whatever their number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.core.artifacts import atomic_directory, read_table, write_table
from synthdrive.core.errors import InputError
from synthdrive.scenes.lane_segments import LaneSegments
from synthdrive.scenes.stored_arrays import blocks, open_array, ragged_rows, raw_to_npy, rises_from_zero

STEPS = 50  # 5 s at 10 Hz: 2 s observed, 3 s to forecast (docs/method.md 1.1)
OBSERVED_STEPS = 20
HORIZON = STEPS - OBSERVED_STEPS
LAST_OBSERVED = OBSERVED_STEPS - 1
STEP_SECONDS = 0.1

AGENT, AV, OTHERS = 0, 1, 2  # track types, in the order of a scene's tracks
TRACK_TYPES = ("AGENT", "AV", "OTHERS")

MANIFEST_COLUMNS = {"scene_id": pa.string(), "city": pa.string(), "origin_x": pa.float64(), "origin_y": pa.float64()}

REORDER_SCENES = 1024  # scenes held in memory at a time when a store is sorted


_ARRAYS: dict[str, tuple[str, tuple[int | None, ...]]] = {  # dtype, and the shape of one element, None for any size
    "xy": ("float32", (2,)),
    "step": ("uint8", ()),
    "track_offsets": ("int64", ()),
    "track_types": ("uint8", ()),
    "scene_tracks": ("int64", ()),
    "times": ("float32", (None,)),  # as many as a scene of this store has steps
    "lane_offsets": ("int64", ()),
    "lane_rows": ("int32", ()),
}


@dataclass(frozen=True)
class Scene:
    """One scene, as views into the store.

    Attributes:
        scene_id: the file's stem, or the window's name.
        city: the map it is on.
        origin: (2,) float64, AGENT's position at the last observed step, metres, city frame.
        xy: (R, 2) float32, all track rows, metres, city axes, relative to `origin`; true to 1 mm.
        step: (R,) uint8, each row's index into `times`.
        track_offsets: (K + 1,) int64, rows of track k are `track_offsets[k]:track_offsets[k + 1]` of this scene.
        track_types: (K,) uint8: AGENT first, then AV where there is one, then OTHERS in the order of appearance.
        times: (50,) float32, seconds since the scene's first row; (20,) where the store holds no future.
        lane_rows: (M,) int32, rows of the store's `lanes` in the map crop.
    """

    scene_id: str
    city: str
    origin: npt.NDArray[np.float64]
    xy: npt.NDArray[np.float32]
    step: npt.NDArray[np.uint8]
    track_offsets: npt.NDArray[np.int64]
    track_types: npt.NDArray[np.uint8]
    times: npt.NDArray[np.float32]
    lane_rows: npt.NDArray[np.int32]

    @property
    def agent(self) -> npt.NDArray[np.float32]:
        """(50, 2) float32, AGENT's track, metres, city axes, relative to `origin`; (20, 2) without a future."""
        return self.xy[: self.track_offsets[1]]

    def track(self, k: int) -> npt.NDArray[np.float32]:
        """(T, 2) float32, rows of track k, metres, city axes, relative to `origin`."""
        return self.xy[self.track_offsets[k] : self.track_offsets[k + 1]]


@dataclass(frozen=True)
class SceneStore:
    """S scenes with R track rows in K tracks; the arrays are memory-mapped, so workers share them.

    On disk: a directory with one `.npy` per array, `lanes.safetensors` and `manifest.parquet` (a row per scene:
    MANIFEST_COLUMNS and whatever a gate, a stratum or a query wants). Every scene has 50 steps, or every scene has the
    20 observed ones alone, as a benchmark gives its test scenes: then `times` is so wide, and nothing stands in for the
    future.

    Attributes:
        manifest: S rows.
        lanes: every lane segment that a crop refers to, metres, city frame.
        xy, step: (R, 2) float32 and (R,) uint8, see `Scene`.
        track_offsets: (K + 1,) int64 into the rows.
        track_types: (K,) uint8.
        scene_tracks: (S + 1,) int64 into the tracks.
        times: (S, 50) float32, or (S, 20).
        lane_offsets, lane_rows: (S + 1,) int64 and (N,) int32, rows of `lanes` in each scene's crop.
    """

    manifest: pa.Table
    lanes: LaneSegments
    xy: npt.NDArray[np.float32]
    step: npt.NDArray[np.uint8]
    track_offsets: npt.NDArray[np.int64]
    track_types: npt.NDArray[np.uint8]
    scene_tracks: npt.NDArray[np.int64]
    times: npt.NDArray[np.float32]
    lane_offsets: npt.NDArray[np.int64]
    lane_rows: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.scene_tracks) - 1

    @cached_property
    def scene_ids(self) -> list[str]:
        """(S,) names of the scenes."""
        ids: list[str] = self.manifest["scene_id"].to_pylist()
        return ids

    @cached_property
    def cities(self) -> list[str]:
        """(S,) map of each scene."""
        cities: list[str] = self.manifest["city"].to_pylist()
        return cities

    @cached_property
    def origins(self) -> npt.NDArray[np.float64]:
        """(S, 2) float64, AGENT's position at the last observed step, metres, city frame."""
        # Arrow's own to_numpy would import pandas (0.4 s of every training run).
        columns = [self.manifest[name].combine_chunks() for name in ("origin_x", "origin_y")]
        return np.stack([np.from_dlpack(column) for column in columns], axis=1)

    @property
    def steps(self) -> int:
        """Steps of every scene: STEPS, or OBSERVED_STEPS where the future is not known."""
        return int(self.times.shape[1])

    def require_future(self, where: Path | str) -> None:
        """Raise InputError, naming `where`, unless the scenes have a future to learn from or to score against."""
        if self.steps != STEPS:
            found = f"scenes of {self.steps} steps, which have no future"
            raise InputError(where, found, f"scenes of {STEPS} steps", "Such scenes can be forecast, and no more.")

    def __getitem__(self, index: int) -> Scene:
        if not 0 <= index < len(self):
            raise IndexError(f"scene {index} of {len(self)}")
        tracks = slice(int(self.scene_tracks[index]), int(self.scene_tracks[index + 1]))
        offsets = self.track_offsets[tracks.start : tracks.stop + 1]
        rows = slice(int(offsets[0]), int(offsets[-1]))
        return Scene(
            scene_id=self.scene_ids[index],
            city=self.cities[index],
            origin=self.origins[index],
            xy=self.xy[rows],
            step=self.step[rows],
            track_offsets=offsets - offsets[0],
            track_types=self.track_types[tracks],
            times=self.times[index],
            lane_rows=self.lane_rows[self.lane_offsets[index] : self.lane_offsets[index + 1]],
        )

    @classmethod
    def load(cls, directory: Path, check: bool = True) -> Self:
        """Open a store; the arrays stay on disk until they are read.

        Args:
            check: whether to read all offsets and lane rows and check that they agree.

        Raises:
            InputError: a file is missing, truncated, or disagrees with the others.
        """
        directory = Path(directory)
        arrays = {
            name: open_array(directory / f"{name}.npy", dtype, (None, *element))
            for name, (dtype, element) in _ARRAYS.items()
        }
        manifest = read_table(directory / "manifest.parquet", MANIFEST_COLUMNS)
        store = cls(manifest=manifest, lanes=LaneSegments.load(directory / "lanes.safetensors"), **arrays)
        if check:
            store.validate(directory)
        return store

    def gather(self, indices: npt.NDArray[np.integer[Any]]) -> dict[str, npt.NDArray[Any]]:
        """The arrays of some scenes, joined end to end, named as `SceneStoreWriter.append_many` takes them."""
        tracks_per_scene = self.scene_tracks[indices + 1] - self.scene_tracks[indices]
        tracks = ragged_rows(self.scene_tracks[indices], tracks_per_scene)
        track_lengths = self.track_offsets[tracks + 1] - self.track_offsets[tracks]
        rows = ragged_rows(self.track_offsets[tracks], track_lengths)
        lanes_per_scene = self.lane_offsets[indices + 1] - self.lane_offsets[indices]
        return {
            "xy": self.xy[rows],
            "step": self.step[rows],
            "track_lengths": track_lengths,
            "track_types": self.track_types[tracks],
            "tracks_per_scene": tracks_per_scene,
            "times": self.times[indices],
            "lane_rows": self.lane_rows[ragged_rows(self.lane_offsets[indices], lanes_per_scene)],
            "lanes_per_scene": lanes_per_scene,
        }

    def validate(self, where: Path) -> None:
        """Check that sizes and offsets agree; raises InputError naming `where` and the array."""
        for name in ("scene_tracks", "track_offsets", "lane_offsets"):
            if not rises_from_zero(getattr(self, name)):
                raise InputError(f"{where}: {name}", "offsets that fall, or another start", "offsets that rise from 0")
        if self.steps not in (STEPS, OBSERVED_STEPS):
            raise InputError(f"{where}: times", f"{self.steps} steps", f"{STEPS}, or {OBSERVED_STEPS} without a future")
        size = len(self)
        expected = {
            "manifest": (self.manifest.num_rows, size),
            "times": (len(self.times), size),
            "lane_offsets": (len(self.lane_offsets), size + 1),
            "lane_rows": (len(self.lane_rows), int(self.lane_offsets[-1])),
            "track_types": (len(self.track_types), len(self.track_offsets) - 1),
            "scene_tracks": (int(self.scene_tracks[-1]), len(self.track_types)),
            "xy": (len(self.xy), int(self.track_offsets[-1])),
            "step": (len(self.step), int(self.track_offsets[-1])),
        }
        for name, (found, wanted) in expected.items():
            if found != wanted:
                raise InputError(f"{where}: {name}", str(found), str(wanted), "The store is damaged: make it again.")
        for block in blocks(self.lane_rows):
            if not 0 <= block.min() <= block.max() < len(self.lanes):
                wrong = block.min() if block.min() < 0 else block.max()
                raise InputError(f"{where}: lane_rows", f"row {wrong}", f"rows from 0 below {len(self.lanes)}")


class SceneStoreWriter:
    """Writes a store scene by scene in constant memory; use inside `artifacts.atomic_directory`.

    Args:
        directory: an existing folder.
        steps: of every scene; OBSERVED_STEPS for scenes without a future.

    Example:
        with atomic_directory(out) as partial:
            writer = SceneStoreWriter(partial)
            for ...: writer.append(...)
            writer.close(manifest, lanes)
    """

    def __init__(self, directory: Path, steps: int = STEPS) -> None:
        self.directory, self.steps = Path(directory), steps
        self._files = {name: (self.directory / f"{name}.raw").open("wb") for name in _ARRAYS}
        self._length = dict.fromkeys(_ARRAYS, 0)
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
        """Add one scene; see `Scene` for shapes and units (`track_lengths` are the lengths, not the offsets)."""
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
        """Add a block of scenes whose arrays are joined end to end."""
        rows, tracks, lanes = (self._length[name] for name in ("xy", "track_types", "lane_rows"))
        self._write("xy", xy)
        self._write("step", step)
        self._write("track_offsets", rows + np.cumsum(track_lengths))
        self._write("track_types", track_types)
        self._write("scene_tracks", tracks + np.cumsum(tracks_per_scene))
        self._write("times", times)
        self._write("lane_offsets", lanes + np.cumsum(lanes_per_scene))
        self._write("lane_rows", lane_rows)

    def close(self, manifest: pa.Table, lanes: LaneSegments, order: npt.NDArray[np.int64] | None = None) -> None:
        """Write manifest and lanes, give the arrays their headers, and check the whole.

        Args:
            manifest: a row for each scene, in the order in which they were added.
            lanes: the segments that the crops refer to.
            order: the scenes that the store is to have, in this order; as they were added where it is None.
        """
        for name, stream in self._files.items():
            stream.close()
            dtype, element = _ARRAYS[name]
            shape = (self._length[name], *(size or self.steps for size in element))
            raw_to_npy(self.directory / f"{name}.raw", self.directory / f"{name}.npy", dtype, shape)
        write_table(self.directory / "manifest.parquet", manifest)
        lanes.save(self.directory / "lanes.safetensors")
        if order is not None and not np.array_equal(order, np.arange(manifest.num_rows)):
            self._reorder(manifest, lanes, order)
        SceneStore.load(self.directory)

    def _reorder(self, manifest: pa.Table, lanes: LaneSegments, order: npt.NDArray[np.int64]) -> None:
        """Write the store anew in another order, a block of scenes at a time."""
        with atomic_directory(self.directory / "reordered") as partial:
            writer = type(self)(partial, self.steps)
            for start in range(0, len(order), REORDER_SCENES):
                store = SceneStore.load(self.directory, check=False)  # anew, so that mapped pages do not pile up
                writer.append_many(**store.gather(order[start : start + REORDER_SCENES]))
            writer.close(manifest.take(order), lanes)
        for file in sorted((self.directory / "reordered").iterdir()):
            file.replace(self.directory / file.name)
        (self.directory / "reordered").rmdir()

    def _write(self, name: str, array: npt.NDArray[Any]) -> None:
        self._files[name].write(np.ascontiguousarray(array, dtype=_ARRAYS[name][0]).tobytes())
        self._length[name] += len(array)
