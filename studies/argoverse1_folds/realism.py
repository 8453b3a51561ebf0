"""Parameters that make synthetic windows look like recorded scenes, measured on a few recorded scenes only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.config.synthetic_data import NoiseParameters, SynthesizeParameters
from synthdrive.core.timing import ARGOVERSE1, STEP_SECONDS
from synthdrive.scenes.scene_store import AGENT, AV, SceneStore
from synthdrive.synthesis.motion import agent_tracks, even_tracks, motion_of, smooth_tracks
from synthdrive.synthesis.realism import tracking_noise

Floats = npt.NDArray[np.float64]

SMOOTHING = 1.1  # s over which a parabola is fitted: the fit is motion, the rest is noise
SECOND = 10  # steps over which acceleration is measured, long enough that noise hardly matters
STANDING = 0.5  # m/s, below which an agent stands
MOVES = 5.0  # m; focal agents that move less are not used for statistics of driving
MEMORIES = (0.0, 0.1, 0.15, 0.2, 0.3, 0.5)  # s, correlation times of noise that are tried
SIMULATED = 400  # tracks on which noise is simulated
INTERQUARTILE = 1.349  # interquartile range of a normal distribution, in standard deviations
LEAST_TRACK = 10  # steps of another road user's track that are enough to tell whether it moves


def fitted(store: SceneStore, defaults: SynthesizeParameters) -> dict[str, Any]:
    """Fit values of the section `synthesize` to the scenes of a store; parameters that are not returned stay the same.

    * desired speeds are drawn from the top speeds of the focal agents in the same scenes (`speed_source`);
    * stops: metres driven per stop of a focal agent, and duration of a stop;
    * speed_variation: from the median ratio of focal agents' mean speed to their top speed;
    * acceleration and braking: the values not exceeded in 95 % of the moments in which an agent speeds up or slows
      down, at least the driver's and at most 4 m/s2;
    * noise: the residuals of a parabola fitted over 1.1 s, along and across the motion; their size, how it varies from
      track to track, and their correlation time are matched to the same statistics of simulated noise;
    * other road users: their number, the fraction that stands, and their speed.
    """
    tracks = even_tracks(agent_tracks(store), np.asarray(store.times, dtype=np.float64))
    smooth = smooth_tracks(tracks, SMOOTHING)
    moving = np.hypot(*(smooth[:, -1] - smooth[:, 0]).T) > MOVES
    motion = motion_of(smooth[moving])
    acceleration = motion.speed[:, SECOND:] - motion.speed[:, :-SECOND]
    speeding = float(np.clip(np.quantile(acceleration[acceleration > 0], 0.95), defaults.driver.acceleration, 4.0))
    braking = float(np.clip(-np.quantile(acceleration[acceleration < 0], 0.05), defaults.driver.acceleration, 4.0))
    typical = float(np.median(motion.speed.max(axis=1)))
    share = float(np.median(motion.speed.mean(axis=1) / np.maximum(motion.speed.max(axis=1), STANDING)))
    limit = max(defaults.limits.acceleration, 1.15 * speeding, 1.15 * braking)
    return {
        "speed_source": "recorded",
        "speeds_per_scene": 2,
        "driver": {
            "acceleration": round(speeding, 2),
            "max_braking": round(braking, 2),
            "braking": round(max(braking / typical, defaults.driver.slowing), 3),
        },
        "limits": {"acceleration": round(limit, 2)},
        "stops": _stops(motion.speed),
        "speed_variation": {
            "interval": 40.0,
            "min_speed_factor": round(float(np.clip(2.0 * share - 1.0, 0.2, 1.0)), 2),
        },
        "background_agents": _road_users(store),
        "noise": _noise(tracks[moving], smooth[moving]),
    }


def _stops(speed: Floats) -> dict[str, float]:
    """Return the spacing of stops in metres and the waiting times in seconds, from (S, 49) speeds in m/s."""
    standing = speed < STANDING
    onsets = int((standing[:, 1:] & ~standing[:, :-1]).sum())
    if onsets == 0:
        return {"spacing": 0.0}
    wait = float(standing.sum()) * STEP_SECONDS / onsets
    spacing = float(speed.sum()) * STEP_SECONDS / onsets
    return {"spacing": round(spacing, 1), "min_wait": 0.0, "max_wait": round(2.0 * wait, 2)}


def _road_users(store: SceneStore) -> dict[str, float | int]:
    """Return number per scene, standing fraction and 95 % quantile of the speeds (m/s) of other road users."""
    others = np.flatnonzero(~np.isin(store.track_types, (AGENT, AV)))
    first, last = store.track_offsets[others], store.track_offsets[others + 1] - 1
    seconds = (store.step[last].astype(np.float64) - store.step[first]) * STEP_SECONDS
    seen = seconds >= (LEAST_TRACK - 1) * STEP_SECONDS
    length = np.hypot(*(np.asarray(store.xy[last[seen]], np.float64) - store.xy[first[seen]]).T)
    speed = length / seconds[seen]
    moving = speed > STANDING
    if not moving.any():
        return {"count": round(int(seen.sum()) / len(store)), "standing_fraction": 1.0}
    return {
        "count": round(int(seen.sum()) / len(store)),
        "standing_fraction": round(float(1.0 - moving.mean()), 2),
        "max_speed": round(max(float(np.quantile(speed[moving], 0.95)), 1.0), 1),
    }


def _noise(tracks: Floats, smooth: Floats) -> dict[str, float]:
    along, across, correlation = _rest(tracks, smooth)
    found: list[tuple[float, dict[str, float]]] = []
    line = np.stack([np.arange(float(ARGOVERSE1.steps)), np.zeros(ARGOVERSE1.steps)], axis=-1)
    straight = line * np.ones((SIMULATED, 1, 1))
    for memory in MEMORIES:
        unit = NoiseParameters(1.0, 1.0, 0.0, memory)
        noise = tracking_noise(straight, unit, np.random.default_rng(0))
        simulated, _, lasting = _rest(straight + noise, smooth_tracks(straight + noise, SMOOTHING), straight)
        deviation = float(np.median(along) / np.median(simulated))
        spread = np.sqrt(max(_spread(along) ** 2 - _spread(simulated) ** 2, 0.0))
        values = {
            "std": round(deviation, 3),
            "lateral_factor": round(float(np.median(across) / np.median(along)), 2),
            "log_std": round(float(spread), 2),
            "correlation_time": memory,
        }
        found.append((abs(lasting - correlation), values))
    return min(found, key=lambda item: item[0])[1]


def _rest(tracks: Floats, smooth: Floats, path: Floats | None = None) -> tuple[Floats, Floats, float]:
    """Return the (S,) root mean squares of the residuals along and across the motion, and the one-step correlation."""
    rest = tracks - smooth
    step = np.gradient(smooth if path is None else path, axis=1)
    direction = step / np.maximum(np.hypot(step[..., 0], step[..., 1])[..., None], 1e-6)
    along = (rest * direction).sum(axis=-1)
    across = rest[..., 0] * direction[..., 1] - rest[..., 1] * direction[..., 0]
    lasting = float((along[:, 1:] * along[:, :-1]).mean() / max(float(np.square(along).mean()), 1e-12))
    return np.sqrt(np.square(along).mean(axis=1)), np.sqrt(np.square(across).mean(axis=1)), lasting


def _spread(values: Floats) -> float:
    low, high = np.quantile(np.log(np.maximum(values, 1e-6)), (0.25, 0.75))
    return float(high - low) / INTERQUARTILE
