"""The authors' released drives, compared with our driver on the same routes (docs/method.md 1.1 and 3).

The driver's parameters were fitted by this comparison; test_released_drives.py checks the agreement.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from map_matching import match_route

from synthdrive.augmentation.corridor import densify, joined_centreline, lane_points
from synthdrive.augmentation.routes import extend_route, lane_lengths, smooth_successors
from synthdrive.augmentation.transforms import SHAPES, Transform, make_transform
from synthdrive.config.synthetic_data import DriverParameters
from synthdrive.core.errors import InputError
from synthdrive.core.geometry import arc_length, distance_to_polyline
from synthdrive.core.timing import ARGOVERSE1, STEP_SECONDS
from synthdrive.scenes.lane_map import LaneMap, LaneSegments
from synthdrive.synthesis.drive_scenes import LaneDistance
from synthdrive.synthesis.driver import SPACING, drive, plan_paths, stack_paths

STEPS = ARGOVERSE1.steps  # steps of a released window

Floats = npt.NDArray[np.float64]

BEHIND, AHEAD = 60.0, 90.0  # m of road before and after a window that are included in the driver's path
MOST_CONTINUATIONS = 32
JOINT_ANGLE = 1.2  # rad; a lane that joins at a larger angle is not a continuation
SPEED_STEPS, ACCELERATION_STEPS = 4, 6  # first steps, for the state at the start; a single one is dominated by rounding
SIGNIFICANT_DIGITS = 6  # digits of a released coordinate

_WARP_COLUMNS = ("REF_xmin", "AUGMENT_TYPE", "AUGMENT_DIRECTION", "ATTACK_POWER_TYPE")
_DESIRED_SPEED = re.compile(r"dv(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class ReleasedDrive:
    """One released window.

    Attributes:
        city: name of its map.
        desired_speed: m/s, from the file's name.
        xy: (50, 2) metres, city frame, 6 significant digits.
        transform: the transform of its map; None for an original map.
    """

    city: str
    desired_speed: float
    xy: Floats
    transform: Transform | None

    @property
    def speed(self) -> Floats:
        """The (49,) speeds in m/s."""
        steps = np.diff(self.xy, axis=0)
        speed: Floats = np.hypot(steps[:, 0], steps[:, 1]) / STEP_SECONDS
        return speed


@dataclass(frozen=True)
class DrivenAgain:
    """A released window and our drive on the same route, with the same desired speed and initial state.

    If the road forks after the end of the window, the further route is unknown; the continuation whose speeds fit best
    is used.

    Attributes:
        released: the authors' window.
        lane_distance: (50,) metres from the released positions to the nearest (warped) centreline.
        lateral_error: (50,) metres from the released positions to our path.
        speed_error: root mean square difference of speed, m/s.
    """

    released: ReleasedDrive
    lane_distance: Floats
    lateral_error: Floats
    speed_error: float


def read_released(path: Path) -> ReleasedDrive:
    """Read a released CSV file; raises InputError if it is no released window."""
    match = _DESIRED_SPEED.search(path.stem)
    if match is None:
        raise InputError(path, "a name without dv<desired speed>", "[augmap_]dv{V}{CITY}_{index}_id_{k}_....csv")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if len(rows) != STEPS:
        raise InputError(path, f"{len(rows)} rows", f"{STEPS} rows")
    transform = None
    try:
        xy = np.array([[float(row["X"]), float(row["Y"])] for row in rows])
        if _WARP_COLUMNS[0] in rows[0]:
            anchor, kind, direction, amplitude = (float(rows[0][column]) for column in _WARP_COLUMNS)
            signed = amplitude if direction == 0 else -amplitude
            transform = make_transform({0: "smooth", 1: "double"}[int(kind)], signed, anchor, SHAPES["released"])
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(path, f"an unreadable value ({error})", "numbers, and 0 or 1 as AUGMENT_TYPE") from None
    return ReleasedDrive(rows[0]["CITY_NAME"], float(match[1]), xy, transform)


def drive_all_again(folder: Path, maps: Mapping[str, LaneMap], driver: DriverParameters) -> list[DrivenAgain]:
    """Apply `drive_again` to every CSV file of a folder whose city is among the maps, in the order of their names."""
    drives = [read_released(path) for path in sorted(Path(folder).glob("*.csv"))]
    return [drive_again(released, maps[released.city], driver) for released in drives if released.city in maps]


def drive_again(released: ReleasedDrive, lane_map: LaneMap, driver: DriverParameters) -> DrivenAgain:
    """Drive a released window's route with our driver, starting in the window's initial state."""
    segments = lane_map.segments
    if released.transform is not None:
        # Like the authors, warp only the given points of the map.
        segments = segments.with_points(released.transform.warp(segments.points))
    routes = _continuations(lane_map, segments, match_route(lane_map, released.xy, segments), released.xy[-1])
    desired = np.full(len(routes), released.desired_speed)
    parts = [plan_paths(joined_centreline(segments, route)[0], desired[:1], driver) for route in routes]
    paths = stack_paths(parts)
    seconds = STEP_SECONDS * np.arange(ACCELERATION_STEPS)
    speed = float(np.polyval(np.polyfit(seconds[:SPEED_STEPS] + STEP_SECONDS / 2, released.speed[:SPEED_STEPS], 1), 0))
    acceleration = float(np.polyfit(seconds, released.speed[:ACCELERATION_STEPS], 1)[0])
    start = np.array([[_along(points, released.xy[0]), speed, acceleration] for points in paths.points])
    driven = drive(paths, desired, driver, start).xy[:, :STEPS]
    speeds = np.hypot(*np.moveaxis(np.diff(driven, axis=1), -1, 0)) / STEP_SECONDS
    errors = np.sqrt(((speeds - released.speed) ** 2).mean(axis=1))
    best = int(np.argmin(errors))
    return DrivenAgain(
        released=released,
        lane_distance=LaneDistance(_near(segments, released.xy))(released.xy),
        lateral_error=distance_to_polyline(released.xy, paths.points[best]),
        speed_error=float(errors[best]),
    )


def round_as_released(xy: Floats) -> Floats:
    """Round coordinates to the 6 significant digits of the released files, to compare distributions of motion."""
    decimals = SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(np.maximum(np.abs(xy), 1e-9)))
    unit = 10.0 ** -np.maximum(decimals, 0)
    rounded: Floats = np.round(xy / unit) * unit
    return rounded


def _continuations(
    lane_map: LaneMap, segments: LaneSegments, route: npt.NDArray[np.int64], last: Floats
) -> list[npt.NDArray[np.int64]]:
    """Return the route, extended before its start, with each possible continuation for AHEAD metres beyond `last`."""
    lengths, successors = lane_lengths(lane_map), smooth_successors(lane_map, JOINT_ANGLE)
    end = densify(lane_points(segments, int(route[-1])), 1.0)
    left = arc_length(end)[-1] - arc_length(end)[int(np.argmin(np.hypot(*(end - last).T)))]
    base = [int(lane) for lane in extend_route(lane_map, route, BEHIND, 0.0)]
    found: list[npt.NDArray[np.int64]] = []
    waiting = [(base, float(left))]
    while waiting and len(found) < MOST_CONTINUATIONS:
        lanes, ahead = waiting.pop()
        onward = successors.of(lanes[-1])
        if ahead > AHEAD or not len(onward):
            found.append(np.array(lanes, dtype=np.int64))
            continue
        waiting.extend(([*lanes, int(lane)], ahead + float(lengths[lane])) for lane in onward)
    return found


def _along(points: Floats, position: Floats) -> float:
    """Return the distance in metres along an evenly spaced path (S, 2) to the point nearest to a position."""
    nearest = int(np.clip(np.argmin(np.hypot(*(points - position).T)), 1, len(points) - 2))
    tangent = points[nearest + 1] - points[nearest]
    return nearest * SPACING + float((position - points[nearest]) @ tangent / np.hypot(*tangent))


def _near(segments: LaneSegments, xy: Floats, reach: float = 60.0) -> LaneSegments:
    boxes = segments.bounding_boxes()
    low, high = xy.min(axis=0) - reach, xy.max(axis=0) + reach
    inside = (boxes[:, :2] <= high).all(axis=1) & (boxes[:, 2:] >= low).all(axis=1)
    return segments.take(np.flatnonzero(inside))
