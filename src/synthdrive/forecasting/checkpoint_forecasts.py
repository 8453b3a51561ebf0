"""Forecasts of a checkpoint on the scenes of a store, with the card that says what made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthdrive.artifacts import file_hash
from synthdrive.forecasting.forecast_scenes import forecast_scenes
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.forecasting.goal_forecaster import GoalForecaster, choose_device
from synthdrive.parallel import worker_count
from synthdrive.parameters.evaluate import EvaluateParameters
from synthdrive.run_folder import RunFolder
from synthdrive.run_record import run_record
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.devices import device_name
from synthdrive.training.forecaster import load_forecaster
from synthdrive.training.resume import discard_states


def checkpoint_forecasts(
    checkpoint: Path,
    scenes: Path,
    parameters: EvaluateParameters,
    device: str = "auto",
    workers: int | None = None,
    runs: Path = Path(".run"),
) -> tuple[Forecasts, SceneStore, dict[str, Any]]:
    """Forecast every scene of a store with a fine-tuned model.

    Args:
        checkpoint: folder of the model.
        scenes: folder of the store; its scenes need no future.
        device: cpu, cuda, or auto (a GPU where there is one).
        workers: batches at a time on a CPU; see `parallel.worker_count`.
        runs: where an interrupted run goes on from.

    Returns:
        The forecasts, the store, and the forecasts' card.

    Raises:
        InputError: checkpoint or store are missing, damaged, or empty.
    """
    network, trained = load_forecaster(checkpoint)
    store = SceneStore.load(scenes)
    chosen = choose_device(device)
    inputs = {"checkpoint": file_hash(checkpoint), "scenes": file_hash(scenes)}
    record = run_record({"evaluate": parameters}, inputs, trained["seed"], device_name(chosen))
    threads = 1 if chosen.type == "cuda" else worker_count(workers)
    discard_states(runs, trained)
    run = RunFolder(runs, "evaluate", record, Path(checkpoint).name)
    with run.held():
        forecaster = GoalForecaster(network, parameters, chosen)
        forecasts = forecast_scenes(forecaster, store, parameters.batch_size, run.path, threads)
    return forecasts, store, {"stage": "evaluate", "arm": trained["arm"], "seed": trained["seed"], "run": record}
