"""How fast a driver may go along a path: desired speed, bends, look-ahead, comfortable braking (PAPER.md 3.3)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter1d

from synthdrive.parameters.synthesize import DriverParameters
from synthdrive.synthesis.path import SPACING, Paths

Floats = npt.NDArray[np.float64]


def speed_limits(paths: Paths, desired_speeds: Floats, driver: DriverParameters) -> Floats:
    """(D, S) highest speed, m/s, at each point of the paths, before braking is thought of.

    A bend is taken at v = sqrt(a_lat R) with a_lat = `lateral_share` x desired speed, and the speed of the slowest
    point within `look_ahead` metres is held on the way to it.
    """
    lateral = driver.lateral_share * desired_speeds[:, None]
    in_bends = np.sqrt(lateral / np.maximum(np.abs(paths.curvature), 1e-6))
    limits = np.minimum(driver.cruise_share * desired_speeds[:, None], in_bends)
    window = int(round(driver.look_ahead / SPACING)) + 1
    ahead: Floats = minimum_filter1d(limits, window, axis=1, origin=-((window - 1) // 2), mode="nearest")
    return ahead


def brake_before(limits: Floats, braking: float) -> Floats:
    """(D, S) the limits lowered so that braking at `braking` m/s2 is enough to keep all that follow.

    v^2 + 2 b s must not exceed any later limit^2 + 2 b s, so it is a running minimum from the end.
    """
    distance = SPACING * np.arange(limits.shape[1])
    energy = limits**2 + 2.0 * braking * distance
    lowest = np.minimum.accumulate(energy[:, ::-1], axis=1)[:, ::-1]
    allowed: Floats = np.sqrt(np.maximum(lowest - 2.0 * braking * distance, 0.0))
    return allowed
