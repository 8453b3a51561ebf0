"""Tracking noise, as a detector's tracks have it. Beyond the paper, whose trajectories have none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synthdrive.parameters.synthesize import NoiseParameters
from synthdrive.scenes.scene_store import STEP_SECONDS

Floats = npt.NDArray[np.float64]


def tracking_noise(shape: tuple[int, ...], noise: NoiseParameters, random: np.random.Generator) -> Floats:
    """Position errors (W, T, 2), metres: Gaussian, stationary, correlated over `memory` seconds along T."""
    white = random.standard_normal(shape)
    keep = float(np.exp(-STEP_SECONDS / noise.memory)) if noise.memory > 0 else 0.0
    errors = white.copy()
    for step in range(1, shape[1]):
        errors[:, step] = keep * errors[:, step - 1] + np.sqrt(1.0 - keep**2) * white[:, step]
    return noise.deviation * errors
