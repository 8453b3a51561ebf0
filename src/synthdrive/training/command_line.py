"""Command line of the two training stages, pretrain and finetune."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthdrive.core.parameters import DEFAULT_PATH
from synthdrive.core.provenance import PROVENANCE
from synthdrive.training.training_run import RUNS, TrainingRun


def training_parser(description: str | None, checkpoints: str) -> argparse.ArgumentParser:
    """Return a parser of the options that both stages have; a stage adds those of its data.

    Args:
        description: text of the stage's help.
        checkpoints: folder in which the stage writes its checkpoint by default.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", required=True, help="an entry of `variants` in the parameters")
    parser.add_argument("--seed", required=True, type=int, help="training seed")
    parser.add_argument("--out", type=Path, help=f"checkpoint (default: {checkpoints}/<variant>-<seed>)")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters (default: %(default)s)")
    parser.add_argument("--curve", type=Path, help="also write the training curve to this CSV file")
    parser.add_argument("--workers", type=int, help="loading processes (default: 0 on a CPU, up to 8 per GPU)")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of states to resume from (%(default)s)")
    parser.add_argument("--provenance", type=Path, default=PROVENANCE, help="folder of provenance (%(default)s)")
    parser.set_defaults(checkpoints=Path(checkpoints))
    return parser


def requested_run(arguments: argparse.Namespace) -> TrainingRun:
    """Return the run that the arguments of `training_parser` ask for."""
    return TrainingRun(
        variant=arguments.variant,
        seed=arguments.seed,
        out=arguments.out or arguments.checkpoints / f"{arguments.variant}-{arguments.seed}",
        parameters=arguments.params,
        curve=arguments.curve,
        workers=arguments.workers,
        runs=arguments.runs,
        provenance=arguments.provenance,
    )
