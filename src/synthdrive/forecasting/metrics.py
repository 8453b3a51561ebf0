"""Displacement errors and miss rate, as Argoverse 1 defines them (docs/method.md 6).

Of the K likeliest trajectories of a scene the best is the one with the smallest endpoint error. minFDE is that error,
minADE is the mean displacement OF THAT TRAJECTORY (not the smallest mean displacement), and the scene is missed when
minFDE exceeds the threshold. p-minADE and p-minFDE add -log p of the best trajectory, at most -log 0.05; brier-minADE
and brier-minFDE add (1 - p)^2; p-MR counts 1 for a missed scene and 1 - p otherwise; p is the trajectory's probability
among the K. The figure for a set of scenes is the mean over them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import InputError

Floats = npt.NDArray[np.float64]

GUESSES = (1, 6)  # K
MISS_THRESHOLD = 2.0  # metres
LOWEST_PROBABILITY = 0.05  # of which -log p is still told apart

ERRORS = ("minADE", "minFDE", "MR")
PROBABILISTIC_ERRORS = ("p-minADE", "p-minFDE", "p-MR", "brier-minADE", "brier-minFDE")


def displacement_errors(
    trajectories: npt.NDArray[np.floating[Any]],
    truth: npt.NDArray[np.floating[Any]],
    guesses: int,
    probabilities: npt.NDArray[np.floating[Any]] | None = None,
    counts: npt.NDArray[np.integer[Any]] | None = None,
    horizon: int | None = None,
    miss_threshold: float = MISS_THRESHOLD,
) -> dict[str, Floats]:
    """Errors of every scene.

    Args:
        trajectories: (S, M, T, 2) forecasts, metres; likeliest first where there are no probabilities.
        truth: (S, T, 2) metres, same frame.
        guesses: K, how many of a scene's trajectories count.
        probabilities: (S, M); trajectories are ranked by them (equal ones keep their order) and the K first are
            renormalised.
        counts: (S,) how many of the M trajectories a scene has; all where absent.
        horizon: steps that count; all of the truth where absent.
        miss_threshold: metres.

    Returns:
        (S,) float64 for each of ERRORS, and of PROBABILISTIC_ERRORS where there are probabilities.

    Raises:
        InputError: shapes do not fit, or a scene has no trajectory.
    """
    horizon = truth.shape[1] if horizon is None and truth.ndim > 1 else horizon or 1
    _check_shapes(trajectories, truth, guesses, probabilities, counts, horizon)
    scenes, modes = trajectories.shape[:2]
    present = np.arange(modes) < (np.full(scenes, modes) if counts is None else counts)[:, None]  # [S, M]
    rank = np.broadcast_to(np.arange(modes), present.shape)
    if probabilities is not None:
        rank = np.argsort(np.where(present, -probabilities.astype(np.float64), np.inf), axis=1, kind="stable")
    rank = rank[:, :guesses]  # [S, K]
    present = np.take_along_axis(present, rank, axis=1)
    steps = trajectories[:, :, :horizon].astype(np.float64)[np.arange(scenes)[:, None], rank]  # [S, K, T, 2]
    error = np.sqrt(np.square(steps - truth[:, None, :horizon].astype(np.float64)).sum(-1))  # [S, K, T]
    best = np.where(present, error[..., -1], np.inf).argmin(axis=1)  # the first of equals
    chosen = error[np.arange(scenes), best]  # [S, T]
    errors = {"minADE": chosen.mean(axis=1), "minFDE": chosen[:, -1]}
    errors["MR"] = (errors["minFDE"] > miss_threshold).astype(np.float64)
    if probabilities is not None:
        kept = np.where(present, np.take_along_axis(probabilities.astype(np.float64), rank, axis=1), 0.0)
        errors |= _probabilistic_errors(errors, kept[np.arange(scenes), best] / kept.sum(axis=1))
    return errors


def _probabilistic_errors(errors: dict[str, Floats], probability: Floats) -> dict[str, Floats]:
    surprise = -np.log(np.maximum(probability, LOWEST_PROBABILITY))
    brier = np.square(1.0 - probability)
    return {
        "p-minADE": errors["minADE"] + surprise,
        "p-minFDE": errors["minFDE"] + surprise,
        "p-MR": np.where(errors["MR"] > 0, 1.0, 1.0 - probability),
        "brier-minADE": errors["minADE"] + brier,
        "brier-minFDE": errors["minFDE"] + brier,
    }


def _check_shapes(
    trajectories: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    guesses: int,
    probabilities: npt.NDArray[Any] | None,
    counts: npt.NDArray[Any] | None,
    horizon: int,
) -> None:
    if trajectories.ndim != 4 or trajectories.shape[-1] != 2 or trajectories.shape[2] < horizon:
        raise InputError("trajectories", f"shape {trajectories.shape}", f"(S, M, T, 2) with T of at least {horizon}")
    scenes, modes = trajectories.shape[:2]
    if truth.ndim != 3 or len(truth) != scenes or truth.shape[1] < horizon or truth.shape[2] != 2:
        raise InputError("truth", f"shape {truth.shape}", f"({scenes}, T, 2) with T of at least {horizon}")
    if probabilities is not None and probabilities.shape != (scenes, modes):
        raise InputError("probabilities", f"shape {probabilities.shape}", f"({scenes}, {modes})")
    fewest = modes if counts is None or not len(counts) else int(counts.min())
    if guesses < 1 or fewest < 1:
        raise InputError("trajectories", f"{fewest} of a scene, {guesses} guesses", "at least one of each")
