"""The rule-based driver: follows its path at 10 Hz as fast as its speed plan allows (PAPER.md 3.2 to 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.parameters.synthesize import DriverParameters
from synthdrive.scenes.scene_store import STEP_SECONDS
from synthdrive.synthesis.path import Paths
from synthdrive.synthesis.speed import brake_before, speed_limits

Floats = npt.NDArray[np.float64]

MILLIMETRE = 3  # decimals of generated positions
SLOWEST = 2.0  # m/s at which a path's length is worth of time steps; a drive that has not arrived by then is cut


@dataclass(frozen=True)
class Drives:
    """D drives at 10 Hz, padded to the longest.

    Attributes:
        xy: (D, T, 2) positions in metres, city frame, true to 1 mm.
        along: (D, T) metres along the path.
        speed: (D, T) m/s.
        steps: (D,) int64, number of steps until the path ends.
    """

    xy: Floats
    along: Floats
    speed: Floats
    steps: npt.NDArray[np.int64]


def drive(paths: Paths, desired_speeds: Floats, driver: DriverParameters, start: Floats | None = None) -> Drives:
    """Drive every path from its start to its end.

    Args:
        paths: of D drives.
        desired_speeds: (D,) m/s.
        start: (D, 2) metres along the path and speed in m/s at step 0; default 0 m, `start_speed`.
    """
    limits = speed_limits(paths, desired_speeds, driver)
    plan = brake_before(limits, driver.braking)
    if start is None:
        start = _start(paths, desired_speeds, driver)
    along, speed = _integrate(paths, plan, start, driver)
    steps = (along <= paths.lengths[:, None]).sum(axis=1)
    xy = np.stack([paths.at(paths.points[..., axis], along) for axis in (0, 1)], axis=-1)
    return Drives(np.round(xy, MILLIMETRE), along, speed, steps)


def _start(paths: Paths, desired_speeds: Floats, driver: DriverParameters) -> Floats:
    """(D, 2) start of each path at the start speed, or slower where it could not be braked down from in time."""
    limits = speed_limits(paths, desired_speeds, driver)
    hard = brake_before(limits, driver.hard_braking)[:, 0]
    return np.stack([np.zeros(len(hard)), np.minimum(driver.start_speed, hard)], axis=1)


def _integrate(paths: Paths, plan: Floats, start: Floats, driver: DriverParameters) -> tuple[Floats, Floats]:
    """(D, T) distance along the path and speed at every step."""
    dt = STEP_SECONDS
    along, speed = start[:, 0].copy(), start[:, 1].copy()
    acceleration = np.zeros(len(start))
    response = dt / (driver.lag + dt)
    track_along, track_speed = [along], [speed]
    for _ in range(int(paths.lengths.max() / SLOWEST / dt)):
        if np.all(along > paths.lengths):
            break
        wanted = (paths.at(plan, (along + speed * dt)[:, None])[:, 0] - speed) / dt
        wanted = np.clip(wanted, -driver.hard_braking, driver.acceleration)
        change = np.clip((wanted - acceleration) * response, -driver.max_jerk * dt, driver.max_jerk * dt)
        acceleration = acceleration + change
        faster = np.maximum(speed + acceleration * dt, 0.0)
        along = along + (speed + faster) / 2 * dt
        speed = faster
        track_along.append(along)
        track_speed.append(speed)
    return np.stack(track_along, axis=1), np.stack(track_speed, axis=1)
