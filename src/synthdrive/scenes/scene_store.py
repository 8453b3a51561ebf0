"""Driving scenes, packed into a few memory-mapped arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.core.artifacts import read_json, read_table
from synthdrive.core.errors import InputError
from synthdrive.core.timing import Timing, read_timing
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.stored_arrays import blocks, floats, open_array, ragged_rows, rises_from_zero

AGENT, AV, OTHERS = 0, 1, 2  # track types, in the order of a scene's tracks
TRACK_TYPES = ("AGENT", "AV", "OTHERS")

METADATA = "metadata.json"
LANES = "lanes.safetensors"
CITY_MAPS, LOCAL_MAPS = "city", "local"  # scenes share the lanes of a city, or each scene has its own lanes

MANIFEST_COLUMNS = {"scene_id": pa.string(), "city": pa.string(), "origin_x": pa.float64(), "origin_y": pa.float64()}

AGENT_TYPE = "agent_type"  # manifest column with AGENT's type, if the dataset gives it
FARTHEST = 8192.0  # metres from AGENT; beyond this, float32 is not accurate to 1 mm
LANE_TYPES = ("vehicle", "bus", "motorcyclist")  # agent types that keep to lanes for motor vehicles

STORE_ARRAYS: dict[str, tuple[str, tuple[int | None, ...]]] = {  # dtype, and shape of an element (None: any size)
    "xy": ("float32", (2,)),
    "step": ("uint8", ()),
    "track_offsets": ("int64", ()),
    "track_types": ("uint8", ()),
    "scene_tracks": ("int64", ()),
    "times": ("float32", (None,)),  # one for each step
    "lane_offsets": ("int64", ()),
    "lane_rows": ("int32", ()),
}


@dataclass(frozen=True)
class Scene:
    """One scene, as views into the store.

    Attributes:
        scene_id: stem of the scene's file, or name of the window.
        city: name of the map.
        origin: (2,) float64, AGENT's position at the last observed step, metres, city frame.
        xy: (R, 2) float32, rows of all tracks, metres, city axes, relative to `origin`; accurate to 1 mm.
        step: (R,) uint8, index of each row into `times`.
        track_offsets: (K + 1,) int64, track k has the rows `track_offsets[k]:track_offsets[k + 1]` of this scene.
        track_types: (K,) uint8: AGENT first, then AV if there is one, then OTHERS in the order of appearance.
        times: (steps,) float32, seconds since the scene's first row; observed steps only in a store without a future.
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
        """(steps, 2) float32, AGENT's track, metres, city axes, relative to `origin`."""
        return self.xy[: self.track_offsets[1]]

    def track(self, k: int) -> npt.NDArray[np.float32]:
        """(T, 2) float32, rows of track k, metres, city axes, relative to `origin`."""
        return self.xy[self.track_offsets[k] : self.track_offsets[k + 1]]


@dataclass(frozen=True)
class RecordedScene:
    """One recorded scene of any dataset, its rows sorted by track.

    Attributes:
        scene_id: the file's stem.
        city: name of the map.
        origin: (2,) float64, AGENT's position at the last observed step, metres, city frame.
        xy: (R, 2) float32, metres, city axes, relative to `origin`.
        step: (R,) uint8, index of each row into `times`.
        track_lengths: (K,) int64, number of rows of each track.
        track_types: (K,) uint8, see `Scene`.
        start_time: first time stamp, seconds.
        times: (steps,) float64, seconds since `start_time`; observed steps only in a test scene.
        agent_track_id: AGENT's track id, if a submission needs it; else "".
        agent_type: AGENT's type (vehicle, pedestrian, ...), if the dataset gives it; else "".
    """

    scene_id: str
    city: str
    origin: npt.NDArray[np.float64]
    xy: npt.NDArray[np.float32]
    step: npt.NDArray[np.uint8]
    track_lengths: npt.NDArray[np.int64]
    track_types: npt.NDArray[np.uint8]
    start_time: float
    times: npt.NDArray[np.float64]
    agent_track_id: str = ""
    agent_type: str = ""


@dataclass(frozen=True)
class SceneStore:
    """S scenes with K tracks of R rows in all; the arrays are memory-mapped, so that workers share them.

    On disk, a store is a folder with one `.npy` per array, `lanes.safetensors`, `manifest.parquet` (a row for each
    scene: MANIFEST_COLUMNS, and columns for checks, strata and queries) and `metadata.json` (timing and maps). A store
    without a future, as for a benchmark's test scenes, has only the observed steps in all its arrays.

    Attributes:
        timing: timing of every scene.
        maps: CITY_MAPS if scenes share the lanes of their city's map; LOCAL_MAPS if each scene has its own lanes, which
            `lanes` contains in the order of the scenes.
        manifest: table with S rows.
        lanes: all lane segments of the map crops, metres, city frame, memory-mapped.
        xy, step: (R, 2) float32 and (R,) uint8, see `Scene`.
        track_offsets: (K + 1,) int64, first row of each track.
        track_types: (K,) uint8, see `Scene`.
        scene_tracks: (S + 1,) int64, first track of each scene.
        times: (S, steps) float32, seconds since the first row of each scene.
        lane_offsets, lane_rows: (S + 1,) int64 and (N,) int32; scene s has the rows
            `lane_rows[lane_offsets[s]:lane_offsets[s + 1]]` of `lanes` in its map crop.
    """

    timing: Timing
    maps: str
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
        """(S,) name of each scene's map."""
        cities: list[str] = self.manifest["city"].to_pylist()
        return cities

    @cached_property
    def origins(self) -> npt.NDArray[np.float64]:
        """(S, 2) float64, AGENT's position at the last observed step, metres, city frame."""
        return np.stack([floats(self.manifest, name) for name in ("origin_x", "origin_y")], axis=1)

    @property
    def steps(self) -> int:
        """Number of steps in each scene, without the future if the store has none."""
        return int(self.times.shape[1])

    def require_future(self, where: Path | str) -> None:
        """Raise InputError, naming `where`, if the scenes have no future to train on or to score against."""
        if self.steps != self.timing.steps:
            found, expected = (
                f"scenes of {self.steps} steps, which have no future",
                f"scenes of {self.timing.steps} steps",
            )
            raise InputError(where, found, expected, "These scenes can only be forecast.")

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
        """Open a store and memory-map its arrays.

        Args:
            check: whether to read all offsets and lane rows and check that they are consistent.

        Raises:
            InputError: a file is missing, truncated or inconsistent with the others.
        """
        directory = Path(directory)
        arrays = {
            name: open_array(directory / f"{name}.npy", dtype, (None, *element))
            for name, (dtype, element) in STORE_ARRAYS.items()
        }
        manifest = read_table(directory / "manifest.parquet", MANIFEST_COLUMNS)
        timing, maps = _read_metadata(directory / METADATA)
        lanes = LaneSegments.open(directory / LANES)
        store = cls(timing=timing, maps=maps, manifest=manifest, lanes=lanes, **arrays)
        if check:
            store.validate(directory)
        return store

    def gather(self, indices: npt.NDArray[np.integer[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return the concatenated arrays of scenes `indices` (B,), as arguments of `SceneStoreWriter.append_many`."""
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
        """Raise InputError, naming `where` and the array, if sizes or offsets are inconsistent."""
        for name in ("scene_tracks", "track_offsets", "lane_offsets"):
            if not rises_from_zero(getattr(self, name)):
                raise InputError(f"{where}: {name}", "inconsistent offsets", "offsets that rise from 0")
        whole, observed = self.timing.steps, self.timing.history_steps
        if self.steps not in (whole, observed):
            raise InputError(f"{where}: times", f"{self.steps} steps", f"{whole}, or {observed} without a future")
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


def _read_metadata(path: Path) -> tuple[Timing, str]:
    """Read the timing and the kind of maps of a store; raises InputError naming the file and the key."""
    found = read_json(path)
    if not isinstance(found, dict) or set(found) != {"timing", "maps"}:
        raise InputError(
            path, repr(found)[:100], "timing and maps of a scene store", "The store is damaged: make it again."
        )
    if found["maps"] not in (CITY_MAPS, LOCAL_MAPS):
        raise InputError(f"{path}: maps", repr(found["maps"])[:100], f"{CITY_MAPS} or {LOCAL_MAPS}")
    return read_timing(found["timing"], f"{path}: timing"), found["maps"]


def follows_lanes(manifest: pa.Table) -> npt.NDArray[np.bool_]:
    """Return (S,) bool, True where AGENT's type keeps to lanes; all True if the manifest gives no types."""
    if AGENT_TYPE not in manifest.column_names:
        return np.ones(manifest.num_rows, dtype=np.bool_)
    return np.array([kind in LANE_TYPES for kind in manifest[AGENT_TYPE].to_pylist()], dtype=np.bool_)
