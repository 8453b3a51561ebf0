"""The rule-based driver: plan a smooth path and a speed for it, and follow both at 10 Hz (docs/method.md 3.2 to 3.4).

The path is the smoothed centreline; it cuts corners, more so at higher desired speeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

from synthdrive.augmentation.corridor import resample
from synthdrive.config.synthetic_data import DriverParameters
from synthdrive.core.timing import STEP_SECONDS
from synthdrive.synthesis.realism import SpeedVariation, Stops

Floats = npt.NDArray[np.float64]

SPACING = 0.5  # m between the points of a path
TRUNCATE = 4.0  # standard deviations to which the Gaussian kernels reach
REFERENCE_SPEED = 10.0  # m/s, desired speed at which `lateral_acceleration` is given
STRAIGHT = 1e-6  # 1/m; smaller curvatures are replaced by this one
MILLIMETRE = 3  # decimals of generated positions
MIN_START_ACCELERATION = 0.5  # m/s2; a drive that starts with more is already accelerating or braking
GRIP_BRAKING = 0.8  # fraction of the strongest braking with which the driver slows down for the grip limit
MIN_MEAN_SPEED = 2.0  # m/s; a drive that would need a lower mean speed to reach the end of its path is cut


@dataclass(frozen=True)
class Paths:
    """The paths of D drives along one or several routes, with a point every SPACING metres, padded to the longest.

    Attributes:
        points: (D, S, 2) metres, city frame; the path continues straight beyond its length.
        curvature: (D, S) curvature of the path, 1/m, positive to the left; 0 beyond the length.
        foreseen: (D, S) absolute curvature from which the driver plans its speed, 1/m: that of the road smoothed over
            `curvature_smoothing_time` x desired speed.
        lengths: (D,) lengths of the paths, metres.
    """

    points: Floats
    curvature: Floats
    foreseen: Floats
    lengths: Floats

    def at(self, values: Floats, along: Floats) -> Floats:
        """Interpolate values at the points (D, S) at distances `along` (D, T) metres; constant beyond the ends."""
        place = np.clip(along / SPACING, 0.0, values.shape[1] - 1.000001)
        index = place.astype(np.int64)
        rows = np.arange(len(along))[:, None]
        first = values[rows, index]
        between: Floats = first + (place - index) * (values[rows, index + 1] - first)
        return between


def plan_paths(centreline: Floats, desired_speeds: Floats, driver: DriverParameters) -> Paths:
    """Plan a path along a centreline for each desired speed.

    Args:
        centreline: (N, 2) metres, city frame.
        desired_speeds: (V,) m/s.
    """
    line = resample(centreline, SPACING)
    spacing = float(np.hypot(*(line[1] - line[0]))) or SPACING
    widths = np.maximum(
        np.outer((driver.path_smoothing_time, driver.curvature_smoothing_time), desired_speeds),
        driver.min_path_smoothing,
    )
    smoothed = _smooth(line, np.concatenate([[driver.min_path_smoothing], *widths]), spacing)
    narrow, wide, broad = smoothed[0], *np.split(smoothed[1:], 2)  # [S, 2], [V, S, 2], [V, S, 2]
    points = _limit_deviation(line, narrow, wide, driver.max_deviation, spacing)
    return _even_steps(points, np.abs(_curvature(broad)))


def stack_paths(parts: list[Paths]) -> Paths:
    """Join the paths of several routes, padded to the longest."""
    longest = max(part.points.shape[1] for part in parts)
    points, curvature, foreseen = [], [], []
    for part in parts:
        pad = longest - part.points.shape[1]
        step = part.points[:, -1:] - part.points[:, -2:-1]
        beyond = part.points[:, -1:] + step * np.arange(1, pad + 1)[:, None]
        points.append(np.concatenate([part.points, beyond], axis=1))
        curvature.append(np.pad(part.curvature, ((0, 0), (0, pad))))
        foreseen.append(np.pad(part.foreseen, ((0, 0), (0, pad))))
    lengths = np.concatenate([part.lengths for part in parts])
    return Paths(np.concatenate(points), np.concatenate(curvature), np.concatenate(foreseen), lengths)


def _smooth(line: Floats, widths: Floats, spacing: float) -> Floats:
    """Smooth a polyline (S, 2), continued straight at its ends, by Gaussians of `widths` (V,) metres: (V, S, 2)."""
    pad = int(np.ceil(TRUNCATE * widths.max() / spacing)) + 1
    before = line[0] - np.arange(pad, 0, -1)[:, None] * (line[1] - line[0])
    after = line[-1] + np.arange(1, pad + 1)[:, None] * (line[-1] - line[-2])
    extended = np.concatenate([before, line, after])
    smoothed = [gaussian_filter1d(extended, width / spacing, axis=0, truncate=TRUNCATE) for width in widths]
    return np.stack(smoothed)[:, pad:-pad]


def _limit_deviation(line: Floats, narrow: Floats, wide: Floats, limit: float, spacing: float) -> Floats:
    """Blend wide and narrow smoothing where the wide one deviates from the line by more than `limit` metres."""
    deviation = np.hypot(wide[..., 0] - line[:, 0], wide[..., 1] - line[:, 1])
    if deviation.max() <= limit:
        return wide
    fraction = np.minimum(1.0, limit / np.maximum(deviation, 1e-9))
    reach = max(3, 2 * int(round(10.0 / spacing)) + 1)
    fraction = gaussian_filter1d(minimum_filter1d(fraction, reach, axis=1), 3.0 / spacing, axis=1)
    blended: Floats = narrow + fraction[..., None] * (wide - narrow)
    return blended


def _even_steps(points: Floats, foreseen: Floats) -> Paths:
    """Resample polylines (D, S, 2) and the foreseen curvature (D, S) at a point every SPACING metres."""
    steps = np.diff(points, axis=1)
    distance = np.cumsum(np.hypot(steps[..., 0], steps[..., 1]), axis=1)
    distance = np.concatenate([np.zeros((len(points), 1)), distance], axis=1)
    lengths = distance[:, -1]
    at = SPACING * np.arange(int(np.ceil(lengths.max() / SPACING)) + 2)
    even, seen = np.empty((len(points), len(at), 2)), np.zeros((len(points), len(at)))
    for row, (polyline, along) in enumerate(zip(points, distance, strict=True)):
        even[row] = np.stack([np.interp(at, along, polyline[:, axis]) for axis in (0, 1)], axis=-1)
        even[row] += np.maximum(at - lengths[row], 0.0)[:, None] * steps[row, -1] / max(np.hypot(*steps[row, -1]), 1e-9)
        seen[row] = np.interp(at, along, foreseen[row], right=0.0)
    return Paths(even, _curvature(even), seen, lengths)


def _curvature(points: Floats) -> Floats:
    """Return the signed curvature of polylines (D, S, 2): (D, S), 1/m; 0 at the ends."""
    steps = np.diff(points, axis=1)
    length = np.hypot(steps[..., 0], steps[..., 1])
    heading = np.arctan2(steps[..., 1], steps[..., 0])
    turn = (np.diff(heading, axis=1) + np.pi) % (2 * np.pi) - np.pi
    curvature = np.zeros(points.shape[:2])
    curvature[:, 1:-1] = turn / np.maximum((length[:, 1:] + length[:, :-1]) / 2, 1e-3)
    return curvature


def speed_plan(paths: Paths, desired_speeds: Floats, driver: DriverParameters) -> Floats:
    """Return the planned speed at each point of the paths, (D, S) m/s.

    On straights it is `cruise_speed_factor` times the desired speed; in a bend, sqrt(a / foreseen curvature), where the
    lateral acceleration a grows with the desired speed; before a bend it is low enough to slow down gently.
    """
    lateral = driver.lateral_acceleration * (desired_speeds / REFERENCE_SPEED) ** driver.lateral_exponent
    limits = np.sqrt(lateral[:, None] / np.maximum(paths.foreseen, STRAIGHT))
    limits = np.minimum(limits, driver.cruise_speed_factor * desired_speeds[:, None])
    limits = np.minimum(limits, grip_limits(paths, driver))
    return slow_before(limits, driver.slowing * desired_speeds)


def grip_limits(paths: Paths, driver: DriverParameters) -> Floats:
    """Return the speed at which the path itself requires `max_lateral_acceleration`, (D, S) m/s."""
    limits: Floats = np.sqrt(driver.max_lateral_acceleration / np.maximum(np.abs(paths.curvature), STRAIGHT))
    return limits


def slow_before(limits: Floats, deceleration: Floats) -> Floats:
    """Lower speed limits (D, S) so that braking at `deceleration` (D,) m/s2 is enough to keep all later ones.

    At distance s, v^2 + 2 b s must not exceed limit^2 + 2 b s of any later point: a running minimum from the end.
    """
    rise = 2.0 * deceleration[:, None] * SPACING * np.arange(limits.shape[1])
    lowest = np.minimum.accumulate((limits**2 + rise)[:, ::-1], axis=1)[:, ::-1]
    allowed: Floats = np.sqrt(np.maximum(lowest - rise, 0.0))
    return allowed


@dataclass(frozen=True)
class Drives:
    """D drives at 10 Hz, padded to the longest.

    Attributes:
        xy: (D, T, 2) positions in metres, city frame, rounded to 1 mm.
        along: (D, T) metres along the path.
        speed: (D, T) m/s.
        steps: (D,) int64, number of steps on the path; later ones lie beyond its end.
    """

    xy: Floats
    along: Floats
    speed: Floats
    steps: npt.NDArray[np.int64]


def drive(
    paths: Paths,
    desired_speeds: Floats,
    driver: DriverParameters,
    start: Floats | None = None,
    stops: Stops | None = None,
    speed_variation: SpeedVariation | None = None,
) -> Drives:
    """Drive every path from its start to its end.

    Args:
        paths: paths of D drives.
        desired_speeds: (D,) m/s.
        start: (D, 3) metres along the path, speed in m/s and acceleration in m/s2 at step 0; by default the beginning
            of the path at `start_speed`.
        stops: where to stop; by default nowhere.
        speed_variation: where to drive slower than planned; by default nowhere.
    """
    plan = speed_plan(paths, desired_speeds, driver)
    if start is None:
        start = start_state(paths, np.zeros(len(desired_speeds)), desired_speeds, driver)
    along, speed = _integrate(paths, plan, desired_speeds, start, driver, stops, speed_variation)
    steps = (along <= paths.lengths[:, None]).sum(axis=1)
    xy = np.stack([paths.at(paths.points[..., axis], along) for axis in (0, 1)], axis=-1)
    return Drives(np.round(xy, MILLIMETRE), along, speed, steps)


def strongest_braking(desired_speeds: Floats, driver: DriverParameters) -> Floats:
    """Return the hardest braking of each driver, (D,) m/s2; it grows with the desired speed."""
    braking: Floats = np.minimum(driver.braking * desired_speeds, driver.max_braking)
    return braking


def start_state(paths: Paths, along: Floats, desired_speeds: Floats, driver: DriverParameters) -> Floats:
    """Return the start (D, 3) for `drive` at `along` (D,) metres, at `start_speed` or slower if a bend is close."""
    safe = slow_before(grip_limits(paths, driver), strongest_braking(desired_speeds, driver))
    speed = np.minimum(driver.start_speed, paths.at(safe, along[:, None])[:, 0])
    return np.stack([along, speed, np.zeros_like(speed)], axis=1)


def _integrate(
    paths: Paths,
    plan: Floats,
    desired_speeds: Floats,
    start: Floats,
    driver: DriverParameters,
    stops: Stops | None,
    speed_variation: SpeedVariation | None,
) -> tuple[Floats, Floats]:
    """Return the distance along the path (D, T) in metres and the speed (D, T) in m/s at every step.

    The driver compares its speed with the one planned for its position `lookahead_time` seconds ahead. It keeps its
    speed until the gap exceeds `speed_deadband`, and then closes the gap completely: by braking at `firm_braking` or
    more if too fast, within about `relaxation_time` seconds if too slow. The acceleration is limited and follows the
    wanted one with a lag and bounded jerk.
    """
    dt = STEP_SECONDS
    along, speed, acceleration = start.T.copy()
    strongest, firm = strongest_braking(desired_speeds, driver), -driver.firm_braking * desired_speeds
    deadband = driver.speed_deadband * desired_speeds
    slowing, gaining = acceleration < -MIN_START_ACCELERATION, acceleration > MIN_START_ACCELERATION
    follow = dt / (driver.acceleration_lag + dt)
    # The speed may differ from the plan by the deadband, but may not exceed what grip allows when braking hard.
    grip = slow_before(grip_limits(paths, driver), GRIP_BRAKING * strongest)
    reaction = driver.acceleration_lag + dt
    history = [(along, speed)]
    waiting = 0.0 if stops is None else float(stops.waits.sum(axis=1).max())
    for _ in range(int((paths.lengths.max() / MIN_MEAN_SPEED + waiting) / dt)):
        if np.all(along > paths.lengths):
            break
        planned = paths.at(plan, (along + speed * driver.lookahead_time)[:, None])[:, 0]
        if speed_variation is not None:
            planned = planned * speed_variation.factor(along)
        gap = planned - speed
        slowing = gap < np.where(slowing, 0.0, -deadband)
        gaining = gap > np.where(gaining, 0.0, deadband)
        wanted = np.where(
            slowing,
            np.minimum(firm, gap / driver.relaxation_time),
            np.where(gaining, gap / driver.relaxation_time, 0.0),
        )
        excess = speed - paths.at(grip, (along + speed * reaction)[:, None])[:, 0]
        wanted = np.where(excess > 0, np.minimum(wanted, -excess / reaction), wanted)
        wanted = np.clip(wanted, -strongest, driver.acceleration)
        standing = None
        if stops is not None:
            for_stop, standing = stops.advance(along, speed, dt)
            wanted = np.minimum(wanted, for_stop)
        wanted = np.maximum(wanted, -driver.max_braking)
        change = np.clip((wanted - acceleration) * follow, -driver.max_jerk * dt, driver.max_jerk * dt)
        acceleration = acceleration + change
        faster = np.maximum(speed + acceleration * dt, 0.0)
        if standing is not None:
            faster = np.where(standing, 0.0, faster)
        # A standing car does not keep its deceleration.
        acceleration = np.where(faster > 0, acceleration, 0.0)
        along, speed = along + (speed + faster) / 2 * dt, faster
        history.append((along, speed))
    positions, speeds = zip(*history, strict=True)
    return np.stack(positions, axis=1), np.stack(speeds, axis=1)
