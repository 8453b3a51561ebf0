"""One task of the synthesize stage: drive a few augmented scenes, cut the drives into windows and crop the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from synthdrive.augmentation.augmented_scenes import AUGMENTED, AugmentedScene
from synthdrive.augmentation.corridor import overlapping
from synthdrive.config.synthetic_data import SynthesizeParameters
from synthdrive.core.errors import ParameterError
from synthdrive.core.geometry import arc_length, distance_to_pieces
from synthdrive.core.seeding import generator
from synthdrive.core.timing import STEP_SECONDS, Timing
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import AGENT, AV, OTHERS
from synthdrive.synthesis.background_agents import draw_background_agents
from synthdrive.synthesis.driver import MILLIMETRE, Drives, Paths, drive, plan_paths, stack_paths
from synthdrive.synthesis.realism import (
    SpeedVariation,
    Stops,
    draw_speed_variation,
    draw_stops,
    join_speed_variation,
    join_stops,
    tracking_noise,
)
from synthdrive.synthesis.windows import Exclusion, Windows, cut_windows, describe_windows, within_limits

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SceneTask:
    """Augmented scenes for one worker.

    Attributes:
        scenes: scenes to drive.
        lanes: lanes of each scene's corridor, warped if the scene is augmented.
        parameters: section `synthesize`.
        half_width: half the side of the map crop, metres.
        timing: number of steps of a window.
        recorded_speeds: (S,) desired speeds to draw from, m/s; None uses the lists in the parameters.
        exclusion: places that no window may come near; None if there are none.
    """

    scenes: list[AugmentedScene]
    lanes: list[LaneSegments]
    parameters: SynthesizeParameters
    half_width: float
    timing: Timing
    recorded_speeds: Floats | None = None
    exclusion: Exclusion | None = None


@dataclass(frozen=True)
class SceneBlock:
    """The W windows of one augmented scene, ready for the store.

    Attributes:
        columns: manifest columns, (W,) each.
        xy: (R, 2) float32, metres, rows of all tracks, relative to the origin of their window.
        step: (R,) uint8, step of each row in its window.
        track_lengths, track_types: (K,) number of rows, and type, of each track.
        tracks_per_window: (W,) number of tracks.
        lane_rows, lanes_per_window: rows of the corridor's lanes in the windows' map crops, and their number (W,).
        dropped: number of windows that broke each limit.
        excluded: number of windows near excluded places; the limits are not applied to these.
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
    excluded: int


@dataclass(frozen=True)
class _Plan:
    """V desired speeds for one scene, m/s, and a path for each."""

    desired: Floats
    paths: Paths


def drive_scenes(task: SceneTask) -> list[SceneBlock]:
    """Drive every scene of a task and return its windows."""
    parameters = task.parameters
    plans = [_plan(scene, task) for scene in task.scenes]
    paths = stack_paths([plan.paths for plan in plans])
    desired = np.concatenate([plan.desired for plan in plans])
    drives = drive(
        paths, desired, parameters.driver, stops=_stops(plans, task), speed_variation=_speed_variation(plans, task)
    )
    blocks, first = [], 0
    for scene, lanes, plan in zip(task.scenes, task.lanes, plans, strict=True):
        rows = slice(first, first + len(plan.desired))
        part = Drives(drives.xy[rows], drives.along[rows], drives.speed[rows], drives.steps[rows])
        blocks.append(_windows_of(scene, lanes, plan, part, task))
        first = rows.stop
    return blocks


def _plan(scene: AugmentedScene, task: SceneTask) -> _Plan:
    desired = _desired_speeds(scene, task)
    return _Plan(desired, plan_paths(scene.centreline, desired, task.parameters.driver))


def _stops(plans: list[_Plan], task: SceneTask) -> Stops | None:
    parameters = task.parameters
    if parameters.stops.spacing == 0:
        return None
    parts = []
    for scene, plan in zip(task.scenes, plans, strict=True):
        random = generator(parameters.seed, "stops", scene.scene_id)
        parts.append(draw_stops(plan.paths.lengths, parameters.stops, random))
    return join_stops(parts)


def _speed_variation(plans: list[_Plan], task: SceneTask) -> SpeedVariation | None:
    parameters = task.parameters
    if parameters.speed_variation.interval == 0:
        return None
    drawn = []
    for scene, plan in zip(task.scenes, plans, strict=True):
        random = generator(parameters.seed, "pace", scene.scene_id)
        drawn.append(draw_speed_variation(len(plan.desired), parameters.speed_variation, random))
    return join_speed_variation(drawn)


def _desired_speeds(scene: AugmentedScene, task: SceneTask) -> Floats:
    """Return (V,) rising desired speeds, m/s: the whole list, or draws from it or from the recorded speeds."""
    parameters = task.parameters
    augmented = scene.source == AUGMENTED
    speeds = np.array(parameters.desired_speeds_augmented if augmented else parameters.desired_speeds)
    random = generator(parameters.seed, "desired speeds", scene.scene_id)
    if task.recorded_speeds is not None:
        # Equal speeds would give windows with equal names, because the name contains the desired speed.
        return np.unique(random.choice(task.recorded_speeds, parameters.speeds_per_scene))
    if not len(speeds):
        name = "desired_speeds_augmented" if augmented else "desired_speeds"
        raise ParameterError(f"synthesize.{name}", "no speed", f"at least one, for the {scene.source} scenes")
    if 0 < parameters.speeds_per_scene < len(speeds):
        speeds = random.choice(speeds, parameters.speeds_per_scene, replace=False)
    return np.sort(speeds)


def _windows_of(scene: AugmentedScene, lanes: LaneSegments, plan: _Plan, drives: Drives, task: SceneTask) -> SceneBlock:
    parameters, timing = task.parameters, task.timing
    fresh = _fresh(scene, plan.paths, drives.along)
    if not parameters.windows.only_fresh:
        fresh = np.ones_like(fresh)
    windows = cut_windows(drives.steps, parameters.windows.stride, fresh, timing.steps)
    distance = LaneDistance(lanes)(drives.xy[:, : max(int(drives.steps.max(initial=0)), 1)])
    xy = drives.xy[windows.drive[:, None], windows.steps]  # [W, T, 2]
    excluded = 0
    if task.exclusion is not None:
        near = task.exclusion.near(scene.city, xy, scene.transform)
        windows, xy, excluded = windows.take(~near), xy[~near], int(near.sum())
    columns = describe_windows(xy, distance[windows.drive[:, None], windows.steps])
    kept, dropped = within_limits(columns, parameters.limits)
    windows = windows.take(kept)
    columns = {name: values[kept] for name, values in columns.items()}
    xy = xy[kept][:, None]  # [W, M, T, 2], AGENT first
    valid = np.ones(xy.shape[:3], dtype=bool)
    types = np.array([AGENT])
    if parameters.background_agents.count > 0:
        random = generator(parameters.seed, "bystanders", scene.scene_id)
        near = overlapping(lanes.bounding_boxes(), xy[:, 0, timing.last_observed], task.half_width)
        others = draw_background_agents(lanes, near, xy[:, 0], parameters.background_agents, random)
        xy, valid = np.concatenate([xy, others.xy], axis=1), np.concatenate([valid, others.valid], axis=1)
        types = np.append(types, [AV, *[OTHERS] * (others.xy.shape[1] - 1)])
    if parameters.noise.std > 0:
        random = generator(parameters.seed, "noise", scene.scene_id)
        noise = tracking_noise(xy.reshape(-1, timing.steps, 2), parameters.noise, random)
        xy = np.round(xy + noise.reshape(xy.shape), MILLIMETRE)
    origins = xy[:, 0, timing.last_observed]
    inside = overlapping(lanes.bounding_boxes(), origins, task.half_width)
    columns |= _identity(scene, plan.desired, windows, origins, inside.sum(axis=1), task)
    lengths = valid.sum(axis=2)  # [W, M]
    types = np.broadcast_to(types, lengths.shape)
    return SceneBlock(
        columns=columns,
        xy=(xy - origins[:, None, None])[valid].astype(np.float32),
        step=np.broadcast_to(np.arange(timing.steps, dtype=np.uint8), valid.shape)[valid],
        track_lengths=lengths[lengths > 0],
        track_types=types[lengths > 0].astype(np.uint8),
        tracks_per_window=(lengths > 0).sum(axis=1),
        lane_rows=np.nonzero(inside)[1].astype(np.int64),
        lanes_per_window=inside.sum(axis=1).astype(np.int64),
        dropped=dropped,
        excluded=excluded,
    )


def _fresh(scene: AugmentedScene, paths: Paths, along: Floats) -> npt.NDArray[np.bool_]:
    """Return (V, T) bool: is the road at `along` (V, T) metres of the paths driven for the first time?"""
    route = arc_length(scene.centreline)
    # Scaled, because smoothing the bends changes the length of a path.
    distance = np.clip(along / paths.lengths[:, None], 0.0, 1.0) * route[-1]
    index = np.searchsorted(route, distance.ravel(), side="right") - 1
    fresh: npt.NDArray[np.bool_] = scene.fresh[np.clip(index, 0, len(route) - 1)]
    return fresh.reshape(along.shape)


def _identity(
    scene: AugmentedScene, desired: Floats, windows: Windows, origins: Floats, n_lanes: Integers, task: SceneTask
) -> dict[str, npt.NDArray[Any]]:
    """Return the manifest columns that identify the windows."""
    size = len(windows)
    name = scene.scene_id.removeprefix("augmap_")
    prefix = "augmap_" if scene.source == AUGMENTED else ""
    stride = task.parameters.windows.stride
    ids = [
        f"{prefix}dv{desired[row]:g}{name}_id_{number}_tr_{task.timing.seconds:.1f}_ti_{stride:.1f}"
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


_SAMPLE = 1.0  # m between the sampled points of a lane


class LaneDistance:
    """Distances to the centrelines of a set of lanes.

    The distance is measured to the centreline steps of the two nearest sampled points. It is never below the true
    distance; within a lane's width it exceeds it by one or two centimetres at most.
    """

    def __init__(self, segments: LaneSegments) -> None:
        lane, step = np.nonzero(segments.valid[:, 1:])
        first, second = segments.points[lane, step], segments.points[lane, step + 1]
        length = np.hypot(*(second - first).T)
        pieces = np.maximum(1, np.ceil(length / _SAMPLE)).astype(np.int64)
        owner = np.repeat(np.arange(len(first)), pieces)
        start = np.cumsum(pieces) - pieces
        # Samples lie in the middle of equal pieces, so that no two steps share a sample.
        fraction = (np.arange(len(owner)) - start[owner] + 0.5) / pieces[owner]
        self._owner = owner
        self._first, self._step = first, second - first
        self._tree = cKDTree(first[owner] + fraction[:, None] * self._step[owner])

    def __call__(self, positions: Floats) -> Floats:
        """Return the distance from positions (..., 2) to the nearest centreline, (...) metres."""
        flat = positions.reshape(-1, 2)
        _, nearest = self._tree.query(flat, k=2)
        distance = np.full(len(flat), np.inf)
        for column in nearest.T:
            owner = self._owner[np.minimum(column, len(self._owner) - 1)]
            distance = np.minimum(distance, distance_to_pieces(flat - self._first[owner], self._step[owner]))
        return distance.reshape(positions.shape[:-1])
