"""Stage evaluate_baselines: constant velocity and lane following on recorded scenes, and their metrics."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.core.provenance import plain_values
from synthdrive.forecasting.baselines import BASELINES
from synthdrive.forecasting.evaluate import describe, write_evaluation
from synthdrive.forecasting.forecast_scenes import forecast_scenes
from synthdrive.scenes.scene_store import SceneStore


def main() -> None:
    """Forecast every scene with every baseline, and write forecasts and metrics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--scenes", type=Path, default=Path("data/scenes/val"), help="scene store (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("forecasts"), help="parent of <baseline>/ (%(default)s)")
    parser.add_argument(
        "--metrics", type=Path, default=Path("metrics"), help="folder for <baseline>.json (%(default)s)"
    )
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters (default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_error():
        parameters = load_section(EvaluateParameters, "evaluate", arguments.params)
        store = SceneStore.load(arguments.scenes)
        used = plain_values({"evaluate": parameters})
        for name, baseline in BASELINES.items():
            forecasts = forecast_scenes(baseline(), store, parameters.batch_size)
            metadata = {"stage": "evaluate", "variant": name, "seed": None, "parameters": used}
            metrics = arguments.metrics / f"{name}.json"
            found = write_evaluation(forecasts, store, parameters, metadata, arguments.out / name, metrics)
            print(describe(name, found), file=sys.stderr)


if __name__ == "__main__":
    main()
