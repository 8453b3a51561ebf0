"""Print the speed of every stage next to the reference's, in scenes per CPU second on one thread.

Examples:
    python benchmarks                                                               # on made-up scenes
    python benchmarks --scenes data/scenes/train --windows data/synthetic           # on the default's data
    python benchmarks --stages finetune --sizes default --seconds 5

Made-up scenes have the mean size of the reference's (23.5 actors, 48 lanes); made-up windows contain AGENT only.
Evaluation uses the network that fine-tuning has just trained for a while; start-up time is not included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.config.training import FinetuneParameters, ModelParameters, PretrainParameters
from synthdrive.core.parameters import load_section
from synthdrive.forecasting.forecast_scenes import GoalForecaster
from synthdrive.models.densetnt import DenseTNT
from synthdrive.scenes.scene_store import SceneStore
from training import PARAMETERS, Speed, paper_model, paper_training, train_for_a_while, write_made_up_store

STAGES = ("finetune", "pretrain", "evaluate")
SIZES = ("paper", "default")
# For networks of the paper's size, in scenes per CPU second: the authors' and DenseTNT's code on one core of a 2-core
# x86-64 machine, and the goal of this package.
REFERENCE = {"finetune": "6.7", "pretrain": "5 to 7", "evaluate": "1.2"}
GOAL = {"finetune": 33, "pretrain": 80, "evaluate": 50}
FIRST_STEPS = 2
PAPER_DEVICE_BATCH = {"finetune": 16, "pretrain": 32}


@dataclass(frozen=True)
class Training:
    """Stage, network, optimisation and scene store of one row of the table."""

    stage: str
    model: ModelParameters
    parameters: Any
    store: Path


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, help="scene store for fine-tuning and evaluation (default: made up)")
    parser.add_argument("--windows", type=Path, help="scene store for pre-training (default: made up)")
    parser.add_argument("--stages", nargs="*", choices=STAGES, default=STAGES, help="default: all")
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=SIZES, help="network sizes (default: both)")
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU seconds per figure (default: %(default)s)")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        scenes = given.scenes or write_made_up_store(Path(scratch) / "scenes", 300, others=22.5)
        windows = given.windows or write_made_up_store(Path(scratch) / "windows", 300, others=0.0)
        for size in given.sizes:
            network = None
            for stage in ("finetune", "pretrain"):
                if stage in given.stages or (stage == "finetune" and "evaluate" in given.stages):
                    store = scenes if stage == "finetune" else windows
                    speed, trained = measure(training(stage, size, store), given.seconds)
                    network = trained if stage == "finetune" else network
                    if stage in given.stages:
                        rows.append((stage, size, speed.scenes / speed.cpu))
            if "evaluate" in given.stages:
                rows.append(("evaluate", size, evaluate(cast(DenseTNT, network), scenes, given.seconds)))
    print("| scenes per CPU second | network | here | reference | goal |")
    print("|---|---|---|---|---|")
    for stage in STAGES:
        for row, size, found in rows:
            if row == stage:
                beside = (REFERENCE[stage], GOAL[stage]) if size == "paper" else ("", "")
                print(f"| {stage} | {size} | {found:.1f} | {beside[0]} | {beside[1]} |")


def training(stage: str, size: str, store: Path) -> Training:
    """Return network and optimisation on one thread, with the paper's sizes or those of params.yaml."""
    schemas: dict[str, Any] = {"finetune": FinetuneParameters, "pretrain": PretrainParameters}
    if size == "paper":
        batch = PAPER_DEVICE_BATCH[stage]
        parameters = replace(paper_training(stage), global_batch_size=batch, micro_batch_size=batch, cpu_threads=1)
        return Training(stage, paper_model(), parameters, store)
    model = load_section(ModelParameters, "model", PARAMETERS)
    return Training(stage, model, replace(load_section(schemas[stage], stage, PARAMETERS), cpu_threads=1), store)


def measure(given: Training, seconds: float) -> tuple[Speed, torch.nn.Module]:
    """Train for about `seconds` CPU seconds; return the speed and the network."""
    first, _ = train_for_a_while(given.stage, given.store, given.model, given.parameters, FIRST_STEPS)
    steps = max(FIRST_STEPS, round(seconds / 2 * FIRST_STEPS / first.cpu))
    return train_for_a_while(given.stage, given.store, given.model, given.parameters, steps)


def evaluate(network: DenseTNT, directory: Path, seconds: float) -> float:
    """Return the scenes per CPU second of the network, goal-set optimisation and completion together."""
    parameters = load_section(EvaluateParameters, "evaluate", PARAMETERS)
    forecaster, store = GoalForecaster(network, parameters, torch.device("cpu")), SceneStore.load(directory)
    done, started = 0, time.process_time()
    while time.process_time() - started < seconds / 2:
        first = done % max(1, len(store) - parameters.batch_size)
        block = range(first, min(first + parameters.batch_size, len(store)))
        forecaster.forecast(store, block)
        done += len(block)
    return done / (time.process_time() - started)


if __name__ == "__main__":
    main()
