"""One task of the synthesize stage: drive a few augmented scenes, cut the drives into windows, crop the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.augmentation.augmented_scenes import AUGMENTED, AugmentedScene
from synthdrive.augmentation.centrelines import arc_length
from synthdrive.augmentation.corridor import overlapping
from synthdrive.maps.lane_segments import LaneSegments
from synthdrive.parameters.synthesize import SynthesizeParameters
from synthdrive.scenes.scene_store import AGENT, LAST_OBSERVED, STEP_SECONDS, STEPS
from synthdrive.seeding import generator
from synthdrive.synthesis.driver import Drives, drive
from synthdrive.synthesis.lane_distance import LaneDistance
from synthdrive.synthesis.path import Paths, plan_paths, stack_paths
from synthdrive.synthesis.windows import Windows, cut_windows, describe_windows, within_limits

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SceneTask:
    """Augmented scenes for one worker.

    Attributes:
        scenes: what to drive.
        lanes: for each scene, the lanes of its corridor, warped where the scene is.
        parameters: of the stage.
        half_width: half the side of the map crop, metres.
    """

    scenes: list[AugmentedScene]
    lanes: list[LaneSegments]
    parameters: SynthesizeParameters
    half_width: float


@dataclass(frozen=True)
class SceneBlock:
    """The W windows of one augmented scene, ready for the store.

    Attributes:
        columns: manifest columns, (W,) each.
        xy: (R, 2) float32 rows of all tracks, relative to their window's origin.
        step: (R,) uint8.
        track_lengths, track_types: (K,).
        tracks_per_window: (W,).
        lane_rows, lanes_per_window: rows of the corridor's lanes in each window's crop, and how many.
        dropped: windows that broke each limit.
    """

    columns: dict[str, npt.NDArray[Any]]
    xy: npt.NDArray[np.float32]
    step: npt.NDArray[np.uint8]
    track_lengths: Integers
    track_types: npt.NDArray[np.uint8]
    tracks_per_window: Integers
    lane_rows: Integers
    lanes_per_window: Integers
    dropped: dict[str, int]


def drive_scenes(task: SceneTask) -> list[SceneBlock]:
    """The windows of every scene of a task."""
    parameters = task.parameters
    speeds = [_desired_speeds(scene, parameters) for scene in task.scenes]
    paths = [
        plan_paths(scene.centreline, wanted, parameters.driver)
        for scene, wanted in zip(task.scenes, speeds, strict=True)
    ]
    drives = drive(stack_paths(paths), np.concatenate(speeds), parameters.driver)
    blocks, first = [], 0
    for scene, lanes, wanted, path in zip(task.scenes, task.lanes, speeds, paths, strict=True):
        rows = slice(first, first + len(wanted))
        part = Drives(drives.xy[rows], drives.along[rows], drives.speed[rows], drives.steps[rows])
        blocks.append(_windows_of(scene, lanes, wanted, path, part, task))
        first = rows.stop
    return blocks


def _desired_speeds(scene: AugmentedScene, parameters: SynthesizeParameters) -> Floats:
    """(V,) m/s, rising: all of the list, or `speeds_per_scene` of them drawn for this scene."""
    augmented = scene.source == AUGMENTED
    speeds = np.array(parameters.desired_speeds_augmented if augmented else parameters.desired_speeds)
    if 0 < parameters.speeds_per_scene < len(speeds):
        random = generator(parameters.seed, "desired speeds", scene.scene_id)
        speeds = np.sort(random.choice(speeds, parameters.speeds_per_scene, replace=False))
    return speeds


def _windows_of(
    scene: AugmentedScene, lanes: LaneSegments, desired: Floats, paths: Paths, drives: Drives, task: SceneTask
) -> SceneBlock:
    fresh = _fresh(scene, paths, drives.along)
    if not task.parameters.windows.only_fresh:
        fresh = np.ones_like(fresh)
    windows = cut_windows(drives.steps, task.parameters.windows.stride, fresh)
    distance = LaneDistance(lanes)(drives.xy[:, : max(int(drives.steps.max(initial=0)), 1)])
    xy = drives.xy[windows.drive[:, None], windows.steps]  # [W, 50, 2]
    columns = describe_windows(xy, distance[windows.drive[:, None], windows.steps])
    kept, dropped = within_limits(columns, task.parameters.limits)
    windows, xy = windows.take(kept), xy[kept]
    columns = {name: values[kept] for name, values in columns.items()}
    origins = xy[:, LAST_OBSERVED]
    inside = overlapping(lanes.bounding_boxes(), origins, task.half_width)
    columns |= _identity(scene, desired, windows, origins, inside.sum(axis=1), task)
    size = len(windows)
    return SceneBlock(
        columns=columns,
        xy=(xy - origins[:, None]).reshape(-1, 2).astype(np.float32),
        step=np.tile(np.arange(STEPS, dtype=np.uint8), size),
        track_lengths=np.full(size, STEPS, dtype=np.int64),
        track_types=np.full(size, AGENT, dtype=np.uint8),
        tracks_per_window=np.ones(size, dtype=np.int64),
        lane_rows=np.nonzero(inside)[1].astype(np.int64),
        lanes_per_window=inside.sum(axis=1).astype(np.int64),
        dropped=dropped,
    )


def _fresh(scene: AugmentedScene, paths: Paths, along: Floats) -> npt.NDArray[np.bool_]:
    """(V, T) bool: is the road at these distances along the paths new? Paths are as long as the route but for bends."""
    route = arc_length(scene.centreline)
    share = np.clip(along / paths.lengths[:, None], 0.0, 1.0) * route[-1]
    index = np.searchsorted(route, share.ravel(), side="right") - 1
    fresh: npt.NDArray[np.bool_] = scene.fresh[np.clip(index, 0, len(route) - 1)]
    return fresh.reshape(along.shape)


def _identity(
    scene: AugmentedScene, desired: Floats, windows: Windows, origins: Floats, n_lanes: Integers, task: SceneTask
) -> dict[str, npt.NDArray[Any]]:
    """Manifest columns that say which windows these are."""
    size = len(windows)
    name = scene.scene_id.removeprefix("augmap_")
    prefix = "augmap_" if scene.source == AUGMENTED else ""
    stride = task.parameters.windows.stride
    ids = [
        f"{prefix}dv{desired[row]:g}{name}_id_{number}_tr_{STEPS * STEP_SECONDS:.1f}_ti_{stride:.1f}"
        for row, number in zip(windows.drive.tolist(), windows.number.tolist(), strict=True)
    ]
    constant: dict[str, Any] = {
        "city": scene.city,
        "source": scene.source,
        "scene": scene.scene_id,
        "transform": scene.transform_kind,
    }
    numbers: dict[str, float] = {"amplitude": scene.amplitude, "anchor": scene.transform.anchor}
    return {
        "scene_id": np.array(ids, dtype=object),
        **{key: np.full(size, value, dtype=object) for key, value in constant.items()},
        **{key: np.full(size, value, dtype=np.float64) for key, value in numbers.items()},
        "direction": np.full(size, scene.direction, dtype=np.int64),
        "route": np.full(size, scene.route, dtype=np.int64),
        "window": windows.number,
        "start_time": np.round(windows.first * STEP_SECONDS, 6),
        "desired_speed": desired[windows.drive],
        "origin_x": origins[:, 0],
        "origin_y": origins[:, 1],
        "n_lanes": n_lanes.astype(np.int64),
    }
