"""The synthesize stage: drive every augmented scene at each of its desired speeds and write one scene store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.augmentation.augmented_scenes import AugmentedScene, AugmentedScenes
from synthdrive.config.synthetic_data import SynthesizeParameters
from synthdrive.core.artifacts import write_json
from synthdrive.core.errors import InputError
from synthdrive.core.parallel import ordered_map, track
from synthdrive.core.timing import Timing
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import follows_lanes
from synthdrive.scenes.scene_store_writer import SceneStoreWriter
from synthdrive.synthesis.drive_scenes import SceneBlock, SceneTask, drive_scenes
from synthdrive.synthesis.windows import Exclusion

SLOWEST_DESIRED, FASTEST_DESIRED = 3.0, 30.0  # m/s; recorded desired speeds are clipped to this range
CHUNK = 8  # augmented scenes per task: about a hundred drives, enough to make NumPy's overhead small

MANIFEST_COLUMNS = {
    "scene_id": pa.string(),
    "city": pa.string(),
    "origin_x": pa.float64(),
    "origin_y": pa.float64(),
    "source": pa.string(),
    "scene": pa.string(),  # the augmented scene's id
    "route": pa.int64(),
    "window": pa.int64(),
    "start_time": pa.float64(),
    "desired_speed": pa.float64(),
    "transform": pa.string(),
    "amplitude": pa.float64(),
    "direction": pa.int64(),
    "anchor": pa.float64(),  # m, along the axis of the augmented scene's transform
    "min_speed": pa.float64(),
    "max_speed": pa.float64(),
    "mean_speed": pa.float64(),
    "min_acceleration": pa.float64(),
    "max_acceleration": pa.float64(),
    "max_lateral_acceleration": pa.float64(),
    "max_jerk": pa.float64(),
    "max_curvature": pa.float64(),
    "max_heading_step": pa.float64(),
    "max_step": pa.float64(),
    "max_lane_distance": pa.float64(),
    "heading_change": pa.float64(),
    "n_lanes": pa.int64(),
}


@dataclass
class Summary:
    """Counts of the windows of a run.

    Attributes:
        windows: number of windows by source.
        dropped: number of windows that broke each limit (one window may break several).
        excluded: number of windows by source that were left out because they are near an evaluated scene; the limits
            are applied only to the others.
        routes, routes_left: routes (city and number) that were driven, and those with at least one window left.
    """

    windows: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    excluded: Counter[str] = field(default_factory=Counter)
    routes: set[tuple[str, int]] = field(default_factory=set)
    routes_left: set[tuple[str, int]] = field(default_factory=set)

    def __str__(self) -> str:
        kept = ", ".join(f"{count} {source}" for source, count in sorted(self.windows.items())) or "no"
        broken = ", ".join(f"{count} {name}" for name, count in sorted(self.dropped.items()) if count)
        excluded = ", ".join(f"{count} {source}" for source, count in sorted(self.excluded.items()) if count)
        text = f"{kept} windows" + (f"; dropped for {broken}" if broken else "; none dropped")
        if excluded:
            gone = len(self.routes - self.routes_left)
            text += f"; left out near evaluated scenes: {excluded}; {gone} of {len(self.routes)} routes have no window"
        return text


def synthesize(
    maps: Mapping[str, LaneMap],
    scenes: AugmentedScenes,
    parameters: SynthesizeParameters,
    half_width: float,
    timing: Timing,
    executor: Executor,
    directory: Path,
    recorded_speeds: npt.NDArray[np.float64] | None = None,
    exclusion: Exclusion | None = None,
) -> Summary:
    """Drive all augmented scenes and write the windows as a scene store; the same bytes for every executor.

    Args:
        maps: lane map of each city from which the scenes were made.
        half_width: half the side of a window's map crop, metres.
        timing: number of steps of a window.
        directory: empty directory to write to (inside `artifacts.atomic_directory`).
        recorded_speeds: (S,) desired speeds to draw from, m/s, if `speed_source` is `recorded`.
        exclusion: places that no window may come near, if `exclusion_radius` is above 0.

    Raises:
        InputError: the scenes were made from other maps or for smaller map crops.
    """
    scenes.require(maps, half_width)
    kept = scenes.kept()
    tasks = _tasks(maps, scenes, kept, parameters, half_width, timing, recorded_speeds, exclusion)
    assembly = _Assembly(maps, directory, timing, exclusion is not None)
    done = ordered_map(executor, drive_scenes, tasks)
    total = -(-len(kept) // CHUNK)
    position = 0
    for blocks in track(done, "synthesize", total, "tasks"):
        for block in blocks:
            assembly.add(scenes[int(kept[position])], block)
            position += 1
    return assembly.close()


def recorded_desired_speeds(manifest: pa.Table, cruise_speed_factor: float) -> npt.NDArray[np.float64]:
    """Return desired speeds at which the driver reaches the recorded vehicles' top speeds on straights, (S,) m/s.

    Args:
        manifest: manifest of a store of recorded scenes, with `agent_max_speed`.
        cruise_speed_factor: fraction of the desired speed at which the driver drives on straights.

    Raises:
        InputError: the manifest has no agent_max_speed, or no focal agent is a vehicle.
    """
    if "agent_max_speed" not in manifest.column_names:
        raise InputError(
            "recorded scenes", f"columns {', '.join(manifest.column_names)}", "a column agent_max_speed",
            "synthesize.speed_source: recorded needs scenes with a future, as ingest writes them.",
        )  # fmt: skip
    speeds = manifest["agent_max_speed"].to_numpy()[follows_lanes(manifest)] / cruise_speed_factor
    if not len(speeds):
        raise InputError("recorded scenes", "no focal agent that is a vehicle", "at least one, for its top speed")
    drawn: npt.NDArray[np.float64] = np.round(np.clip(speeds, SLOWEST_DESIRED, FASTEST_DESIRED), 1)
    return drawn


def _tasks(
    maps: Mapping[str, LaneMap],
    scenes: AugmentedScenes,
    kept: npt.NDArray[np.int64],
    parameters: SynthesizeParameters,
    half_width: float,
    timing: Timing,
    recorded_speeds: npt.NDArray[np.float64] | None,
    exclusion: Exclusion | None,
) -> Iterator[SceneTask]:
    for start in range(0, len(kept), CHUNK):
        chosen = [scenes[int(index)] for index in kept[start : start + CHUNK]]
        lanes = [
            maps[scene.city].segments.take(scene.corridor) if scene.lanes is None else scene.lanes for scene in chosen
        ]
        yield SceneTask(chosen, lanes, parameters, half_width, timing, recorded_speeds, exclusion)


class _Assembly:
    """Joins the blocks of all scenes; stores the cities' lanes first, then the warped lanes that map crops use."""

    def __init__(self, maps: Mapping[str, LaneMap], directory: Path, timing: Timing, excludes: bool) -> None:
        self.directory, self.timing, self.excludes = directory, timing, excludes
        self.writer = SceneStoreWriter(directory, timing)
        self.summary = Summary()
        self.columns: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in MANIFEST_COLUMNS}
        self.first_row = {city: self.writer.append_lanes(lane_map.segments) for city, lane_map in maps.items()}

    def add(self, scene: AugmentedScene, block: SceneBlock) -> None:
        """Append the windows of one scene."""
        if scene.lanes is None:
            lane_rows = self.first_row[scene.city] + scene.corridor[block.lane_rows]
        else:
            used, local = np.unique(block.lane_rows, return_inverse=True)
            lane_rows = self.writer.append_lanes(scene.lanes.take(used)) + local
        size = len(block.tracks_per_window)
        self.writer.append_many(
            block.xy,
            block.step,
            block.track_lengths,
            block.track_types,
            block.tracks_per_window,
            np.tile(np.arange(self.timing.steps) * self.timing.step_seconds, (size, 1)).astype(np.float32),
            lane_rows.astype(np.int32),
            block.lanes_per_window,
        )
        for name in MANIFEST_COLUMNS:
            self.columns[name].append(block.columns[name])
        self.summary.windows[scene.source] += size
        self.summary.dropped.update(block.dropped)
        self.summary.excluded[scene.source] += block.excluded
        self.summary.routes.add((scene.city, scene.route))
        if size:
            self.summary.routes_left.add((scene.city, scene.route))

    def close(self) -> Summary:
        """Write the manifest and the summary."""
        manifest = pa.table(
            {
                name: pa.array(np.concatenate(self.columns[name]) if self.columns[name] else [], kind)
                for name, kind in MANIFEST_COLUMNS.items()
            }
        )
        self.writer.close(manifest)
        counts: dict[str, Any] = {"windows": dict(self.summary.windows), "dropped": dict(self.summary.dropped)}
        if self.excludes:
            routes = {"driven": len(self.summary.routes), "left": len(self.summary.routes_left)}
            counts |= {"excluded": dict(self.summary.excluded), "routes": routes}
        write_json(self.directory / "summary.json", counts)
        return self.summary
