"""Measure the quality and speed of goal-set inference, and the speed of evaluating a checkpoint.

Examples:
    python benchmarks/forecasting.py                                         # goal sets, compared with the reference's
    python benchmarks/forecasting.py --scenes data/scenes/val                # also a network of the paper's size
    python benchmarks/forecasting.py --scenes data/scenes/val --checkpoint models/finetuned/none-0

Goal sets are measured on `$SYNTHDRIVE_REFERENCE/golden/goal_sets.npz` (default ../shared). All figures are CPU seconds
on one thread. Without a checkpoint the network has the paper's size and random weights; its goal distribution is then
flat, so that more goals are kept than with a trained network.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.parameters import load_section
from synthdrive.forecasting.forecast_scenes import GoalForecaster
from synthdrive.forecasting.goal_sets import GoalSets, optimise_goal_sets
from synthdrive.models.batch import collate
from synthdrive.models.densetnt import DenseTNT
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import load_forecaster
from training import paper_model

REFERENCE_GOAL_SECONDS = 0.8  # CPU seconds of the published optimiser per scene: 8 runs of 0.1 s
REFERENCE_SCENES_PER_SECOND = 1.2  # per CPU second, including network and completion
SEEDS = 5


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, help="scene store to forecast")
    parser.add_argument("--checkpoint", type=Path, help="fine-tuned model (default: the paper's size, random weights)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameters (default: %(default)s)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    parameters = load_section(EvaluateParameters, "evaluate", given.params)
    golden = Path(os.environ.get("SYNTHDRIVE_REFERENCE", "../shared")) / "golden" / "goal_sets.npz"
    if golden.is_file():
        for weight, best in ((0.0, "minFDE_1s"), (1.0, "MR_0.1s")):
            measure_goal_sets(golden, weight, best, parameters)
    else:
        print(f"goal sets: not measured, because {golden} does not exist", file=sys.stderr)
    if given.scenes:
        measure_evaluation(given.scenes, given.checkpoint, parameters)


def measure_goal_sets(golden: Path, weight: float, best: str, parameters: EvaluateParameters) -> None:
    """Print objective and CPU seconds per scene over several seeds, next to the reference's best of 8 runs."""
    arrays = np.load(golden)
    scenes = [str(scene) for scene in arrays["scene_ids"]]
    reference = np.array([float(arrays[f"{scene}/{best}/E_best"]) for scene in scenes])
    means, worst, seconds = [], [], []
    for seed in range(SEEDS):
        started = time.process_time()
        found = [_optimise(arrays, scene, seed, weight, parameters) for scene in scenes]
        seconds.append((time.process_time() - started) / len(scenes))
        ours = np.array([float(sets.objective) for sets in found])
        means.append(ours.mean())
        worst.append((ours / reference).max())
    print(
        f"goal sets, r = {weight:g}: mean E {np.mean(means):.5f} m ({min(means):.5f} to {max(means):.5f} over {SEEDS} "
        f"seeds) against {reference.mean():.5f} m of {best}; worst scene {max(worst):.4f} times its E_best; "
        f"{np.mean(seconds):.4f} CPU s per scene, {REFERENCE_GOAL_SECONDS / np.mean(seconds):.0f} times less"
    )


def _optimise(
    arrays: np.lib.npyio.NpzFile, scene: str, seed: int, weight: float, parameters: EvaluateParameters
) -> GoalSets:
    goals = torch.from_numpy(arrays[f"{scene}/goals"])[None]
    log_prob = torch.from_numpy(arrays[f"{scene}/log_prob"])[None]
    seeds = torch.tensor([seed])
    valid = torch.ones_like(log_prob, dtype=torch.bool)
    return optimise_goal_sets(
        goals,
        log_prob,
        valid,
        seeds,
        weight,
        parameters.min_probability,
        parameters.num_restarts,
        miss_threshold=parameters.miss_threshold,
    )


def measure_evaluation(scenes: Path, checkpoint: Path | None, parameters: EvaluateParameters) -> None:
    """Print the CPU seconds per scene of batch, network, goal sets and completion."""
    store = SceneStore.load(scenes)
    torch.manual_seed(0)
    network = load_forecaster(checkpoint)[0] if checkpoint else DenseTNT(paper_model(), store.timing).eval()
    forecaster = GoalForecaster(network, parameters, torch.device("cpu"))
    spent = dict.fromkeys(("batch", "network", "goal sets", "completion", "all"), 0.0)
    forecaster.forecast(store, range(min(len(store), parameters.batch_size)))  # warm up
    for first in range(0, len(store), parameters.batch_size):
        block = range(first, min(first + parameters.batch_size, len(store)))
        with torch.no_grad():
            with _timed(spent, "batch"):
                batch = collate(store, block)
            with _timed(spent, "network"):
                found = network.goal_distribution(batch)
            with _timed(spent, "goal sets"):
                seeds = torch.tensor(list(block))
                chosen = forecaster.choose(found.goals, found.log_prob, found.valid, seeds)
            with _timed(spent, "completion"):
                network.complete(found, chosen.goals.float())
        with _timed(spent, "all"):
            forecaster.forecast(store, block)
    parts = ", ".join(f"{name} {seconds / len(store):.4f}" for name, seconds in spent.items() if name != "all")
    rate = len(store) / spent["all"]
    width = network.model.hidden_size
    print(
        f"evaluation, {len(store)} scenes, hidden size {width}: {rate:.1f} scenes per CPU s "
        f"({rate / REFERENCE_SCENES_PER_SECOND:.0f} times the reference's); CPU s per scene: {parts}"
    )


@contextmanager
def _timed(spent: dict[str, float], name: str) -> Iterator[None]:
    started = time.process_time()
    yield
    spent[name] += time.process_time() - started


if __name__ == "__main__":
    main()
