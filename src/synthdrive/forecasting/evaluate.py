"""Evaluation: from forecasts and scenes to errors per scene, metrics per stratum, and the headline numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.artifacts import atomic_directory, read_table, write_json, write_table
from synthdrive.forecasting.bootstrap import mean_intervals
from synthdrive.forecasting.forecasts import Forecasts, check_scenes
from synthdrive.forecasting.metrics import ERRORS, GUESSES, PROBABILISTIC_ERRORS, displacement_errors
from synthdrive.scenes.scene_store import AGENT_TYPE, SceneStore

Booleans = npt.NDArray[np.bool_]

ALL = "all"
TURNS = ("left", "right", "straight")
TYPE = "type_"  # before the name of a type of agent


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


Floats = npt.NDArray[np.float64]

ERROR_TABLE, STRATA = "errors.parquet", "strata.json"
IN = "in_"  # before the name of a stratum: the column that says which scenes belong to it

HEADLINE = ("minADE6", "minFDE6", "MR6", "brier_minFDE6", "minADE1", "minFDE1", "MR1")
_DIGITS = 6  # of metrics in files: beyond them, sums differ between processors


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
        found = displacement_errors(forecasts.trajectories, truth, 1, forecasts.probabilities, horizon=steps)
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
