"""Tracking noise, as a detector's tracks have it. Beyond the paper, whose trajectories have none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.parameters.synthesize import NoiseParameters
from synthdrive.scenes.scene_store import STEP_SECONDS

Floats = npt.NDArray[np.float64]


def tracking_noise(shape: tuple[int, ...], noise: NoiseParameters, random: np.random.Generator) -> Floats:
    """Position errors (W, T, 2), metres: Gaussian, stationary, correlated over `memory` seconds along T.

    Their deviation differs from track to track (W) where `spread` is above 0: log-normal, `deviation` its median.
    """
    white = random.standard_normal(shape)
    keep = float(np.exp(-STEP_SECONDS / noise.memory)) if noise.memory > 0 else 0.0
    errors = white.copy()
    for step in range(1, shape[1]):
        errors[:, step] = keep * errors[:, step - 1] + np.sqrt(1.0 - keep**2) * white[:, step]
    deviation = noise.deviation * np.exp(noise.spread * random.standard_normal((shape[0], 1, 1)))
    return np.asarray(deviation * errors)
