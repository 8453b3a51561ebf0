"""The augment stage: sample routes on every map, draw a transform for each, and warp the lanes around the route."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from synthdrive.augmentation.augmented_scenes import (
    AUGMENTED,
    KEPT,
    ORIGINAL,
    AugmentedScene,
    AugmentedScenes,
    join_scenes,
)
from synthdrive.augmentation.corridor import (
    CENTRELINE_SPACING,
    corridor_rows,
    joined_centreline,
    resample,
    warp_centreline,
    warp_segments,
)
from synthdrive.augmentation.routes import Route, RouteSampling, sample_routes
from synthdrive.augmentation.transforms import SHAPES, Transform, TransformShape, make_transform
from synthdrive.config.synthetic_data import AugmentParameters, TransformParameters
from synthdrive.core.geometry import arc_length
from synthdrive.core.parallel import ordered_map, track
from synthdrive.core.seeding import generator
from synthdrive.scenes.lane_map import LaneMap

Floats = npt.NDArray[np.float64]

CURVATURE_SPACING = 0.5  # m between the points at which the curvature of a centreline is measured
MAX_RADIUS = 1e6  # m; the manifest gives a larger radius as this one
CHUNK = 16  # routes per task


@dataclass(frozen=True)
class _Task:
    """Routes of one city for one worker."""

    lane_map: LaneMap
    routes: list[Route]
    parameters: AugmentParameters
    half_width: float


def augment_maps(
    maps: Mapping[str, LaneMap], parameters: AugmentParameters, half_width: float, executor: Executor
) -> AugmentedScenes:
    """Make the augmented (and original) scenes of every map; the result does not depend on the executor.

    Args:
        maps: lane map of each city.
        half_width: half the side of a scene's map crop, metres; the corridor is made wide enough for it.
    """
    rows: list[dict[str, Any]] = []
    scenes: list[AugmentedScene | None] = []
    tasks = list(_tasks(maps, parameters, half_width))
    done = ordered_map(executor, _augment, tasks)
    for part_rows, part_scenes in track(done, "augment", len(tasks), "tasks"):
        rows.extend(part_rows)
        scenes.extend(part_scenes)
    return join_scenes(rows, scenes, maps, half_width)


def describe(scenes: AugmentedScenes) -> str:
    """Return one line: the number of scenes kept, dropped for each reason, and not bent by their transform."""
    status = Counter(scenes.manifest["status"].to_pylist())
    kept = status.pop(KEPT, 0)
    source = Counter(scenes.manifest["source"].to_pylist())
    dropped = "".join(f"; {count} {reason}" for reason, count in sorted(status.items()))
    unbent = len(scenes.unbent())
    shifted = f"; {unbent} augmented routes keep their shape" if unbent else ""
    if unbent and not any(scenes.manifest["axis"].to_pylist()):
        shifted += " (see augment.transforms.axis)"
    return f"{kept} scenes kept of {source[ORIGINAL]} original and {source[AUGMENTED]} augmented ones{dropped}{shifted}"


def draw_transform(
    parameters: TransformParameters, points: Floats, random: np.random.Generator
) -> tuple[str, float, int, Transform]:
    """Draw a kind, an amplitude and a direction (+1 or -1); return them with the transform they define.

    Args:
        points: (N, 2) metres, city frame, the route's centreline; the transform counts from its first place along the
            axis.
    """
    kind = str(random.choice(parameters.kinds))
    amplitude = float(random.choice(parameters.amplitudes))
    direction = int(random.choice([1, -1]))
    axis = 0.0
    if parameters.axis == "route":
        reached = points - points[0]  # the farthest point, since a route may return to its start
        axis = round(float(np.arctan2(*reached[np.argmax(np.hypot(*reached.T))][::-1])), 6)
    anchor = round(float(Transform(axis=axis).along(points).min()), 3)
    return kind, amplitude, direction, make_transform(kind, direction * amplitude, anchor, shape_of(parameters), axis)


def shape_of(parameters: TransformParameters) -> TransformShape:
    """Return the constants of the family named by `parameters.shape`; for `custom`, those given in the parameters."""
    if parameters.shape == "custom":
        return TransformShape(parameters.power, parameters.border, parameters.shift, parameters.wavelength)
    return SHAPES[parameters.shape]


def tightest_radius(points: Floats, smoothing: float) -> float:
    """Return the radius, metres, of the tightest bend of a smoothed polyline; at most 1e9, for a straight one.

    Args:
        points: (N, 2) metres.
        smoothing: standard deviation of the Gaussian that smooths it, metres; 0 for none.
    """
    dense = resample(points, CURVATURE_SPACING)
    if smoothing > 0:
        dense = gaussian_filter1d(dense, smoothing / CURVATURE_SPACING, axis=0, mode="nearest")
    first = np.gradient(dense, axis=0)
    second = np.gradient(first, axis=0)
    speed = np.maximum(np.hypot(first[:, 0], first[:, 1]), 1e-6)
    curvature = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / speed**3
    inner = curvature[8:-8] if len(curvature) > 32 else curvature
    return float(1.0 / max(float(inner.max()), 1e-9))


def _tasks(maps: Mapping[str, LaneMap], parameters: AugmentParameters, half_width: float) -> Iterator[_Task]:
    routes = parameters.routes
    sampling = RouteSampling(
        count=routes.per_city,
        length=routes.length,
        min_length=routes.min_length,
        min_fresh=routes.min_fresh,
        lead_out=routes.lead_out,
        max_joint_angle=float(np.radians(routes.max_joint_angle)),
    )
    for city, lane_map in maps.items():
        sampled = sample_routes(lane_map, sampling, generator(parameters.seed, "routes", city))
        for start in range(0, len(sampled), CHUNK):
            yield _Task(lane_map, sampled[start : start + CHUNK], parameters, half_width)


def _augment(task: _Task) -> tuple[list[dict[str, Any]], list[AugmentedScene | None]]:
    rows, scenes = [], []
    for route in task.routes:
        points, position = joined_centreline(task.lane_map.segments, route.lanes)
        for number in range(0 if task.parameters.originals else 1, task.parameters.per_route + 1):
            row, scene = _make_scene(task, route, points, position, number)
            rows.append(row)
            scenes.append(scene)
    return rows, scenes


def _make_scene(
    task: _Task, route: Route, points: Floats, position: npt.NDArray[np.int64], number: int
) -> tuple[dict[str, Any], AugmentedScene | None]:
    """Return the manifest row of scene `number` of a route (0: the original), and the scene unless it is dropped."""
    parameters, lane_map = task.parameters, task.lane_map
    city = lane_map.city
    name = f"{city}_{route.index}" if number < 2 else f"{city}_{route.index}_{number}"
    kind, amplitude, direction, transform = "none", 0.0, 0, Transform()
    if number > 0:
        random = generator(parameters.seed, "transform", city, route.index, number)
        kind, amplitude, direction, transform = draw_transform(parameters.transforms, points, random)
    spacing = parameters.densify if number > 0 else CENTRELINE_SPACING
    dense, interval = warp_centreline(points, transform, spacing)
    # The joint of two lanes is stored as the end of the first, so a step is in the lane of the point at its end.
    fresh = route.fresh[position[interval + 1]]
    steps = np.diff(arc_length(dense))
    radius = tightest_radius(dense, parameters.radius_smoothing)
    displacements = transform.displacement(transform.along(transform.unwarp(dense)) - transform.anchor)
    row = {
        "scene_id": name if number == 0 else f"augmap_{name}",
        "city": city,
        "route": route.index,
        "source": ORIGINAL if number == 0 else AUGMENTED,
        "transform": kind,
        "amplitude": amplitude,
        "direction": direction,
        **_constants(transform),
        "length": round(float(steps.sum()), 3),
        "fresh_length": round(float(steps[fresh[:-1]].sum()), 3),
        "min_radius": round(min(radius, MAX_RADIUS), 3),
        "bend": round(float(np.ptp(displacements)), 3),
        "n_lanes": 0,
        "status": KEPT,
    }
    if radius < parameters.min_radius:
        return {**row, "status": f"dropped: a bend tighter than {parameters.min_radius:g} m"}, None
    corridor = corridor_rows(lane_map, transform, dense, task.half_width + parameters.corridor_margin)
    row["n_lanes"] = len(corridor)
    scene = AugmentedScene(
        scene_id=str(row["scene_id"]),
        city=city,
        route=route.index,
        source=str(row["source"]),
        transform_kind=kind,
        amplitude=amplitude,
        direction=direction,
        transform=transform,
        centreline=dense,
        fresh=fresh,
        route_lanes=route.lanes,
        corridor=corridor,
        lanes=warp_segments(lane_map.segments.take(corridor), transform, spacing) if number > 0 else None,
    )
    return row, scene


def _constants(transform: Transform) -> dict[str, float]:
    """Return the manifest columns that, with kind, amplitude and direction, define the transform."""
    shape = transform.shape
    return {
        "axis": transform.axis,
        "anchor": transform.anchor,
        "power": shape.power,
        "border": shape.border,
        "shift": shape.shift,
        "wavelength": shape.wavelength,
    }
