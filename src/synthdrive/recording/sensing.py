"""What the AV sees of a window, in which part of the city: the tracks of one scene."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from synthdrive.config.record_sample import CityParameters, SceneParameters
from synthdrive.core.timing import ARGOVERSE1, STEP_SECONDS
from synthdrive.formats.argoverse1_writers import SceneRows
from synthdrive.recording.simulation import Drive
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import AGENT, AV, OTHERS

STEPS = ARGOVERSE1.steps

_AXES = {"north": (1, 1.0), "east": (0, 1.0), "south": (1, -1.0), "west": (0, -1.0)}


@dataclass(frozen=True)
class CityParts:
    """The line that parts a city.

    Attributes:
        axis: coordinate that counts: 0 for x, 1 for y.
        sign: +1 where val is on the side of greater coordinates, else -1.
        line: m, the dividing line.
        half_band: m, on either side of the line that belongs to neither.
    """

    axis: int
    sign: float
    line: float
    half_band: float

    @classmethod
    def of(cls, lane_map: LaneMap, city: CityParameters, band: float) -> CityParts:
        """The line that leaves `city.val_fraction` of the lanes' length on `city.val_side`."""
        axis, sign = _AXES[city.val_side]
        segments = lane_map.segments
        steps = np.where(segments.valid[:, 1:, None], np.diff(segments.points, axis=1), 0.0)  # [L, 9, 2]
        weights = np.hypot(steps[..., 0], steps[..., 1]).ravel()
        places = sign * ((segments.points[:, 1:] + segments.points[:, :-1]) / 2)[..., axis].ravel()
        order = np.argsort(-places, kind="stable")
        within = np.searchsorted(np.cumsum(weights[order]), city.val_fraction * weights.sum())
        return cls(axis, sign, round(float(sign * places[order[min(within, len(order) - 1)]]), 1), band / 2)

    def beyond(self, split: str, xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(...) float64, metres from the line into the split's side (negative: on the other side); xy is (..., 2)."""
        distance: npt.NDArray[np.float64] = self.sign * (xy[..., self.axis] - self.line)
        return distance if split == "val" else -distance

    def within(self, split: str, xy: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """(...) bool, in the split's part, clear of the band; xy is (..., 2) metres, NaN is outside."""
        inside: npt.NDArray[np.bool_] = self.beyond(split, xy) >= self.half_band
        return inside


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


_EPOCH = 315_970_000.0  # s; Argoverse 1 time stamps are of this order
_MIN_ROWS = 2  # of a track
_PARKED_FROM = 10_000_000  # track numbers of parked vehicles
_AV_ID = "00000000-0000-0000-0000-000000000000"  # as in the official files


def sense(
    split: str,
    parts: CityParts,
    motion: Motion,
    parked: npt.NDArray[np.float64],
    start: int,
    agent: int,
    companion: int,
    city: str,
    clock: float,
    scenes: SceneParameters,
    random: np.random.Generator,
) -> SceneRows | None:
    """The scene that the AV records from step `start` on, or None where a track in it jumps.

    Vehicles are seen while they are within `scenes.sensor_range` of the AV and on the split's side of the city.

    Args:
        parked: (P, 2) metres, middles of the parked vehicles.
        agent, companion: columns of `motion` that are the focal agent and AV.
        clock: s, time stamp of the run's first step after the epoch of the data.
        random: draws the tracking noise.
    """
    window = slice(start, start + STEPS)
    here = np.flatnonzero(_near(motion.xy[window], motion.xy[window, companion], scenes.sensor_range))
    if not motion.sound[window, here][np.isfinite(motion.xy[window, here, 0])].all():
        return None
    waiting = parked[_near(parked[None], motion.xy[window, companion], scenes.sensor_range)]
    xy = np.concatenate([motion.xy[window, here], np.broadcast_to(waiting, (STEPS, *waiting.shape))], axis=1)
    away = np.linalg.norm(xy - motion.xy[window, companion, None], axis=-1)
    types = np.full(xy.shape[1], OTHERS, dtype=np.uint8)
    types[: len(here)][here == agent], types[: len(here)][here == companion] = AGENT, AV
    seen = (away <= scenes.sensor_range) & (parts.beyond(split, xy) > 0) | (types != OTHERS)  # NaN is not seen
    seen &= seen.sum(axis=0) >= _MIN_ROWS
    step, column = np.nonzero(seen)  # rising time
    numbers = [*(here + 1).tolist(), *range(_PARKED_FROM, _PARKED_FROM + len(waiting))]
    names = [_AV_ID if kind == AV else f"{_AV_ID[:-8]}{k:08d}" for k, kind in zip(numbers, types, strict=True)]
    noise = random.normal(scale=scenes.tracking_noise, size=(len(step), 2)) if scenes.tracking_noise > 0 else 0.0
    return SceneRows(
        timestamps=np.asarray(_EPOCH + clock + (start + step) * STEP_SECONDS, dtype=np.float64),
        track_ids=[names[k] for k in column.tolist()],
        track_types=types[column],
        xy=xy[step, column] + noise,
        city=city,
    )


def _near(xy: npt.NDArray[np.float64], centre: npt.NDArray[np.float64], radius: float) -> npt.NDArray[np.bool_]:
    """(V,) bool, which of (T, V, 2) come within `radius` of (T, 2) at some step."""
    near: npt.NDArray[np.bool_] = (((xy - centre[:, None]) ** 2).sum(axis=-1) <= radius**2).any(axis=0)
    return near
