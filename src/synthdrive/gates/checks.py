"""The two gates of the pipeline: raw maps and scenes, and synthetic windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from synthdrive.config.checks import CheckRawParameters, CheckSyntheticParameters
from synthdrive.gates import map_suite, scene_suite, synthetic_suite
from synthdrive.gates.gate import Check, Verdict, run_gate
from synthdrive.gates.tables import lane_table, require, scene_table

STEP_ROUNDING = 0.004  # metres; positions are rounded to 1 mm, in x and y, at both ends of a step


def check_raw(
    maps: Path, train: Path, val: Path, parameters: CheckRawParameters, out: Path, docs: Path | None
) -> Verdict:
    """Check lane maps and the recorded scenes of both splits.

    Args:
        maps: folder of the lane maps, with their manifest.
        train, val: scene stores.
        parameters: limits.
        out, docs: see `gate.run_gate`.

    Raises:
        InputError: a table is missing or damaged.
    """
    lanes = lane_table(maps / "manifest.parquet")
    cities = sorted(lanes["city"].unique())
    recorded, validation = scene_table(train), scene_table(val)
    validation["not_in_train"] = ~_moment(validation).isin(_moment(recorded)).to_numpy()
    train_suite = scene_suite.scene_expectations(parameters.scenes, cities, held_out=False)
    val_suite = scene_suite.scene_expectations(parameters.scenes, cities, held_out=True)
    checks = [
        Check("maps", lanes, map_suite.KEYS, map_suite.map_expectations(parameters.maps)),
        Check("train scenes", recorded, scene_suite.KEYS, train_suite),
        Check("val scenes", validation, scene_suite.KEYS, val_suite),
    ]
    return run_gate("raw", checks, out, docs)


def check_synthetic(synthetic: Path, parameters: CheckSyntheticParameters, out: Path, docs: Path | None) -> Verdict:
    """Check the synthetic windows, every one of them.

    Args:
        synthetic: scene store of the windows.
        parameters: limits.
        out, docs: see `gate.run_gate`.

    Raises:
        InputError: a table is missing or damaged.
    """
    windows = scene_table(synthetic)
    require(windows, ["max_step"], synthetic / "manifest.parquet")
    tolerance = STEP_ROUNDING + parameters.step_noise
    windows["step_as_stated"] = np.abs(windows["max_step"] - windows["track_max_step"]) <= tolerance
    expectations = synthetic_suite.synthetic_expectations(parameters)
    return run_gate("synthetic", [Check("synthetic", windows, synthetic_suite.KEYS, expectations)], out, docs)


def _moment(scenes: pd.DataFrame) -> pd.Series[str]:
    """When and where a scene is: the same in two splits only if the scene is."""
    place = scenes["origin_x"].round(3).astype(str) + "," + scenes["origin_y"].round(3).astype(str)
    return scenes["city"].astype(str) + "@" + scenes["start_time"].round(3).astype(str) + "@" + place
