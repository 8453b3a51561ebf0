"""Stage pretrain: masked reconstruction (or forecasting) on synthetic windows, for one variant and seed.

On one device, run `python stages/pretrain.py ...`. For several, set SYNTHDRIVE_PROCESSES, or start it with torchrun or
`accelerate launch --config_file accelerate.yaml`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.core.errors import exit_on_error
from synthdrive.core.provenance import PROVENANCE
from synthdrive.pretraining.pretrain import pretrain
from synthdrive.training.training_run import RUNS, TrainingRun


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", required=True, help="an entry of `variants` in the parameters")
    parser.add_argument("--seed", required=True, type=int, help="training seed")
    parser.add_argument("--synthetic", type=Path, default=Path("data/synthetic"), help="scene store of windows")
    parser.add_argument("--out", type=Path, help="checkpoint (default: models/pretrained/<variant>-<seed>)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameters (default: %(default)s)")
    parser.add_argument("--curve", type=Path, help="also write the training curve to this CSV file")
    parser.add_argument("--workers", type=int, help="loading processes (default: 0 on a CPU, up to 8 per GPU)")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of states to resume from (%(default)s)")
    parser.add_argument("--provenance", type=Path, default=PROVENANCE, help="folder for its provenance (%(default)s)")
    arguments = parser.parse_args()
    out = arguments.out or Path(f"models/pretrained/{arguments.variant}-{arguments.seed}")
    with exit_on_error():
        run = TrainingRun(
            arguments.variant,
            arguments.seed,
            out,
            arguments.params,
            arguments.curve,
            arguments.workers,
            arguments.runs,
            arguments.provenance,
        )
        pretrain(run, arguments.synthetic)


if __name__ == "__main__":
    main()
