"""From what SUMO reports to how vehicles move: their centres, without the breaks that lane joints leave."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from synthdrive.recording.simulation import Drive
from synthdrive.scenes.scene_store import STEP_SECONDS

_JOINT_SECONDS = 1.0  # over which a break in progress at a lane joint is spread, standard deviation
_MAX_BREAK = 0.25  # m, by which a step may still differ from what the speedometer says


@dataclass(frozen=True)
class Motion:
    """Centres of V vehicles at T steps.

    Attributes:
        xy: (T, V, 2) float64, metres, city frame; NaN where a vehicle is not on the road.
        sound: (T, V) bool, False where the centre jumps.
    """

    xy: npt.NDArray[np.float64]
    sound: npt.NDArray[np.bool_]


def centre_motion(drive: Drive, smoothing: float) -> Motion:
    """The vehicles' centres.

    SUMO gives the front bumper, and lets it skip or linger up to a metre where lanes join, because a lane's nominal
    length may differ from its shape's. Progress along the way is therefore taken from the speed, and the drawn place
    followed only slowly (over `_JOINT_SECONDS`). The centre lies half a length behind the bumper, towards the rear
    one, so that it cuts corners as a car's does.

    Args:
        smoothing: s, standard deviation of a Gaussian filter over the centres; 0 for none.
    """
    direction = np.stack([np.cos(drive.heading), np.sin(drive.heading)], axis=-1)  # [T, V, 2]
    raw = drive.front - drive.length[:, None] / 2 * direction
    centre = raw.copy()
    sound = np.isfinite(raw[..., 0])
    for vehicle in range(raw.shape[1]):
        for start, end in _stretches(np.isfinite(raw[:, vehicle, 0])):
            if end - start < 2:
                continue
            part = slice(start, end)
            track = _mend(raw[part, vehicle], direction[part, vehicle], drive.speed[part, vehicle])
            if smoothing > 0:
                track = _smooth(track, smoothing / STEP_SECONDS)
            centre[part, vehicle] = track
            moved = np.hypot(*np.diff(track, axis=0).T)
            expected = drive.speed[start + 1 : end, vehicle] * STEP_SECONDS
            broken = np.abs(moved - expected) > _MAX_BREAK
            sound[start + 1 : end, vehicle] &= ~broken
    return Motion(centre, sound)


def _mend(
    track: npt.NDArray[np.float64], direction: npt.NDArray[np.float64], speed: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Shift a track along its own direction so that its progress follows the speed; (T, 2), (T, 2), (T,)."""
    step = np.diff(track, axis=0)
    progress = (step * (direction[1:] + direction[:-1]) / 2).sum(axis=-1)
    ahead = np.concatenate([[0.0], np.cumsum(progress - speed[1:] * STEP_SECONDS)])
    slow = gaussian_filter1d(ahead, _JOINT_SECONDS / STEP_SECONDS, mode="nearest")
    mended: npt.NDArray[np.float64] = track + (slow - ahead)[:, None] * direction
    return mended


def _smooth(track: npt.NDArray[np.float64], steps: float) -> npt.NDArray[np.float64]:
    """Gaussian filter of this standard deviation over a (T, 2) track; it goes on as it was beyond its ends."""
    margin = min(math.ceil(4 * steps), len(track) - 1)
    longer = np.pad(track, ((margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    smooth: npt.NDArray[np.float64] = gaussian_filter1d(longer, steps, axis=0, mode="nearest")
    return smooth[margin:-margin]


def _stretches(present: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
