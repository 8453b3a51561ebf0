"""Cut drives into windows, measure their motion, and choose the windows to keep (docs/method.md 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.signal import savgol_filter
from scipy.spatial import cKDTree

from synthdrive.augmentation.transforms import Transform
from synthdrive.config.synthetic_data import LimitParameters
from synthdrive.core.errors import InputError
from synthdrive.core.timing import STEP_SECONDS
from synthdrive.scenes.scene_store import AGENT, CITY_MAPS, SceneStore

Floats = npt.NDArray[np.float64]

MOVING = 1.0  # m/s; at lower speeds the heading of a step is meaningless
JERK_STEPS = 5  # jerk is a mean over 0.5 s, because rounding to 1 mm makes that of single steps noise
CURVATURE_STEPS = 3  # curvature is a mean over 0.3 s, for the same reason
QUANTILES = 513  # number of quantiles whose differences the Wasserstein distance averages


@dataclass(frozen=True)
class Motion:
    """Motion of W tracks of T steps at 10 Hz, computed from positions alone.

    Attributes:
        speed: (W, T - 1) m/s.
        acceleration: (W, T - 2) along the track, m/s2.
        lateral_acceleration: (W, T - 2) across the track, m/s2, positive to the left.
        jerk: (W, T - 2 - JERK_STEPS) change of acceleration over 0.5 s, m/s3.
        curvature: (W, T - 1 - CURVATURE_STEPS) 1/m, positive to the left; 0 where the track hardly moves.
        heading_step: (W, T - 2) change of heading in a step, radians; 0 where the track hardly moves.
        heading_change: (W,) sum of the heading steps, radians, positive to the left; may exceed a full turn.
    """

    speed: Floats
    acceleration: Floats
    lateral_acceleration: Floats
    jerk: Floats
    curvature: Floats
    heading_step: Floats
    heading_change: Floats


def motion_of(xy: Floats) -> Motion:
    """Compute the motion of tracks (W, T, 2), metres, 10 Hz."""
    steps = np.diff(xy, axis=1)
    length = np.hypot(steps[..., 0], steps[..., 1])
    speed = length / STEP_SECONDS
    cross = steps[:, :-1, 0] * steps[:, 1:, 1] - steps[:, :-1, 1] * steps[:, 1:, 0]
    dot = (steps[:, :-1] * steps[:, 1:]).sum(axis=-1)
    moving = np.minimum(speed[:, :-1], speed[:, 1:]) > MOVING
    heading_step = np.where(moving, np.arctan2(cross, dot), 0.0)
    acceleration = np.diff(speed, axis=1) / STEP_SECONDS
    window = CURVATURE_STEPS
    turned = _moving_sum(heading_step, window)
    driven = _moving_sum((length[:, :-1] + length[:, 1:]) / 2, window)
    return Motion(
        speed=speed,
        acceleration=acceleration,
        lateral_acceleration=heading_step / STEP_SECONDS * (speed[:, :-1] + speed[:, 1:]) / 2,
        jerk=(acceleration[:, JERK_STEPS:] - acceleration[:, :-JERK_STEPS]) / (JERK_STEPS * STEP_SECONDS),
        curvature=np.where(driven > MOVING * STEP_SECONDS * window, turned / np.maximum(driven, 1e-9), 0.0),
        heading_step=heading_step,
        heading_change=heading_step.sum(axis=1),
    )


@dataclass(frozen=True)
class MotionDistributions:
    """Measures of a set of tracks, one-dimensional arrays: m/s, m/s2, absolute curvature 1/m and heading change rad.

    Curvature and heading change are those of moving tracks only.
    """

    speed: Floats
    acceleration: Floats
    lateral_acceleration: Floats
    curvature: Floats
    heading_change: Floats


def agent_tracks(store: SceneStore, indices: npt.NDArray[np.int64] | None = None) -> Floats:
    """Return the AGENT tracks (S, T, 2) of a store, float64, metres, relative to each scene's origin.

    Args:
        indices: (S,) scenes to take; by default all.

    Raises:
        ValueError: the first track of a scene is not AGENT.
    """
    scenes = np.arange(len(store)) if indices is None else np.asarray(indices)
    # AGENT is the first track of a scene and has all steps.
    first = store.track_offsets[store.scene_tracks[scenes]]
    if np.any(store.track_types[store.scene_tracks[scenes]] != AGENT):
        raise ValueError("the first track of a scene is not AGENT")
    return np.asarray(store.xy[first[:, None] + np.arange(store.steps)], dtype=np.float64)


def even_tracks(tracks: Floats, times: Floats) -> Floats:
    """Resample tracks (S, T, 2), recorded at times (S, T) in seconds, at even steps of 0.1 s."""
    even = np.empty_like(tracks)
    at = STEP_SECONDS * np.arange(tracks.shape[1])
    for row, (track, seconds) in enumerate(zip(tracks, times, strict=True)):
        # A recording that ends early is continued straight at its last velocity.
        beyond = np.maximum(at - seconds[-1], 0.0)[:, None]
        velocity = (track[-1] - track[-2]) / max(float(seconds[-1] - seconds[-2]), 1e-3)
        even[row] = np.stack([np.interp(at, seconds, track[:, axis]) for axis in (0, 1)], axis=-1) + beyond * velocity
    return even


def smooth_tracks(tracks: Floats, seconds: float) -> Floats:
    """Smooth tracks (S, T, 2) by fitting a parabola to `seconds` around each step.

    Argoverse 1's positions jitter by decimetres, so their plain second differences do not show the vehicle's motion.
    """
    width = 2 * round(seconds / STEP_SECONDS / 2) + 1
    smooth: Floats = savgol_filter(tracks, width, 2, axis=1) if width > 3 else tracks
    return smooth


def motion_distributions(tracks: Floats, smoothing: float = 0.0) -> MotionDistributions:
    """Compute the measures of a set of tracks, for instance `agent_tracks` of a store.

    Args:
        tracks: (S, T, 2) metres, 10 Hz.
        smoothing: seconds over which the tracks are smoothed first; use the same value for all sets to be compared.
    """
    motion = motion_of(smooth_tracks(tracks, smoothing))
    moving = motion.speed.mean(axis=1) > MOVING
    return MotionDistributions(
        speed=motion.speed.ravel(),
        acceleration=motion.acceleration.ravel(),
        lateral_acceleration=np.abs(motion.lateral_acceleration).ravel(),
        curvature=np.abs(motion.curvature[moving]).ravel(),
        heading_change=np.abs(motion.heading_change[moving]),
    )


def wasserstein(first: Floats, second: Floats) -> float:
    """Return the first Wasserstein distance of two samples, in their unit: the mean difference of their quantiles."""
    if not len(first) or not len(second):
        return float("nan")
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return float(np.abs(np.quantile(first, levels) - np.quantile(second, levels)).mean())


def compare(first: MotionDistributions, second: MotionDistributions) -> dict[str, float]:
    """Return the Wasserstein distance of each measure, by its name."""
    names = [field.name for field in fields(MotionDistributions)]
    return {name: wasserstein(getattr(first, name), getattr(second, name)) for name in names}


def _moving_sum(values: Floats, width: int) -> Floats:
    total = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    return total[:, width:] - total[:, :-width]


Integers = npt.NDArray[np.int64]

ROUNDING = 1e-3  # m, more than the rounding errors of a distance
DECIMALS = 6  # of the measures in a manifest

LIMITS = {  # for each limit: the manifest column, its sign, and the name of the parameter
    "acceleration": ("max_acceleration", 1.0, "acceleration"),
    "braking": ("min_acceleration", -1.0, "acceleration"),
    "lateral_acceleration": ("max_lateral_acceleration", 1.0, "lateral_acceleration"),
    "jerk": ("max_jerk", 1.0, "jerk"),
    "curvature": ("max_curvature", 1.0, "curvature"),
    "heading_step": ("max_heading_step", 1.0, "heading_step"),
    "lane_distance": ("max_lane_distance", 1.0, "lane_distance"),
}


@dataclass(frozen=True)
class Windows:
    """W windows of a block of drives.

    Attributes:
        drive: (W,) index of the drive.
        number: (W,) number of the window in its drive, from 1; window k starts k - 1 strides after the drive's start.
        first: (W,) step of the drive at which the window starts.
        length: number of steps of each window.
    """

    drive: Integers
    number: Integers
    first: Integers
    length: int

    def __len__(self) -> int:
        return len(self.drive)

    @property
    def steps(self) -> Integers:
        """Steps of the drive in each window, (W, length)."""
        steps: Integers = self.first[:, None] + np.arange(self.length)
        return steps

    def take(self, kept: npt.NDArray[np.bool_]) -> Windows:
        """Return the windows for which `kept` (W,) is True."""
        return Windows(self.drive[kept], self.number[kept], self.first[kept], self.length)


def cut_windows(steps: Integers, stride: float, fresh: npt.NDArray[np.bool_], length: int) -> Windows:
    """Cut drives into windows that end within the drive and start where a window may start.

    Args:
        steps: (D,) length of each drive in steps.
        stride: seconds between the starts of two windows of a drive.
        fresh: (D, T) bool, True where a window may start.
        length: number of steps of a window.
    """
    every = round(stride / STEP_SECONDS)
    starts = np.arange(0, max(fresh.shape[1] - length + 1, 0), every)
    wanted = (starts + length <= steps[:, None]) & fresh[:, starts]
    drives, numbers = np.nonzero(wanted)
    return Windows(drives.astype(np.int64), numbers.astype(np.int64) + 1, starts[numbers].astype(np.int64), length)


def describe_windows(xy: Floats, lane_distance: Floats) -> dict[str, npt.NDArray[Any]]:
    """Compute the manifest columns that describe the motion of windows.

    Args:
        xy: (W, T, 2) positions as stored, metres.
        lane_distance: (W, T) distance to the nearest centreline, metres.

    Returns:
        columns by name, (W,) float64 each, in SI units and radians.
    """
    motion = motion_of(xy)
    columns = {
        "min_speed": motion.speed.min(axis=1),
        "max_speed": motion.speed.max(axis=1),
        "mean_speed": motion.speed.mean(axis=1),
        "min_acceleration": motion.acceleration.min(axis=1),
        "max_acceleration": motion.acceleration.max(axis=1),
        "max_lateral_acceleration": np.abs(motion.lateral_acceleration).max(axis=1),
        "max_jerk": np.abs(motion.jerk).max(axis=1),
        "max_curvature": np.abs(motion.curvature).max(axis=1),
        "max_heading_step": np.abs(motion.heading_step).max(axis=1),
        "max_step": motion.speed.max(axis=1) * STEP_SECONDS,
        "max_lane_distance": lane_distance.max(axis=1),
        "heading_change": motion.heading_change,
    }
    # Rounding hides differences in the last bit between processors; adding 0.0 turns -0.0 into 0.0.
    return {name: np.round(values, DECIMALS) + 0.0 for name, values in columns.items()}


def within_limits(
    columns: dict[str, npt.NDArray[Any]], limits: LimitParameters
) -> tuple[npt.NDArray[np.bool_], dict[str, int]]:
    """Return which windows stay within all limits, (W,) bool, and how many break each limit."""
    broken = {name: sign * columns[column] > getattr(limits, limit) for name, (column, sign, limit) in LIMITS.items()}
    kept = ~np.any(list(broken.values()), axis=0)
    return kept, {name: int(mask.sum()) for name, mask in broken.items()}


@dataclass(frozen=True)
class Exclusion:
    """Places of evaluated scenes, which no window may come near (`synthesize.exclusion_radius`).

    Attributes:
        places: (P, 2) positions by city, metres, city frame.
        radius: least distance of a window, metres.
    """

    places: Mapping[str, Floats]
    radius: float

    @classmethod
    def of(cls, judged: SceneStore, radius: float) -> Self:
        """Exclude all positions, observed and future, of the focal agents of the evaluated scenes.

        Raises:
            InputError: the scenes do not have city maps.
        """
        if judged.maps != CITY_MAPS:
            raise InputError(
                "synthesize.exclusion_radius",
                f"{radius:g}, with a map for every scene",
                "0",
                "Windows on such maps do not say in which city they are.",
            )
        tracks = agent_tracks(judged) + judged.origins[:, None]  # [S, T, 2]
        cities = np.array(judged.cities)
        return cls({str(city): tracks[cities == city].reshape(-1, 2) for city in np.unique(cities)}, radius)

    def near(self, city: str, xy: Floats, transform: Transform) -> npt.NDArray[np.bool_]:
        """Return (W,) bool: does a window come within the radius of a place at any of its steps?

        Args:
            city: city of the windows.
            xy: (W, T, 2) positions, metres, city frame, on the map after the transform.
            transform: transform of the map; it is undone first, because the places are on the original map.
        """
        if city not in self.places or not len(xy):
            return np.zeros(len(xy), dtype=np.bool_)
        original = transform.unwarp(xy)
        # A city has a million places, of which few are near one scene; a tree of all would take most of its time.
        reach = self.radius + ROUNDING
        (west, south), (east, north) = original.min(axis=(0, 1)) - reach, original.max(axis=(0, 1)) + reach
        x, y = self.places[city].T
        around = self.places[city][(x >= west) & (x <= east) & (y >= south) & (y <= north)]
        distance, _ = cKDTree(around).query(original, distance_upper_bound=self.radius)
        near: npt.NDArray[np.bool_] = np.isfinite(distance).any(axis=1)
        return near
