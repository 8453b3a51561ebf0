"""How fast a driver may go along a path: desired speed, bends, slowing down early (docs/method.md 3.3, 3.4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.parameters.synthesize import DriverParameters
from synthdrive.synthesis.path import SPACING, Paths

Floats = npt.NDArray[np.float64]

REFERENCE_SPEED = 10.0  # m/s, desired speed at which `lateral_acceleration` is given
STRAIGHT = 1e-6  # 1/m


def speed_plan(paths: Paths, desired_speeds: Floats, driver: DriverParameters) -> Floats:
    """(D, S) m/s, the speed a driver aims for at each point of the paths.

    On straights `cruise_share` of the desired speed; a bend at v = sqrt(a / foreseen curvature), where the lateral
    acceleration a grows with the desired speed; and before a bend no more than leaves time to slow down for it gently.
    """
    lateral = driver.lateral_acceleration * (desired_speeds / REFERENCE_SPEED) ** driver.lateral_exponent
    limits = np.sqrt(lateral[:, None] / np.maximum(paths.foreseen, STRAIGHT))
    limits = np.minimum(limits, driver.cruise_share * desired_speeds[:, None])
    limits = np.minimum(limits, grip_limits(paths, driver))
    return slow_before(limits, driver.slowing * desired_speeds)


def grip_limits(paths: Paths, driver: DriverParameters) -> Floats:
    """(D, S) m/s at which the path itself asks for `max_lateral_acceleration`."""
    limits: Floats = np.sqrt(driver.max_lateral_acceleration / np.maximum(np.abs(paths.curvature), STRAIGHT))
    return limits


def slow_before(limits: Floats, deceleration: Floats) -> Floats:
    """(D, S) the limits lowered so that `deceleration` (D,) m/s2 is enough to keep all that follow.

    v^2 + 2 b s must not exceed any later limit^2 + 2 b s, so it is a running minimum from the end.
    """
    rise = 2.0 * deceleration[:, None] * SPACING * np.arange(limits.shape[1])
    lowest = np.minimum.accumulate((limits**2 + rise)[:, ::-1], axis=1)[:, ::-1]
    allowed: Floats = np.sqrt(np.maximum(lowest - rise, 0.0))
    return allowed
