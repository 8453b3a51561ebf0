"""Drives cut into windows of 5 s, and what a manifest says of each (docs/method.md 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.parameters.synthesize import LimitParameters
from synthdrive.scenes.scene_store import STEP_SECONDS, STEPS
from synthdrive.synthesis.motion import motion_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

DECIMALS = 6  # of a manifest's measures

LIMITS = {  # what is limited: the column of a window, its sign, and the limit
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
        number: (W,) counter of the window in its drive, from 1, by time: window k starts (k - 1) strides in.
        first: (W,) step of the drive at which the window starts.
    """

    drive: Integers
    number: Integers
    first: Integers

    def __len__(self) -> int:
        return len(self.drive)

    @property
    def steps(self) -> Integers:
        """(W, 50) steps of the drive that make up each window."""
        steps: Integers = self.first[:, None] + np.arange(STEPS)
        return steps

    def take(self, kept: npt.NDArray[np.bool_]) -> Windows:
        """The windows where `kept` (W,) is True."""
        return Windows(self.drive[kept], self.number[kept], self.first[kept])


def cut_windows(steps: Integers, stride: float, fresh: npt.NDArray[np.bool_]) -> Windows:
    """Windows that lie within their drive and start on road that is new.

    Args:
        steps: (D,) length of each drive in steps.
        stride: seconds between the starts of two windows of a drive.
        fresh: (D, T) bool, True where a window may start.
    """
    every = round(stride / STEP_SECONDS)
    starts = np.arange(0, max(fresh.shape[1] - STEPS + 1, 0), every)
    wanted = (starts + STEPS <= steps[:, None]) & fresh[:, starts]
    drives, numbers = np.nonzero(wanted)
    return Windows(drives.astype(np.int64), numbers.astype(np.int64) + 1, starts[numbers].astype(np.int64))


def describe_windows(xy: Floats, lane_distance: Floats) -> dict[str, npt.NDArray[Any]]:
    """Manifest columns of windows, measured on their positions.

    Args:
        xy: (W, 50, 2) positions as they are stored, metres.
        lane_distance: (W, 50) metres to the nearest centreline.

    Returns:
        (W,) float64 each, by name; SI units and radians.
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
    # Rounded, so that the last bit of a processor's arithmetic does not show in the file; + 0.0 turns -0.0 into 0.0.
    return {name: np.round(values, DECIMALS) + 0.0 for name, values in columns.items()}


def within_limits(
    columns: dict[str, npt.NDArray[Any]], limits: LimitParameters
) -> tuple[npt.NDArray[np.bool_], dict[str, int]]:
    """Which windows (W,) keep to the limits, and how many break each."""
    broken = {name: sign * columns[column] > getattr(limits, limit) for name, (column, sign, limit) in LIMITS.items()}
    kept = ~np.any(list(broken.values()), axis=0)
    return kept, {name: int(mask.sum()) for name, mask in broken.items()}
