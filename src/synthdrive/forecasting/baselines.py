"""Baselines that learn nothing: what a forecast must beat to be worth its network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from synthdrive.forecasting.forecasts import MODES, Forecasts
from synthdrive.forecasting.lane_following import lane_paths, points_along
from synthdrive.scenes.scene_store import HORIZON, LAST_OBSERVED, OBSERVED_STEPS, SceneStore

Floats = npt.NDArray[np.float64]

VELOCITY_STEPS = 6  # the velocity is the mean over the last 6 steps
SPEED_FACTORS = (1.0, 0.75, 1.25, 0.5, 1.5, 0.25)  # of the six guesses, likeliest first
SPEED_WEIGHTS = (1.0, 0.6, 0.6, 0.3, 0.3, 0.2)
OFFSET_METRES = 20.0  # of driving, in which the distance to the centreline falls to 1/e


class ConstantVelocity:
    """AGENT goes on with the mean velocity of its last 6 steps; the other five guesses go slower or faster."""

    name = "constant_velocity"

    def forecast(self, store: SceneStore, indices: Sequence[int]) -> Forecasts:
        """Forecasts of these scenes."""
        agents = agent_tracks(store, indices)
        step = observed_velocity(agents)  # [B, 2]
        times = np.arange(1, HORIZON + 1)
        factors = np.array(SPEED_FACTORS)
        moved = step[:, None, None] * (factors[:, None] * times)[None, ..., None]  # [B, 6, 30, 2]
        weights = np.tile(SPEED_WEIGHTS, (len(agents), 1))
        return Forecasts.ranked(scene_ids(store, indices), agents[:, LAST_OBSERVED, None, None] + moved, weights)


class LaneFollowing:
    """AGENT follows the lanes ahead at its present speed, one guess a way, then slower and faster along the best ways.

    A scene without a lane near the agent in its direction is forecast with constant velocity.
    """

    name = "lane_following"

    def forecast(self, store: SceneStore, indices: Sequence[int]) -> Forecasts:
        """Forecasts of these scenes."""
        agents = agent_tracks(store, indices)
        steps = observed_velocity(agents)
        fallback = ConstantVelocity().forecast(store, indices)
        trajectories = fallback.trajectories.astype(np.float64)
        weights = fallback.probabilities.astype(np.float64)
        for row, index in enumerate(indices):
            scene = store[index]
            lanes = store.lanes.take(scene.lane_rows)
            position = agents[row, LAST_OBSERVED]
            paths, likely = lane_paths(lanes, scene.origin, position, heading(agents[row]), _reach(steps[row]))
            if paths:
                trajectories[row], weights[row] = _guesses(paths, likely, position, float(np.hypot(*steps[row])))
        return Forecasts.ranked(scene_ids(store, indices), trajectories, weights)


BASELINES = {baseline.name: baseline for baseline in (ConstantVelocity, LaneFollowing)}


def agent_tracks(store: SceneStore, indices: Sequence[int]) -> Floats:
    """(B, 50, 2) AGENT's tracks, metres, city axes, relative to each scene's origin."""
    return np.stack([store[index].agent for index in indices]).astype(np.float64)


def scene_ids(store: SceneStore, indices: Sequence[int]) -> list[str]:
    """Names of these scenes."""
    return [store.scene_ids[index] for index in indices]


def observed_velocity(agents: Floats) -> Floats:
    """(B, 2) metres per step, the mean over the last observed steps."""
    past = agents[:, LAST_OBSERVED - VELOCITY_STEPS]
    velocity: Floats = (agents[:, LAST_OBSERVED] - past) / VELOCITY_STEPS
    return velocity


def heading(agent: Floats) -> Floats:
    """(2,) unit vector of the last observed half metre at least; of the whole history where it is shorter."""
    moved = agent[LAST_OBSERVED] - agent[:OBSERVED_STEPS]  # [20, 2]
    length = np.hypot(moved[:, 0], moved[:, 1])
    far = np.flatnonzero(length[:-VELOCITY_STEPS] > 0.5)
    start = int(far[-1]) if far.size else 0
    return moved[start] / length[start] if length[start] > 0 else np.array([1.0, 0.0])


def _reach(step: Floats) -> float:
    """Metres of lane that the fastest guess covers."""
    return float(np.hypot(*step)) * HORIZON * max(SPEED_FACTORS) + 1.0


def _guesses(paths: list[Floats], likely: Floats, position: Floats, speed: float) -> tuple[Floats, Floats]:
    """(6, 30, 2) trajectories along the paths, and their weights: every path at the present speed first."""
    pairs = [(way, 0) for way in range(len(paths))]
    rest = [(way, factor) for factor in range(1, MODES) for way in range(len(paths))]
    rest.sort(key=lambda pair: -likely[pair[0]] * SPEED_WEIGHTS[pair[1]])
    pairs = (pairs + rest)[:MODES]
    trajectories = np.empty((MODES, HORIZON, 2))
    for mode, (way, factor) in enumerate(pairs):
        travelled: Floats = speed * SPEED_FACTORS[factor] * np.arange(1.0, HORIZON + 1)
        fade = np.exp(-travelled / OFFSET_METRES)
        offset = position - paths[way][0]
        trajectories[mode] = points_along(paths[way], travelled) + fade[:, None] * offset
    weights = np.array([likely[way] * SPEED_WEIGHTS[factor] for way, factor in pairs])
    return trajectories, weights
