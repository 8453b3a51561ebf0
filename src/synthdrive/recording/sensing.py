"""What the AV sees of a window: the tracks of one scene."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.parameters.record_sample import SceneParameters
from synthdrive.recording.city_parts import CityParts
from synthdrive.recording.motion import Motion
from synthdrive.scenes.argoverse_scene_writer import SceneRows
from synthdrive.scenes.scene_store import AGENT, AV, OTHERS, STEP_SECONDS, STEPS

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
        agent, companion: columns of `motion` that are AGENT and AV.
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
