"""Compute the metrics of stored forecasts again, without the model that made them."""

from __future__ import annotations

import argparse
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.artifacts import atomic_directory, write_json
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.forecasting.evaluate import describe, score
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.scenes.scene_store import SceneStore


def main() -> None:
    """Read forecasts and scenes, print the headline metrics, write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forecasts", type=Path, required=True, help="folder that evaluate wrote")
    parser.add_argument(
        "--scenes", type=Path, default=Path("data/scenes/val"), help="scene store (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for errors.parquet and strata.json")
    parser.add_argument("--metrics", type=Path, help="metrics file (default: metrics.json in that folder)")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters (default: %(default)s)")
    given = parser.parse_args()
    with exit_on_error():
        parameters = load_section(EvaluateParameters, "evaluate", given.params)
        forecasts, store = Forecasts.load(given.forecasts), SceneStore.load(given.scenes)
        with atomic_directory(given.out) as partial:
            metrics = score(forecasts, store, parameters, partial)
        write_json(given.metrics or given.out / "metrics.json", metrics)
        print(describe(given.forecasts.name, metrics))


if __name__ == "__main__":
    main()
