"""Select windows of the simulation as scenes, with a preference for interesting ones as in Argoverse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.config.record_sample import CityParameters, InterestParameters, SceneParameters
from synthdrive.core.timing import ARGOVERSE1, STEP_SECONDS
from synthdrive.recording.simulation import Drive, Motion
from synthdrive.scenes.lane_map import LaneMap

STEPS, LAST_OBSERVED = ARGOVERSE1.steps, ARGOVERSE1.last_observed

_MOVING = 1.0  # m/s; a faster vehicle counts as moving
_HEADING_STEPS = 5  # steps over which heading and speed are measured
_AXES = {"north": (1, 1.0), "east": (0, 1.0), "south": (1, -1.0), "west": (0, -1.0)}


@dataclass(frozen=True)
class CityParts:
    """The line that divides a city into the parts of train and val.

    Attributes:
        axis: coordinate in which the city is divided: 0 for x, 1 for y.
        sign: +1 if val is on the side of greater coordinates, else -1.
        line: coordinate of the dividing line, metres.
        half_band: width of the band on either side of the line that belongs to neither split, metres.
    """

    axis: int
    sign: float
    line: float
    half_band: float

    @classmethod
    def of(cls, lane_map: LaneMap, city: CityParameters, band: float) -> CityParts:
        """Place the line so that `city.val_fraction` of the lanes' length is on `city.val_side`; `band` in metres."""
        axis, sign = _AXES[city.val_side]
        segments = lane_map.segments
        steps = np.where(segments.valid[:, 1:, None], np.diff(segments.points, axis=1), 0.0)  # [L, 9, 2]
        weights = np.hypot(steps[..., 0], steps[..., 1]).ravel()
        places = sign * ((segments.points[:, 1:] + segments.points[:, :-1]) / 2)[..., axis].ravel()
        order = np.argsort(-places, kind="stable")
        within = np.searchsorted(np.cumsum(weights[order]), city.val_fraction * weights.sum())
        return cls(axis, sign, round(float(sign * places[order[min(within, len(order) - 1)]]), 1), band / 2)

    def beyond(self, split: str, xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the distance of `xy` (..., 2) from the line, (...) metres, positive on the split's side."""
        distance: npt.NDArray[np.float64] = self.sign * (xy[..., self.axis] - self.line)
        return distance if split == "val" else -distance

    def within(self, split: str, xy: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return (...) bool: is `xy` (..., 2), metres, on the split's side and outside the band? NaN is not."""
        inside: npt.NDArray[np.bool_] = self.beyond(split, xy) >= self.half_band
        return inside


@dataclass(frozen=True)
class Candidates:
    """C candidates for a scene: a window of 50 steps and a vehicle that can be its focal agent.

    Attributes:
        start: (C,) int64, first step of the window.
        vehicle: (C,) int64, column of the vehicle.
        place: (C, 2) float64, position at the last observed step, metres.
        displacement: (C,) float64, distance from the first to the last position, metres.
        weight: (C,) float64, weight with which the candidate is drawn.
        av: (C,) int64, column of the vehicle that would be the AV; -1 if there is none.
    """

    start: npt.NDArray[np.int64]
    vehicle: npt.NDArray[np.int64]
    place: npt.NDArray[np.float64]
    displacement: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    av: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Window:
    """Motion of V vehicles in one window, arrays of shape (V,)."""

    displacement: npt.NDArray[np.float64]  # m
    turn: npt.NDArray[np.float64]  # radians, positive to the left
    speed_loss: npt.NDArray[np.float64]  # m/s, greatest within 2 s
    speed_gain: npt.NDArray[np.float64]  # m/s, greatest within 2 s
    acceleration: npt.NDArray[np.float64]  # m/s2, greatest absolute value
    lateral_acceleration: npt.NDArray[np.float64]  # m/s2, greatest absolute value

    @classmethod
    def of(cls, xy: npt.NDArray[np.float64]) -> Window:
        """Compute the motion from positions (50, V, 2), metres."""
        velocity = (xy[_HEADING_STEPS:] - xy[:-_HEADING_STEPS]) / (_HEADING_STEPS * STEP_SECONDS)  # [45, V, 2]
        speed = np.hypot(velocity[..., 0], velocity[..., 1])
        heading = np.arctan2(velocity[..., 1], velocity[..., 0])
        change = speed[20:] - speed[:-20]
        turned = _wrap(heading[_HEADING_STEPS:] - heading[:-_HEADING_STEPS]) / (_HEADING_STEPS * STEP_SECONDS)
        middle = np.minimum(speed[_HEADING_STEPS:], speed[:-_HEADING_STEPS])
        acceleration = (speed[_HEADING_STEPS:] - speed[:-_HEADING_STEPS]) / (_HEADING_STEPS * STEP_SECONDS)
        moving = (speed > _MOVING).all(axis=0) | ((speed[0] > _MOVING) & (speed[-1] > _MOVING))
        return cls(
            displacement=np.hypot(*(xy[-1] - xy[0]).T),
            turn=np.where(moving, _wrap(heading[-1] - heading[0]), 0.0),
            speed_loss=-change.min(axis=0),
            speed_gain=change.max(axis=0),
            acceleration=np.abs(acceleration).max(axis=0),
            lateral_acceleration=np.abs(np.where(middle > _MOVING, turned * middle, 0.0)).max(axis=0),
        )


def _wrap(angle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    wrapped: npt.NDArray[np.float64] = (angle + np.pi) % (2 * np.pi) - np.pi
    return wrapped


def find_candidates(
    split: str,
    parts: CityParts,
    drive: Drive,
    motion: Motion,
    junction_lanes: npt.NDArray[np.bool_],
    edges: npt.NDArray[np.int64],
    scenes: SceneParameters,
    interest: InterestParameters,
) -> Candidates:
    """Find all candidates for scenes of a split, with the weights with which they are drawn.

    Args:
        split: train or val.
        parts: parts of the city for each split.
        drive, motion: a simulation and its vehicles' centres.
        junction_lanes: (N,) bool, whether each lane of `drive.lane_names` leads across a junction.
        edges: (N,) int64, number of the street of each lane of `drive.lane_names`.
        scenes, interest: limits of a scene's motion; weights of what happens in it.
    """
    found = []
    steps = len(motion.xy)
    for start in range(0, steps - STEPS + 1, STEPS):
        xy = motion.xy[start : start + STEPS]
        window = Window.of(xy)
        sound = motion.sound[start : start + STEPS].all(axis=0) & parts.within(split, xy).all(axis=0)
        sound &= window.acceleration <= scenes.max_acceleration
        sound &= window.lateral_acceleration <= scenes.max_lateral_acceleration
        agents = np.flatnonzero(sound)
        if not agents.size:
            continue
        lanes = drive.lane[start : start + STEPS, agents]
        weight = _weights(window, xy[LAST_OBSERVED], agents, interest)
        weight += interest.junction * junction_lanes[lanes].any(axis=0)
        moved_over = (np.diff(lanes, axis=0) != 0) & (np.diff(edges[lanes], axis=0) == 0)
        weight += interest.lane_changing * moved_over.any(axis=0)
        place = xy[LAST_OBSERVED, agents]
        av = _nearest_avs(split, parts, xy, motion.sound[start : start + STEPS], agents, scenes)
        first = np.full(len(agents), start)
        found.append(Candidates(first, agents, place, window.displacement[agents], weight, av))
    if not found:
        empty = np.zeros(0, dtype=np.int64)
        return Candidates(empty, empty, np.zeros((0, 2)), np.zeros(0), np.zeros(0), empty)
    return Candidates(*(np.concatenate([getattr(part, name) for part in found]) for name in vars(found[0])))


def _weights(
    window: Window, now: npt.NDArray[np.float64], agents: npt.NDArray[np.int64], interest: InterestParameters
) -> npt.NDArray[np.float64]:
    moving = np.flatnonzero(np.isfinite(window.displacement) & (window.displacement > _MOVING * STEPS * STEP_SECONDS))
    away = np.linalg.norm(now[agents, None] - now[moving], axis=-1)  # [A, M]
    dense = (away < interest.dense_radius).sum(axis=1) >= interest.dense_count
    weight: npt.NDArray[np.float64] = (
        interest.base
        + interest.turning * (np.abs(window.turn[agents]) > np.radians(interest.turn_angle))
        + interest.braking * (window.speed_loss[agents] > interest.speed_change)
        + interest.accelerating * (window.speed_gain[agents] > interest.speed_change)
        + interest.dense * dense
    )
    return weight


def _nearest_avs(
    split: str,
    parts: CityParts,
    xy: npt.NDArray[np.float64],
    sound: npt.NDArray[np.bool_],
    agents: npt.NDArray[np.int64],
    scenes: SceneParameters,
) -> npt.NDArray[np.int64]:
    """Return, for each agent, the nearest vehicle that can be the AV, or -1: (A,) int64."""
    fit = np.flatnonzero(sound.all(axis=0) & (parts.beyond(split, xy) > 0).all(axis=0))
    now = xy[LAST_OBSERVED]
    away = np.linalg.norm(now[agents, None] - now[fit], axis=-1)  # [A, F]
    away[(away < scenes.min_av_distance) | (away > scenes.max_av_distance)] = np.inf
    away[agents[:, None] == fit] = np.inf
    if not fit.size:
        return np.full(len(agents), -1)
    nearest = away.argmin(axis=1)
    return np.where(np.isfinite(away[np.arange(len(agents)), nearest]), fit[nearest], -1)


def choose(
    candidates: Candidates, count: int, scenes: SceneParameters, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw up to `count` candidates by weight, without overlap; return their rows in the order of the draw.

    In the same window, focal agents are at least `scenes.separation` apart; between scenes of the same focal agent lie
    at least `scenes.pause` seconds; at most `scenes.max_standing_fraction` of `count` focal agents stand still. If
    the caller keeps only some of the drawn scenes, the fraction of these may be larger.
    """
    order = np.argsort(-(np.log(np.maximum(candidates.weight, 1e-9)) + random.gumbel(size=len(candidates))))
    standing_left = int(scenes.max_standing_fraction * count)
    chosen: list[int] = []
    by_start: dict[int, list[int]] = {}
    by_vehicle: dict[int, list[int]] = {}
    pause = scenes.pause / STEP_SECONDS + STEPS
    for row in order.tolist():
        start, vehicle = int(candidates.start[row]), int(candidates.vehicle[row])
        if candidates.av[row] < 0:
            continue
        standing = candidates.displacement[row] < scenes.standing_distance
        if standing and not standing_left:
            continue
        near = candidates.place[by_start.get(start, [])] - candidates.place[row]
        if (np.hypot(near[:, 0], near[:, 1]) < scenes.separation).any():
            continue
        if any(abs(start - other) < pause for other in by_vehicle.get(vehicle, [])):
            continue
        standing_left -= standing
        chosen.append(row)
        by_start.setdefault(start, []).append(row)
        by_vehicle.setdefault(vehicle, []).append(start)
        if len(chosen) == count:
            break
    return np.array(chosen, dtype=np.int64)
