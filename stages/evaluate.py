"""Stage evaluate: forecasts of a trained model on recorded scenes, and their metrics."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.artifacts import check_replaceable
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.core.provenance import PROVENANCE
from synthdrive.forecasting.evaluate import OWN_FILES, describe, write_evaluation
from synthdrive.forecasting.forecast_scenes import checkpoint_forecasts
from synthdrive.scenes.scene_store import SceneStore


def main() -> None:
    """Load the checkpoint, forecast every scene, and write forecasts and metrics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder of a fine-tuned model")
    parser.add_argument(
        "--scenes", type=Path, default=Path("data/scenes/val"), help="scene store (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="folder for the forecasts (default: forecasts/<checkpoint's name>)")
    parser.add_argument("--metrics", type=Path, help="metrics file (default: metrics/<checkpoint's name>.json)")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: a GPU if there is one")
    parser.add_argument(
        "--workers", type=int, help="batches at a time on a CPU (default: SYNTHDRIVE_WORKERS, else one per processor)"
    )
    parser.add_argument("--runs", type=Path, default=Path(".run"), help="folder from which an interrupted run resumes")
    parser.add_argument("--provenance", type=Path, default=PROVENANCE, help="folder of provenance (%(default)s)")
    arguments = parser.parse_args()
    name = arguments.checkpoint.name
    with exit_on_error():
        parameters = load_section(EvaluateParameters, "evaluate", arguments.params)
        out = arguments.out or Path("forecasts") / name
        check_replaceable(out, OWN_FILES)
        SceneStore.load(arguments.scenes, check=False).require_future(arguments.scenes)
        metrics = arguments.metrics or Path("metrics") / f"{name}.json"
        with checkpoint_forecasts(
            arguments.checkpoint,
            arguments.scenes,
            parameters,
            arguments.device,
            arguments.workers,
            arguments.runs,
            arguments.provenance,
        ) as (forecasts, store, metadata):
            headline = write_evaluation(forecasts, store, parameters, metadata, out, metrics)
        print(describe(name, headline), file=sys.stderr)


if __name__ == "__main__":
    main()
