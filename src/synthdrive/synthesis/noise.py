"""Tracking noise, as a detector's tracks have it. Beyond the paper, whose trajectories have none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.parameters.synthesize import NoiseParameters
from synthdrive.scenes.scene_store import STEP_SECONDS

Floats = npt.NDArray[np.float64]

STANDS = 1e-3  # m in a step; along and across mean nothing to a track that moves less


def tracking_noise(xy: Floats, noise: NoiseParameters, random: np.random.Generator) -> Floats:
    """Position errors (W, T, 2) of tracks `xy` (W, T, 2), metres: Gaussian, stationary, correlated along T.

    Their deviation differs from track to track where `spread` is above 0: log-normal, `deviation` its median. Where
    `across` is below 1, errors across the direction of motion are smaller than errors along it by this factor.
    """
    white = random.standard_normal(xy.shape)
    keep = float(np.exp(-STEP_SECONDS / noise.memory)) if noise.memory > 0 else 0.0
    errors = white.copy()
    for step in range(1, xy.shape[1]):
        errors[:, step] = keep * errors[:, step - 1] + np.sqrt(1.0 - keep**2) * white[:, step]
    deviation = noise.deviation * np.exp(noise.spread * random.standard_normal((len(xy), 1, 1)))
    along, across = np.moveaxis(deviation * errors * np.array([1.0, noise.across]), -1, 0)
    cos, sin = np.moveaxis(_directions(xy), -1, 0)
    return np.stack([cos * along - sin * across, sin * along + cos * across], axis=-1)


def _directions(xy: Floats) -> Floats:
    """(W, T, 2) unit vectors of motion; of the whole track's where it stands for a moment, along x where always."""
    steps = np.gradient(xy, axis=1)
    length = np.hypot(steps[..., 0], steps[..., 1])[..., None]
    whole = xy[:, -1:] - xy[:, :1]
    distance = np.hypot(whole[..., 0], whole[..., 1])[..., None]
    otherwise = np.where(distance > STANDS, whole / np.maximum(distance, STANDS), np.array([1.0, 0.0]))
    directions: Floats = np.where(length > STANDS, steps / np.maximum(length, STANDS), otherwise)
    return directions
