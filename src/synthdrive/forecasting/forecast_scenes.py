"""Forecasts of a trained network: a goal distribution, six goals, and a trajectory to each (docs/method.md 6).

Scenes are forecast in blocks; an interrupted run keeps its finished blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from synthdrive.core.errors import from_extra

with from_extra("train"):
    import torch
    from torch import Tensor

from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.artifacts import atomic_directory, file_hash
from synthdrive.core.errors import InputError, ParameterError
from synthdrive.core.parallel import ordered_map, track, worker_count
from synthdrive.core.provenance import PROVENANCE, load_provenance, plain_values, run_record, write_provenance
from synthdrive.core.run_folder import RunFolder
from synthdrive.core.seeding import item_seed
from synthdrive.forecasting.fixed_point import fix_goals
from synthdrive.forecasting.forecasts import MODES, Forecasts
from synthdrive.forecasting.goal_sets import GoalSets, optimise_goal_sets, rank_goal_sets
from synthdrive.models.batch import collate
from synthdrive.models.densetnt import DenseTNT
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import discard_states, load_forecaster, run_identity
from synthdrive.training.devices import device_name, repeatable_kernels


def suppress_non_maxima(
    goals: Tensor,
    log_prob: Tensor,
    valid: Tensor,
    distance: float,
    miss_rate_weight: float = 0.0,
    min_probability: float = 0.001,
    temperature: float = 2.0,
    *,
    miss_threshold: float,
) -> GoalSets:
    """Select six goals by non-maximum suppression: the most probable ones that are at least `distance` apart.

    If there are fewer than six, the most probable of the other goals fill up the set (the release fills it up at
    random). A scene with fewer than six goals repeats its most probable one.

    Args:
        goals: (B, D, 2) candidate goals, metres, agent frame.
        log_prob: (B, D) natural logarithms of the candidates' probabilities.
        valid: (B, D) bool, False at padding.
        distance: metres.
        miss_rate_weight, min_probability, temperature, miss_threshold: parameters of the objective that is reported and
            by which the goals are ranked, see `goal_sets`.
    """
    ordered = log_prob.double().masked_fill(~valid, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    xy = goals.double().gather(1, ordered[..., None].expand(-1, -1, 2))  # [B, D, 2], most probable first
    untaken = valid.gather(1, ordered)
    apart = untaken.clone()
    place = torch.arange(xy.shape[1], device=xy.device)
    chosen = []
    for _ in range(MODES):
        candidates = torch.where(apart.any(1, keepdim=True), apart, untaken)
        first = torch.where(candidates, place, xy.shape[1]).amin(1) % xy.shape[1]  # [B]; 0 if none is left
        goal = xy.gather(1, first[:, None, None].expand(-1, 1, 2))  # [B, 1, 2]
        chosen.append(goal)
        untaken = untaken & (place != first[:, None])
        apart = apart & untaken & ((xy - goal).square().sum(-1) >= distance**2)
    fixed = fix_goals(goals, log_prob, valid, min_probability)
    sets = torch.cat(chosen, dim=1)
    return rank_goal_sets(sets, fixed, miss_rate_weight, temperature, miss_threshold=miss_threshold)


class GoalForecaster:
    """Forecaster that selects six goals from the network's goal distribution and completes a trajectory to each.

    Args:
        network: a trained network; it is moved to `device` and put into evaluation mode.
        parameters: parameters of goal selection.
        device: device that the network runs on.
    """

    def __init__(self, network: DenseTNT, parameters: EvaluateParameters, device: torch.device) -> None:
        self.network = network.to(device).eval()
        self.parameters = parameters
        self.device = device

    @torch.no_grad()
    def forecast(self, store: SceneStore, indices: Sequence[int]) -> Forecasts:
        """Forecast the given scenes; each draws random numbers from its own seed."""
        names = [store.scene_ids[index] for index in indices]
        if self.device.type == "cpu":
            torch.set_num_threads(1)  # batches run in parallel threads, and sums must not depend on their number
        batch = collate(store, indices).to(self.device)
        distribution = self.network.goal_distribution(batch)
        seeds = torch.tensor([item_seed(self.parameters.seed, name) for name in names]).to(self.device)
        chosen = self.choose(distribution.goals, distribution.log_prob, distribution.valid, seeds)
        goals = chosen.goals.to(distribution.goals.dtype)
        trajectories = self.network.complete(distribution, goals)  # [B, 6, T, 2]
        trajectories = torch.cat([trajectories[:, :, :-1], goals[:, :, None]], dim=2)  # a trajectory ends at its goal
        return Forecasts.ranked(
            names,
            distribution.frame.to_city(trajectories).float().cpu().numpy(),
            chosen.probabilities.cpu().numpy(),
            chosen.objective.cpu().numpy(),
        )

    def choose(self, goals: Tensor, log_prob: Tensor, valid: Tensor, seeds: Tensor) -> GoalSets:
        """Select six goals for each scene by the method in the parameters; arguments as in `optimise_goal_sets`."""
        given = self.parameters
        objective = {
            "miss_rate_weight": given.miss_rate_weight,
            "min_probability": given.min_probability,
            "temperature": given.temperature,
            "miss_threshold": given.miss_threshold,
        }
        if given.selection == "nms":
            return suppress_non_maxima(goals, log_prob, valid, given.nms_distance, **objective)
        return optimise_goal_sets(goals, log_prob, valid, seeds, num_restarts=given.num_restarts, **objective)


def choose_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is the first GPU, or the CPU if there is none.

    Raises:
        ParameterError: torch knows no such device, or this machine or this build of torch does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # AssertionError: a build without CUDA
        reason = str(error).splitlines()[0][:200]
        raise ParameterError("device", f"{name!r} ({reason})", "cpu, auto, or a GPU that torch can use here") from None
    return device


BLOCK_SCENES = 1024  # the most scenes that are forecast again after an interruption


class Forecaster(Protocol):
    """A trained network or a baseline that forecasts scenes of a store."""

    def forecast(self, store: SceneStore, indices: Sequence[int]) -> Forecasts:
        """Forecast the given scenes, in this order, without using any step after the last observed one."""
        ...


def forecast_scenes(
    forecaster: Forecaster, store: SceneStore, batch_size: int, run_directory: Path | None = None, threads: int = 1
) -> Forecasts:
    """Forecast every scene of a store.

    Args:
        forecaster: called with `batch_size` consecutive scenes at a time, from several threads if `threads` > 1.
        store: the scenes.
        batch_size: number of scenes in a batch.
        run_directory: folder of finished blocks, from which an interrupted run continues. Its name must identify
            everything that determines the forecasts. The caller removes it once the forecasts are written.
        threads: number of batches at a time; the forecasts do not depend on it.

    Raises:
        InputError: the store has no scenes.
    """
    if len(store) == 0:
        raise InputError("scenes", "no scenes", "at least one scene to forecast")
    blocks = [range(first, min(first + BLOCK_SCENES, len(store))) for first in range(0, len(store), BLOCK_SCENES)]
    parts = []
    with ThreadPoolExecutor(threads) as executor:
        for number, block in enumerate(track(blocks, "forecast", len(blocks), "blocks")):
            saved = None if run_directory is None else run_directory / f"block-{number:05d}"
            part = None if saved is None else _finished(saved, store, block)
            if part is None:
                batches = [block[first : first + batch_size] for first in range(0, len(block), batch_size)]
                done = ordered_map(executor, lambda batch: forecaster.forecast(store, batch), batches, 2 * threads)
                part = Forecasts.joined(list(done))
                if saved is not None:
                    with atomic_directory(saved) as partial:
                        part.save(partial)
            parts.append(part)
    return Forecasts.joined(parts)


def _finished(saved: Path, store: SceneStore, block: range) -> Forecasts | None:
    """Return a block that an earlier run finished, or None if it is missing, damaged or of other scenes."""
    if not saved.is_dir():
        return None
    try:
        part = Forecasts.load(saved)
    except InputError:
        return None
    return part if list(part.scene_ids) == [store.scene_ids[index] for index in block] else None


@contextmanager
def checkpoint_forecasts(
    checkpoint: Path,
    scenes: Path,
    parameters: EvaluateParameters,
    device: str = "auto",
    workers: int | None = None,
    runs: Path = Path(".run"),
    provenance: Path = PROVENANCE,
    stage: str = "evaluate",
) -> Iterator[tuple[Forecasts, SceneStore, dict[str, Any]]]:
    """Forecast every scene of a store with a fine-tuned network, in a context in which the caller writes the forecasts.

    The finished blocks of the run are removed only if the context ends without an error, so that an interrupted run can
    continue.

    Args:
        checkpoint: folder of the checkpoint.
        scenes: folder of the scene store; its scenes need no future.
        parameters: parameters of the evaluation.
        device: cpu, cuda, or auto (a GPU if there is one).
        workers: number of batches at a time on a CPU; see `parallel.worker_count`.
        runs: folder of unfinished runs.
        provenance: folder of provenance records; one is written here.
        stage: name of the stage in the record.

    Yields:
        The forecasts, the store, and the forecasts' metadata.

    Raises:
        InputError: checkpoint or store is missing, damaged or empty, or their timings differ.
    """
    repeatable_kernels()
    network, trained = load_forecaster(checkpoint)
    store = SceneStore.load(scenes)
    network.timing.require(store.timing, scenes)
    chosen = choose_device(device)
    inputs = {"checkpoint": file_hash(checkpoint), "scenes": file_hash(scenes)}
    record = run_record({"evaluate": parameters}, inputs, trained["seed"], device_name(chosen), __name__)
    threads = 1 if chosen.type == "cuda" else worker_count(workers)
    name = Path(checkpoint).name
    discard_states(runs, load_provenance(provenance, "finetune", name))
    run = RunFolder(runs, stage, run_identity(record, {}), name)
    with run.held():
        forecaster = GoalForecaster(network, parameters, chosen)
        forecasts = forecast_scenes(forecaster, store, parameters.batch_size, run.path, threads)
        made = {"variant": trained["variant"], "seed": trained["seed"]}
        yield forecasts, store, {"stage": stage, **made, "parameters": plain_values({"evaluate": parameters})}
        write_provenance(provenance, stage, name, {**made, "made_by": record})
        run.clear()
