"""Compare pre-training objectives by how much their loss on held-back windows depends on the encoder.

Example:
    python benchmarks/objectives.py --synthetic data/synthetic --epochs 2      # every row of docs/objectives.md

Each row pre-trains one objective with one seed on one thread, and prints its losses next to those of the blind decoder
(without the encoder) and of predictions without a network; gain is 1 - loss / blind. `straight` extrapolates a lane's
first vector, `quadratic` the trajectory; see `synthdrive.pretraining.reconstruction_floors`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
import yaml

from synthdrive.core.artifacts import read_json
from synthdrive.pretraining.pretrain import pretrain
from synthdrive.training.checkpoints import RECONSTRUCTION
from synthdrive.training.training_run import TrainingRun

OBJECTIVES = {
    "map, by index": {"map_probability": 1.0, "queries": "index"},
    "map, by place": {"map_probability": 1.0, "queries": "place"},
    "trajectory, by index": {"map_probability": 0.0, "queries": "index"},
    "trajectory, by place": {"map_probability": 0.0, "queries": "place"},
    "combined, by index": {"queries": "index"},
    "combined, by place": {"queries": "place"},
    "scene, no rotation": {"objective": "scene", "random_rotation": False},
    "scene, one mode": {"objective": "scene", "random_rotation": False, "modes": 1},
    "scene, 75 % of lanes hidden": {"objective": "scene", "random_rotation": False, "mask_ratio": 0.75},
}


def main() -> None:
    """Pre-train each objective and print its row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--synthetic", type=Path, default=Path("data/synthetic"), help="scene store of windows")
    parser.add_argument("--rows", nargs="*", choices=OBJECTIVES, default=list(OBJECTIVES), help="default: all")
    parser.add_argument("--epochs", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    given = parser.parse_args()
    torch.set_num_threads(1)
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    values["model"] |= {"coordinate_scale": 10.0, "sub_graph_layers": 1}
    values["pretrain"] |= {"epochs": given.epochs, "learning_rate": given.learning_rate}
    print("| objective | lanes | blind | straight | gain | trajectory | blind | quadratic | gain | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in given.rows:
        values["variants"] = {"trial": {"description": name, "pretrain": OBJECTIVES[name]}}
        with tempfile.TemporaryDirectory() as folder:
            parameters = Path(folder) / "params.yaml"
            parameters.write_text(yaml.safe_dump(values), encoding="utf-8")
            out, clock = Path(folder) / "trial", time.process_time()
            run = TrainingRun("trial", given.seed, out, parameters, runs=Path(folder) / "runs", provenance=Path(folder))
            pretrain(run, given.synthetic)
            found, seconds = read_json(out / RECONSTRUCTION), time.process_time() - clock
        cells = [name]
        for kind, floor in (("lanes", "straight"), ("trajectory", "quadratic")):
            losses = found[kind]
            keys = ("loss", "blind", floor)
            cells += ["", "", "", ""] if losses is None else [f"{losses[key]:.3f}" for key in keys]
            cells += [] if losses is None else [f"{losses['gain']:.0%}"]
        print("| " + " | ".join([*cells, f"{seconds:.0f}"]) + " |", flush=True)


if __name__ == "__main__":
    main()
