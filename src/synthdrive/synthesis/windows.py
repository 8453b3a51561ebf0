"""Cut drives into windows, describe them, and choose the windows to keep (docs/method.md 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from synthdrive.augmentation.transforms import Transform
from synthdrive.config.synthetic_data import LimitParameters
from synthdrive.core.errors import InputError
from synthdrive.core.timing import STEP_SECONDS
from synthdrive.scenes.scene_store import CITY_MAPS, SceneStore
from synthdrive.synthesis.motion import agent_tracks, motion_of

Floats = npt.NDArray[np.float64]
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
