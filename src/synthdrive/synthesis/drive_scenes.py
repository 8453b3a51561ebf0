"""One task of the synthesize stage: drive a few augmented scenes, cut the drives into windows, crop the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.augmentation.augmented_scenes import AUGMENTED, AugmentedScene
from synthdrive.augmentation.corridor import overlapping
from synthdrive.config.synthesize import SynthesizeParameters
from synthdrive.core.geometry import arc_length
from synthdrive.core.seeding import generator
from synthdrive.scenes.lane_segments import LaneSegments
from synthdrive.scenes.scene_store import AGENT, AV, LAST_OBSERVED, OTHERS, STEP_SECONDS, STEPS
from synthdrive.synthesis.background_agents import draw_bystanders
from synthdrive.synthesis.driver import MILLIMETRE, Drives, drive, start_state
from synthdrive.synthesis.exclusion import Exclusion
from synthdrive.synthesis.lane_changes import with_lane_changes
from synthdrive.synthesis.lane_distance import LaneDistance
from synthdrive.synthesis.path import Paths, plan_paths, stack_paths
from synthdrive.synthesis.realism import Pace, Stops, draw_pace, draw_stops, join_pace, join_stops, tracking_noise
from synthdrive.synthesis.traffic import NO_LEADER, Following, Platoon, make_platoon
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
        recorded_speeds: desired speeds to draw from, m/s; None takes the parameters' lists.
        exclusion: places that windows keep away from; None where they need not.
    """

    scenes: list[AugmentedScene]
    lanes: list[LaneSegments]
    parameters: SynthesizeParameters
    half_width: float
    recorded_speeds: Floats | None = None
    exclusion: Exclusion | None = None


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
        excluded: windows left out for where they are; no other count knows of them.
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
    """What is to be driven on one scene: V drives of AGENT, with the vehicles around it."""

    desired: Floats
    paths: Paths
    platoon: Platoon

    def vehicle_paths(self) -> Paths:
        """The paths, one for each vehicle."""
        rows, paths = self.platoon.drive, self.paths
        return Paths(paths.points[rows], paths.curvature[rows], paths.foreseen[rows], paths.lengths[rows])


def drive_scenes(task: SceneTask) -> list[SceneBlock]:
    """The windows of every scene of a task."""
    parameters = task.parameters
    plans = [_plan(scene, task) for scene in task.scenes]
    paths = stack_paths([plan.vehicle_paths() for plan in plans])
    desired = np.concatenate([plan.platoon.desired_speeds for plan in plans])
    start = start_state(paths, np.concatenate([plan.platoon.place for plan in plans]), desired, parameters.driver)
    following, stops, pace = _following(plans, parameters), _stops(plans, task), _pace(plans, task)
    drives = drive(paths, desired, parameters.driver, start, following, stops, pace)
    blocks, first = [], 0
    for scene, lanes, plan in zip(task.scenes, task.lanes, plans, strict=True):
        rows = slice(first, first + len(plan.platoon.drive))
        part = Drives(drives.xy[rows], drives.along[rows], drives.speed[rows], drives.steps[rows])
        blocks.append(_windows_of(scene, lanes, plan, part, task))
        first = rows.stop
    return blocks


def _plan(scene: AugmentedScene, task: SceneTask) -> _Plan:
    parameters = task.parameters
    desired = _desired_speeds(scene, task)
    centreline = scene.centreline
    if parameters.lane_changes.spacing > 0:
        random = generator(parameters.seed, "lane changes", scene.scene_id)
        neighbours = scene.neighbours.astype(np.float64)
        centreline = with_lane_changes(centreline, neighbours, parameters.lane_changes, random)
    random = generator(parameters.seed, "traffic", scene.scene_id)
    platoon = make_platoon(desired, parameters.traffic, random)
    return _Plan(desired, plan_paths(centreline, desired, parameters.driver), platoon)


def _following(plans: list[_Plan], parameters: SynthesizeParameters) -> Following | None:
    if parameters.traffic.vehicles == 0:
        return None
    leaders, first = [], 0
    for plan in plans:
        own = plan.platoon.leaders
        leaders.append(np.where(own == NO_LEADER, NO_LEADER, own + first))
        first += len(own)
    return Following(np.concatenate(leaders), parameters.traffic)


def _stops(plans: list[_Plan], task: SceneTask) -> Stops | None:
    """The vehicles of a drive stop at the same lines, one after the other."""
    parameters = task.parameters
    if parameters.stops.spacing == 0:
        return None
    parts = []
    for scene, plan in zip(task.scenes, plans, strict=True):
        random = generator(parameters.seed, "stops", scene.scene_id)
        drawn = draw_stops(plan.paths.lengths, parameters.stops, random)
        rows = plan.platoon.drive
        parts.append(Stops(drawn.lines[rows], drawn.waits[rows], drawn.braking))
    return join_stops(parts)


def _pace(plans: list[_Plan], task: SceneTask) -> Pace | None:
    parameters = task.parameters
    if parameters.pace.stretch == 0:
        return None
    drawn = []
    for scene, plan in zip(task.scenes, plans, strict=True):
        random = generator(parameters.seed, "pace", scene.scene_id)
        drawn.append(draw_pace(len(plan.platoon.drive), parameters.pace, random))
    return join_pace(drawn)


def _desired_speeds(scene: AugmentedScene, task: SceneTask) -> Floats:
    """(V,) m/s, rising: all of the list, or `speeds_per_scene` drawn for this scene from the list or the recorded."""
    parameters = task.parameters
    augmented = scene.source == AUGMENTED
    speeds = np.array(parameters.desired_speeds_augmented if augmented else parameters.desired_speeds)
    random = generator(parameters.seed, "desired speeds", scene.scene_id)
    if task.recorded_speeds is not None:
        # Equal draws are one drive: a window's name holds its desired speed.
        return np.unique(random.choice(task.recorded_speeds, parameters.speeds_per_scene))
    if 0 < parameters.speeds_per_scene < len(speeds):
        speeds = random.choice(speeds, parameters.speeds_per_scene, replace=False)
    return np.sort(speeds)


def _windows_of(scene: AugmentedScene, lanes: LaneSegments, plan: _Plan, drives: Drives, task: SceneTask) -> SceneBlock:
    parameters, platoon = task.parameters, plan.platoon
    agent = platoon.agent
    fresh = _fresh(scene, plan.paths, drives.along[agent])
    if not parameters.windows.only_fresh:
        fresh = np.ones_like(fresh)
    windows = cut_windows(drives.steps[agent], parameters.windows.stride, fresh)
    distance = LaneDistance(lanes)(drives.xy[agent, : max(int(drives.steps.max(initial=0)), 1)])
    xy = drives.xy[agent[windows.drive][:, None], windows.steps]  # [W, 50, 2]
    excluded = 0
    if task.exclusion is not None:
        near = task.exclusion.near(scene.city, xy, scene.transform)
        windows, xy, excluded = windows.take(~near), xy[~near], int(near.sum())
    columns = describe_windows(xy, distance[windows.drive[:, None], windows.steps])
    kept, dropped = within_limits(columns, parameters.limits)
    windows = windows.take(kept)
    columns = {name: values[kept] for name, values in columns.items()}
    xy, valid = _tracks(windows, platoon, drives)  # [W, M, 50, 2], [W, M, 50]
    types = np.where(np.arange(xy.shape[1]) == 0, AGENT, OTHERS)
    if parameters.bystanders.count > 0:
        random = generator(parameters.seed, "bystanders", scene.scene_id)
        near = overlapping(lanes.bounding_boxes(), xy[:, 0, LAST_OBSERVED], task.half_width)
        others = draw_bystanders(lanes, near, xy[:, 0], parameters.bystanders, random)
        xy, valid = np.concatenate([xy, others.xy], axis=1), np.concatenate([valid, others.valid], axis=1)
        types = np.append(types, [AV, *[OTHERS] * (others.xy.shape[1] - 1)])
    if parameters.noise.deviation > 0:
        random = generator(parameters.seed, "noise", scene.scene_id)
        noise = tracking_noise(xy.reshape(-1, STEPS, 2), parameters.noise, random)
        xy = np.round(xy + noise.reshape(xy.shape), MILLIMETRE)
    origins = xy[:, 0, LAST_OBSERVED]
    inside = overlapping(lanes.bounding_boxes(), origins, task.half_width)
    columns |= _identity(scene, plan.desired, windows, origins, inside.sum(axis=1), task)
    lengths = valid.sum(axis=2)  # [W, M]
    types = np.broadcast_to(types, lengths.shape)
    return SceneBlock(
        columns=columns,
        xy=(xy - origins[:, None, None])[valid].astype(np.float32),
        step=np.broadcast_to(np.arange(STEPS, dtype=np.uint8), valid.shape)[valid],
        track_lengths=lengths[lengths > 0],
        track_types=types[lengths > 0].astype(np.uint8),
        tracks_per_window=(lengths > 0).sum(axis=1),
        lane_rows=np.nonzero(inside)[1].astype(np.int64),
        lanes_per_window=inside.sum(axis=1).astype(np.int64),
        dropped=dropped,
        excluded=excluded,
    )


def _tracks(windows: Windows, platoon: Platoon, drives: Drives) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(W, M, 50, 2) positions and (W, M, 50) validity of all vehicles of the windows' drives, AGENT first."""
    vehicles = np.arange(len(platoon.drive)).reshape(len(platoon.agent), -1)  # [V, M]
    # A stable sort by "is not AGENT" puts AGENT first and leaves the others front to back.
    order = np.argsort(vehicles != platoon.agent[:, None], axis=1, kind="stable")
    rows = np.take_along_axis(vehicles, order, axis=1)[windows.drive]  # [W, M]
    steps = windows.steps[:, None]  # [W, 1, 50]
    return drives.xy[rows[..., None], steps], steps < drives.steps[rows][..., None]


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
