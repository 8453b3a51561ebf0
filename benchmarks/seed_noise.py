"""Measure how much the results of a variant differ between seeds, with and without options that may reduce this.

Example, after `make repro`:
    python benchmarks/seed_noise.py --seeds 5     # about 20 CPU minutes

Each row trains the variant `none` of params.yaml with one option changed, on one thread, and prints mean and standard
deviation over the seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.parameters import load_section
from synthdrive.finetuning.finetune import finetune
from synthdrive.forecasting.evaluate import headline_metrics, scene_errors
from synthdrive.forecasting.forecast_scenes import checkpoint_forecasts
from synthdrive.training.training_run import TrainingRun

VARIANT = "none"
OPTIONS: dict[str, dict[str, dict[str, float]]] = {
    "as in params.yaml": {},
    "warm-up of 0.2 epochs": {"finetune": {"warmup_epochs": 0.2}},
    "gradient not clipped": {"finetune": {"max_grad_norm": 0.0}},
    "average of the weights, 0.99": {"finetune": {"ema_decay": 0.99}},
    "nearest goal as the only label": {"finetune": {"goal_label_std": 0.0}},
    "coordinates in 10 m and in 1 m": {"model": {"second_coordinate_scale": 1.0}},
}
METRICS = (("MR6", 100.0, 1), ("minFDE6", 1.0, 3), ("minADE6", 1.0, 3))  # name, factor, decimals


def main() -> None:
    """Train every row's seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, default=Path("data/scenes/train"), help="default: %(default)s")
    parser.add_argument("--val", type=Path, default=Path("data/scenes/val"), help="default: %(default)s")
    parser.add_argument("--rows", nargs="*", choices=OPTIONS, default=list(OPTIONS), help="default: all")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0 (default: %(default)s)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    print("| option | MR6 (%) | minFDE6 (m) | minADE6 (m) | CPU s per run |\n|---|---|---|---|---|")
    for name in given.rows:
        changed = {**values, "variants": {VARIANT: {**values["variants"][VARIANT], **OPTIONS[name]}}}
        clock = time.process_time()
        found = [_train_and_score(changed, seed, given.train, given.val) for seed in range(given.seeds)]
        seconds = (time.process_time() - clock) / given.seeds
        print(f"| {name} | {' | '.join(_spread(found, *metric) for metric in METRICS)} | {seconds:.0f} |", flush=True)


def _train_and_score(values: Mapping[str, Any], seed: int, train: Path, val: Path) -> dict[str, float | int]:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        parameters, runs = Path(folder) / "params.yaml", Path(folder) / "runs"
        parameters.write_text(yaml.safe_dump(dict(values)), encoding="utf-8")
        run = TrainingRun(VARIANT, seed, Path(folder) / f"{VARIANT}-{seed}", parameters, runs=runs, provenance=runs)
        finetune(run, train)
        evaluate = load_section(EvaluateParameters, "evaluate", parameters)
        with checkpoint_forecasts(run.out, val, evaluate, "cpu", 1, runs, runs) as (forecasts, store, _):
            return headline_metrics(scene_errors(forecasts, store, evaluate.miss_threshold))


def _spread(found: list[dict[str, float | int]], metric: str, factor: float, digits: int) -> str:
    """Return mean ± sample standard deviation of a metric over the runs."""
    values = factor * np.array([each[metric] for each in found])
    deviation = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{deviation}"


if __name__ == "__main__":
    main()
