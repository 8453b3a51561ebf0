"""Compute the metrics of stored forecasts, without the model that made them, or of a file of your own.

A file (.npz, .parquet, .csv, or the Argoverse 1 leaderboard's .h5; see docs/library.md) is converted to a folder as
written by evaluate. With --out forecasts/NAME --metrics metrics/NAME.json, and NAME in the parameter
report.own_forecasts, the forecasts appear in the report.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.artifacts import atomic_directory, check_replaceable, file_hash, write_json
from synthdrive.core.errors import ParameterError, exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.core.provenance import plain_values
from synthdrive.forecasting.evaluate import OWN_FILES, describe, score, write_evaluation
from synthdrive.forecasting.forecasts import METADATA, Forecasts
from synthdrive.forecasting.own_forecasts import read_own_forecasts
from synthdrive.scenes.scene_store import SceneStore


def main() -> None:
    """Read forecasts and scenes, print the headline metrics, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forecasts", type=Path, required=True, help="folder written by evaluate, or your own file")
    parser.add_argument(
        "--scenes", type=Path, default=Path("data/scenes/val"), help="scene store (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for errors.parquet and strata.json")
    parser.add_argument("--metrics", type=Path, help="metrics file (default: metrics.json in --out)")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters (default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_error():
        parameters = load_section(EvaluateParameters, "evaluate", arguments.params)
        forecasts_at = arguments.forecasts.resolve()
        if arguments.out.resolve() in (forecasts_at, *forecasts_at.parents):
            raise ParameterError("--out", str(arguments.out), "another folder, since its content is replaced")
        check_replaceable(arguments.out, OWN_FILES)
        store, metrics_file = SceneStore.load(arguments.scenes), arguments.metrics or arguments.out / "metrics.json"
        metadata = {
            "stage": "score_forecasts", "variant": arguments.out.name, "seed": None,
            "source": file_hash(arguments.forecasts), "parameters": plain_values({"evaluate": parameters}),
        }  # fmt: skip
        if arguments.forecasts.is_dir():
            forecasts = Forecasts.load(arguments.forecasts)
            with atomic_directory(arguments.out) as partial:
                metrics = score(forecasts, store, parameters, partial)
                write_json(partial / METADATA, metadata)
            write_json(metrics_file, metrics)
        else:
            forecasts = read_own_forecasts(arguments.forecasts, store)
            metrics = write_evaluation(forecasts, store, parameters, metadata, arguments.out, metrics_file)
        print(describe(arguments.forecasts.stem, metrics))


if __name__ == "__main__":
    main()
