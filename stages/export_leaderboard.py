"""Write a submission to a motion forecasting leaderboard, from a checkpoint or stored forecasts.

The name of the file decides the format: .h5 for Argoverse 1, .parquet for Argoverse 2. The leaderboard's test scenes
have only the observed steps; `stages/ingest.py --test-out` reads them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.errors import ParameterError, exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.forecasting.forecast_scenes import checkpoint_forecasts
from synthdrive.forecasting.forecasts import Forecasts, check_scenes
from synthdrive.forecasting.leaderboard_files import write_leaderboard_file, write_submission
from synthdrive.scenes.scene_store import SceneStore


def main() -> None:
    """Forecast the scenes or read their forecasts, and write the submission."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, help="folder of the fine-tuned model that makes the forecasts")
    source.add_argument("--forecasts", type=Path, help="folder written by evaluate")
    parser.add_argument(
        "--scenes", type=Path, default=Path("data/scenes/val"), help="scene store (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write, .h5 or .parquet")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: a GPU if there is one")
    parser.add_argument(
        "--workers", type=int, help="batches at a time on a CPU (default: SYNTHDRIVE_WORKERS, else one per processor)"
    )
    parser.add_argument("--runs", type=Path, default=Path(".run"), help="folder from which an interrupted run resumes")
    arguments = parser.parse_args()
    with exit_on_error():
        if arguments.out.suffix not in (".h5", ".parquet"):
            raise ParameterError("--out", repr(arguments.out.name), "a name that ends with .h5 or .parquet")
        if arguments.forecasts is None:
            parameters = load_section(EvaluateParameters, "evaluate", arguments.params)
            with checkpoint_forecasts(
                arguments.checkpoint,
                arguments.scenes,
                parameters,
                arguments.device,
                arguments.workers,
                arguments.runs,
                stage="export_leaderboard",
            ) as (forecasts, store, _):
                _write(arguments.out, forecasts, store)
        else:
            forecasts, store = Forecasts.load(arguments.forecasts), SceneStore.load(arguments.scenes)
            check_scenes(forecasts, store)
            _write(arguments.out, forecasts, store)
        print(f"{arguments.out}: {len(forecasts)} scenes")


def _write(out: Path, forecasts: Forecasts, store: SceneStore) -> None:
    if out.suffix == ".parquet":
        write_submission(out, forecasts, store)
    else:
        write_leaderboard_file(out, forecasts, store.origins)


if __name__ == "__main__":
    main()
