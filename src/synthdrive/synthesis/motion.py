"""Measure the motion of tracks, and compare its distributions between sets of tracks."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.signal import savgol_filter

from synthdrive.core.timing import STEP_SECONDS
from synthdrive.scenes.scene_store import AGENT, SceneStore

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
