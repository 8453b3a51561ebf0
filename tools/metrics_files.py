"""Metrics files: list those that dvc.lock records, compare two, and compute them again from stored forecasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.artifacts import read_json
from synthdrive.core.errors import InputError
from synthdrive.core.parameters import load_section
from synthdrive.forecasting.evaluate import headline_metrics, scene_errors
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.scenes.scene_store import SceneStore
from tools.dvc_commands import Stages

FOLDER, FORECASTS, SCENES = "metrics", "forecasts", "data/scenes/"
COUNT = "scenes"  # key of the number of scenes
RATE, DISTANCE = "MR6", "minFDE6"  # metrics whose tolerances also apply to other rates and distances
ROUNDING = 1e-5  # difference of metrics of the same forecasts between processors


def recorded_files(stages: Stages) -> list[str]:
    """Return the paths of the metrics files that the stages of dvc.lock write, sorted."""
    return sorted(path for stage in stages.values() for path in _metrics_of(stage))


def _metrics_of(stage: Mapping[str, Any]) -> list[str]:
    paths = [out["path"] for out in stage.get("outs", [])]
    return [path for path in paths if PurePosixPath(path).parent == PurePosixPath(FOLDER)]


def tolerance_of(metric: str, tolerances: Mapping[str, float]) -> float:
    """Return a metric's tolerance: its own, else that of rates or distances; 0 for the number of scenes."""
    if metric == COUNT:
        return 0.0
    return tolerances.get(metric, tolerances.get(RATE if metric.startswith("MR") else DISTANCE, 0.0))


def differences(recorded: Path, again: Path | Mapping[str, Any], tolerances: Mapping[str, float]) -> list[str]:
    """Describe the metrics, of either file, that differ by more than their tolerance between a recorded and a new file.

    Args:
        recorded: the recorded metrics file.
        again: the new metrics file, or its values.
        tolerances: see `tolerance_of`.
    """
    try:
        old, new = read_json(recorded), read_json(again) if isinstance(again, Path) else again
    except InputError as error:
        return [str(error)]
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return [f"{recorded}: no metrics by name"]
    problems = []
    for metric in sorted({*old, *new}):
        was, now, allowed = old.get(metric), new.get(metric), tolerance_of(metric, tolerances)
        if not (isinstance(was, int | float) and isinstance(now, int | float) and abs(float(now) - was) <= allowed):
            problems.append(f"{metric}: recorded {was}, made {now}, allowed difference {allowed}")
    return problems


def scored_again(repository: Path, stages: Stages) -> Iterator[tuple[str, list[str]]]:
    """Yield each metrics file and its differences from the metrics of its stored forecasts, scored again.

    Files whose forecasts or scenes are not in the workspace are left out.
    """
    stores: dict[Path, SceneStore] = {}
    for stage in stages.values():
        scenes = [repository / read["path"] for read in stage.get("deps", []) if read["path"].startswith(SCENES)]
        for path in _metrics_of(stage):
            forecasts = repository / FORECASTS / PurePosixPath(path).stem
            if not forecasts.is_dir() or len(scenes) != 1 or not scenes[0].is_dir():
                continue
            parameters = load_section(EvaluateParameters, "evaluate", repository / "params.yaml")
            try:
                if scenes[0] not in stores:
                    stores[scenes[0]] = SceneStore.load(scenes[0])
                errors = scene_errors(Forecasts.load(forecasts), stores[scenes[0]], parameters.miss_threshold)
            except InputError as error:
                yield path, [str(error)]
                continue
            made = headline_metrics(errors)
            yield path, differences(repository / path, made, dict.fromkeys(made, ROUNDING))
