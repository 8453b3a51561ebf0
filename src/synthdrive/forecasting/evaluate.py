"""Evaluation: errors of every scene as Argoverse 1 defines them, metrics by stratum, and the headline numbers.

The definitions (docs/method.md 6): of the K likeliest trajectories of a scene the best is the one with the smallest
endpoint error. minFDE is that error, minADE is the mean displacement OF THAT TRAJECTORY (not the smallest mean
displacement), and the scene is missed when minFDE exceeds the threshold. p-minADE and p-minFDE add -log p of the best
trajectory, at most -log 0.05; brier-minADE and brier-minFDE add (1 - p)^2; p-MR counts 1 for a missed scene and 1 - p
otherwise; p is the trajectory's probability among the K. The figure for a set of scenes is the mean over them.
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
from synthdrive.forecasting.forecasts import Forecasts, check_scenes
from synthdrive.scenes.scene_store import AGENT_TYPE, SceneStore

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

GUESSES = (1, 6)  # K
LOWEST_PROBABILITY = 0.05  # of which -log p is still told apart

ERRORS = ("minADE", "minFDE", "MR")
PROBABILISTIC_ERRORS = ("p-minADE", "p-minFDE", "p-MR", "brier-minADE", "brier-minFDE")

ALL = "all"
TURNS = ("left", "right", "straight")
TYPE = "type_"  # before the name of a type of agent

ERROR_TABLE, STRATA = "errors.parquet", "strata.json"
IN = "in_"  # before the name of a stratum: the column that says which scenes belong to it

HEADLINE = ("minADE6", "minFDE6", "MR6", "brier_minFDE6", "minADE1", "minFDE1", "MR1")
_DIGITS = 6  # of metrics in files: beyond them, sums differ between processors


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


def strata(
    manifest: pa.Table, slow_below: float, fast_above: float, displacement_edges: Sequence[float]
) -> dict[str, Booleans]:
    """Which scenes belong to each stratum, (S,) bool.

    Scenes are told apart by what the agent does, future included: its turn, its mean speed, how far it gets, and
    whether it crosses an intersection; and by what it is (vehicle, pedestrian, ...). Where a manifest has no such
    column, those strata are absent.

    Args:
        manifest: of a scene store.
        slow_below, fast_above: m/s, mean speed of the agent.
        displacement_edges: metres from the first to the last step, rising.
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
    """(S,) float64 errors of every scene.

    Names are the metric and K: minADE6 (of the trajectory with the smallest endpoint error), minFDE6, MR6,
    brier_minFDE6, p_minADE6 and so on; and minADE1_1s, minFDE1_1s, minADE1_2s, minFDE1_2s and so on of the likeliest
    trajectory over each shorter horizon of whole seconds.

    Raises:
        InputError: the forecasts are not of exactly these scenes in this order, or the scenes have no future.
    """
    store.require_future("scenes")
    check_scenes(forecasts, store)
    truth = np.stack([store[index].agent[store.timing.history_steps :] for index in range(len(store))])
    errors: dict[str, Floats] = {}
    for guesses in GUESSES:
        found = displacement_errors(
            forecasts.trajectories, truth, guesses, forecasts.probabilities, miss_threshold=miss_threshold
        )
        names = ERRORS if guesses == 1 else ERRORS + PROBABILISTIC_ERRORS  # with one guess p is 1
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
    """The few numbers that `dvc metrics show` is for: means over all scenes, and how many they are."""
    means: dict[str, float | int] = {name: round(float(errors[name].mean()), _DIGITS) for name in HEADLINE}
    return means | {"scenes": len(errors[HEADLINE[0]])}


def metrics_by_stratum(
    errors: Mapping[str, Floats], manifest: pa.Table, parameters: EvaluateParameters
) -> dict[str, dict[str, Any]]:
    """Every metric in every stratum: {stratum: {"scenes": n, metric: {"mean", "low", "high"}}}; 95 % intervals."""
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
    """Write errors.parquet (a row per scene) and strata.json into a directory; returns the headline metrics."""
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
    """Write forecasts, metadata, errors and strata into `output`, and the headline numbers to `metrics`."""
    with atomic_directory(output) as partial:
        forecasts.save(partial, metadata)
        headline = score(forecasts, store, parameters, partial)
    write_json(metrics, headline)
    return headline


def load_scene_errors(directory: Path) -> tuple[list[str], dict[str, Floats]]:
    """Scene ids and the errors of every scene, as `score` wrote them; for paired comparisons."""
    table = read_table(Path(directory) / ERROR_TABLE, {"scene_id": pa.string()})
    names = [field.name for field in table.schema if field.type == pa.float64()]
    return table["scene_id"].to_pylist(), {name: table[name].to_numpy() for name in names}


def load_scene_strata(directory: Path) -> dict[str, Booleans]:
    """(S,) bool for every stratum but the one of all scenes, as `score` wrote them."""
    table = read_table(Path(directory) / ERROR_TABLE, {"scene_id": pa.string()})
    names = [field.name for field in table.schema if field.type == pa.bool_()]
    return {name.removeprefix(IN): table[name].to_numpy() for name in names}


def describe(name: str, metrics: Mapping[str, float | int]) -> str:
    """The headline numbers in a line."""
    return f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in metrics.items())
