"""Evaluation: errors of every scene as Argoverse 1 defines them, metrics by stratum, and the headline metrics.

Definitions (docs/method.md 6): the best of a scene's K most probable trajectories is the one with the smallest endpoint
error. minFDE is that error, minADE is the mean displacement of the same trajectory (not the smallest mean one), and the
scene is missed if minFDE exceeds the miss threshold. With p, the probability of the best trajectory among the K,
p-minADE and p-minFDE add -log p, at most -log 0.05; brier-minADE and brier-minFDE add (1 - p)^2; p-MR is 1 for a missed
scene and 1 - p otherwise. A metric of several scenes is the mean over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.artifacts import atomic_directory, read_table, write_json, write_table
from synthdrive.core.errors import InputError
from synthdrive.forecasting.bootstrap import mean_intervals
from synthdrive.forecasting.forecasts import ARRAYS, Forecasts, check_scenes
from synthdrive.scenes.scene_store import AGENT_TYPE, SceneStore

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

GUESSES = (1, 6)  # values of K
LOWEST_PROBABILITY = 0.05  # lower bound of p in -log p

ERRORS = ("minADE", "minFDE", "MR")
PROBABILISTIC_ERRORS = ("p-minADE", "p-minFDE", "p-MR", "brier-minADE", "brier-minFDE")

ALL = "all"
TURNS = ("left", "right", "straight")
TYPE = "type_"  # prefix of the strata of agent types

ERROR_TABLE, STRATA = "errors.parquet", "strata.json"
OWN_FILES = (ARRAYS, ERROR_TABLE, STRATA)  # of an evaluation, and of no other artifact
IN = "in_"  # prefix of the columns that say which scenes belong to a stratum

HEADLINE = ("minADE6", "minFDE6", "MR6", "brier_minFDE6", "minADE1", "minFDE1", "MR1")
_DIGITS = 6  # decimals of metrics in files; further ones differ between processors


def displacement_errors(
    trajectories: npt.NDArray[np.floating[Any]],
    truth: npt.NDArray[np.floating[Any]],
    guesses: int,
    probabilities: npt.NDArray[np.floating[Any]] | None = None,
    counts: npt.NDArray[np.integer[Any]] | None = None,
    horizon: int | None = None,
    *,
    miss_threshold: float,
) -> dict[str, Floats]:
    """Compute the errors of every scene.

    Args:
        trajectories: (S, M, T, 2) forecasts, metres; the most probable first if there are no `probabilities`.
        truth: (S, T, 2) true futures, metres, same frame.
        guesses: K, the number of trajectories that count in each scene.
        probabilities: (S, M) probabilities, by which trajectories are ranked (equal ones keep their order); those of
            the first K are renormalised.
        counts: (S,) number of trajectories in each scene; defaults to M.
        horizon: number of steps that count; defaults to those of the truth.
        miss_threshold: metres; a scene whose minFDE is above it is missed.

    Returns:
        (S,) float64 for each of ERRORS and, with `probabilities`, each of PROBABILISTIC_ERRORS. Displacements are in
        metres.

    Raises:
        InputError: shapes do not match, or a scene has no trajectory.
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
    best = np.where(present, error[..., -1], np.inf).argmin(axis=1)  # the first one if several are equal
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
        raise InputError("trajectories", f"{fewest} in a scene, {guesses} guesses", "at least one of each")


def strata(
    manifest: pa.Table, slow_below: float, fast_above: float, displacement_edges: Sequence[float]
) -> dict[str, Booleans]:
    """Return which scenes belong to each stratum, (S,) bool by name.

    Strata depend on the focal agent's turn, mean speed, displacement and whether it crosses an intersection, all
    including the future, and on its type (vehicle, pedestrian, ...). Strata whose column is not in the manifest are
    left out.

    Args:
        manifest: manifest of a scene store.
        slow_below, fast_above: m/s, limits of the mean speed.
        displacement_edges: metres from the first to the last step, ascending.
    """
    groups = {ALL: np.ones(manifest.num_rows, dtype=np.bool_)}
    if "turn" in manifest.column_names:
        turn = np.array(manifest["turn"].to_pylist(), dtype=np.str_)
        groups |= {name: turn == name for name in TURNS}
    if "agent_mean_speed" in manifest.column_names:
        speed = manifest["agent_mean_speed"].to_numpy()
        slow, fast = speed < slow_below, speed > fast_above
        groups |= {"slow": slow, "medium": ~slow & ~fast, "fast": fast}
    if "at_intersection" in manifest.column_names:
        inside = manifest["at_intersection"].to_numpy().astype(np.bool_)
        groups |= {"intersection": inside, "no_intersection": ~inside}
    if "agent_displacement" in manifest.column_names:
        displacement = manifest["agent_displacement"].to_numpy()
        edges = [0.0, *displacement_edges, np.inf]
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            name = f"displacement_{low:g}_{high:g}" if np.isfinite(high) else f"displacement_from_{low:g}"
            groups[name] = (displacement >= low) & (displacement < high)
    if AGENT_TYPE in manifest.column_names:
        kinds = np.array(manifest[AGENT_TYPE].to_pylist(), dtype=np.str_)
        groups |= {f"{TYPE}{kind}": kinds == kind for kind in sorted(set(kinds.tolist()))}
    return groups


def scene_errors(forecasts: Forecasts, store: SceneStore, miss_threshold: float) -> dict[str, Floats]:
    """Compute the errors of every scene, (S,) float64 by name.

    Names consist of the metric and K: minADE6 (of the trajectory with the smallest endpoint error), minFDE6, MR6,
    brier_minFDE6, p_minADE6 and so on. In addition, minADE1_1s, minFDE1_1s, minADE1_2s and so on are errors of the most
    probable trajectory over each shorter horizon of whole seconds.

    Raises:
        InputError: the forecasts are not of exactly the store's scenes in its order, or the scenes have no future.
    """
    store.require_future("scenes")
    check_scenes(forecasts, store)
    truth = np.stack([store[index].agent[store.timing.history_steps :] for index in range(len(store))])
    errors: dict[str, Floats] = {}
    for guesses in GUESSES:
        found = displacement_errors(
            forecasts.trajectories, truth, guesses, forecasts.probabilities, miss_threshold=miss_threshold
        )
        names = ERRORS if guesses == 1 else ERRORS + PROBABILISTIC_ERRORS  # p is 1 with one guess
        errors |= {f"{name.replace('-', '_')}{guesses}": found[name] for name in names}
    second = round(1 / store.timing.step_seconds)
    for steps in range(second, store.timing.future_steps, second):
        found = displacement_errors(
            forecasts.trajectories,
            truth,
            1,
            forecasts.probabilities,
            horizon=steps,
            miss_threshold=miss_threshold,
        )
        errors |= {f"{name}1_{steps // second}s": found[name] for name in ("minADE", "minFDE")}
    return errors


def headline_metrics(errors: Mapping[str, Floats]) -> dict[str, float | int]:
    """Return the metrics that `dvc metrics show` prints: means over all scenes, and the number of scenes."""
    means: dict[str, float | int] = {name: round(float(errors[name].mean()), _DIGITS) for name in HEADLINE}
    return means | {"scenes": len(errors[HEADLINE[0]])}


def metrics_by_stratum(
    errors: Mapping[str, Floats], manifest: pa.Table, parameters: EvaluateParameters
) -> dict[str, dict[str, Any]]:
    """Return all metrics with 95 % intervals: {stratum: {"scenes": n, metric: {"mean", "low", "high"}}}."""
    groups = strata(manifest, parameters.slow_below, parameters.fast_above, parameters.displacement_edges)
    values = np.column_stack(list(errors.values()))  # [S, M]
    table: dict[str, dict[str, Any]] = {}
    for group, inside in groups.items():
        table[group] = {"scenes": int(inside.sum())}
        if inside.any():
            intervals = mean_intervals(values[inside], parameters.bootstrap_samples, parameters.seed, "scenes", group)
            for name, interval in zip(errors, intervals, strict=True):
                ends = {"mean": interval.mean, "low": interval.low, "high": interval.high}
                table[group][name] = {end: round(value, _DIGITS) for end, value in ends.items()}
    return table


def score(
    forecasts: Forecasts, store: SceneStore, parameters: EvaluateParameters, details: Path
) -> dict[str, float | int]:
    """Write errors.parquet (one row per scene) and strata.json into `details`; return the headline metrics."""
    errors = scene_errors(forecasts, store, parameters.miss_threshold)
    groups = strata(store.manifest, parameters.slow_below, parameters.fast_above, parameters.displacement_edges)
    columns = {"scene_id": pa.array(forecasts.scene_ids, pa.string())} | {
        name: pa.array(values) for name, values in errors.items()
    }
    columns |= {f"{IN}{name}": pa.array(inside) for name, inside in groups.items() if name != ALL}
    write_table(details / ERROR_TABLE, pa.table(columns))
    write_json(details / STRATA, metrics_by_stratum(errors, store.manifest, parameters))
    return headline_metrics(errors)


def write_evaluation(
    forecasts: Forecasts,
    store: SceneStore,
    parameters: EvaluateParameters,
    metadata: Mapping[str, Any],
    output: Path,
    metrics: Path,
) -> dict[str, float | int]:
    """Write forecasts, metadata, errors and strata into `output`, and write and return the headline metrics."""
    with atomic_directory(output) as partial:
        forecasts.save(partial, metadata)
        headline = score(forecasts, store, parameters, partial)
    write_json(metrics, headline)
    return headline


def load_scene_errors(directory: Path) -> tuple[list[str], dict[str, Floats]]:
    """Read scene ids and the errors of every scene, as written by `score`, for paired comparisons."""
    table = read_table(Path(directory) / ERROR_TABLE, {"scene_id": pa.string()})
    names = [field.name for field in table.schema if field.type == pa.float64()]
    return table["scene_id"].to_pylist(), {name: table[name].to_numpy() for name in names}


def describe(name: str, metrics: Mapping[str, float | int]) -> str:
    """Format the headline metrics as one line."""
    return f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in metrics.items())
