"""One recorded scene as any dataset gives it, ready for a scene store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FARTHEST = 8192.0  # metres from AGENT; beyond it float32 is no longer true to 1 mm


@dataclass(frozen=True)
class RecordedScene:
    """One scene file, its rows sorted by track; see `scene_store.Scene` for what is not said here.

    Attributes:
        scene_id: the file's stem.
        city: name of the map.
        origin: (2,) float64, AGENT at the last observed step, metres, city frame.
        xy: (R, 2) float32, metres, city axes, relative to `origin`.
        step: (R,) uint8.
        track_lengths: (K,) int64.
        track_types: (K,) uint8.
        start_time: the first time stamp, seconds.
        times: (steps,) float64, seconds since `start_time`; of a test scene, the observed ones.
        agent_track_id: AGENT's name in the file, where a submission asks for it; else "".
        agent_type: what AGENT is (vehicle, pedestrian, ...), where the dataset says it; else "".
    """

    scene_id: str
    city: str
    origin: npt.NDArray[np.float64]
    xy: npt.NDArray[np.float32]
    step: npt.NDArray[np.uint8]
    track_lengths: npt.NDArray[np.int64]
    track_types: npt.NDArray[np.uint8]
    start_time: float
    times: npt.NDArray[np.float64]
    agent_track_id: str = ""
    agent_type: str = ""
