"""Tests that the stages write the same bytes regardless of the working directory and environment variables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthdrive.core.artifacts import file_hash

pytestmark = pytest.mark.slow

ELSEWHERE = {
    "TZ": "Pacific/Auckland",
    "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
    "PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "1",
    "OMP_NUM_THREADS": "2", "SYNTHDRIVE_WORKERS": "2",
    "GIT_DIR": "/nonexistent", "SUMO_HOME": "/nonexistent",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "64", "ACCELERATE_MIXED_PRECISION": "bf16",
}  # fmt: skip
STAGES = {  # script -> its outputs: option, path in the repository; stages read the repository's own inputs
    "ingest": [("--maps-out", "data/maps"), ("--train-out", "data/scenes/train"), ("--val-out", "data/scenes/val")],
    "check_raw": [("--out", "data/checks/raw.json"), ("--docs", "data/checks/docs/raw")],
    "augment": [("--out", "data/augmented")],
    "synthesize": [("--out", "data/synthetic")],
    "pretrain": [("--out", "models/pretrained/combined-0")],
    "evaluate_baselines": [("--out", "forecasts"), ("--metrics", "metrics")],
    "report": [("--out", "reports")],
}
PARTS = {
    "evaluate_baselines": ["lane_following", "lane_following.json"]
}  # parts of folders to which other stages also write
ARGUMENTS = {"pretrain": ["--variant", "combined", "--seed", "0"]}


@pytest.mark.parametrize("stage", STAGES)
def test_stages_write_the_same_bytes_in_other_surroundings(stage: str, tiny_pipeline: Path, tmp_path: Path) -> None:
    """Another working directory, with settings for Matplotlib in it, another time zone, locale and hash seed."""
    for entry in tiny_pipeline.iterdir():
        if entry.name not in ("reports", ".git", ".dvc", "provenance"):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\naxes.labelpad: 30\n")
    environment = {**os.environ, **ELSEWHERE}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, f"stages/{stage}.py", *ARGUMENTS.get(stage, [])]
    for option, path in STAGES[stage]:
        command += [option, str(tmp_path / "again" / path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stderr
    for _, path in STAGES[stage]:
        again, first = tmp_path / "again" / path, tiny_pipeline / path
        for part in PARTS.get(stage, [""]):
            if (first / part).exists():
                assert file_hash(again / part) == file_hash(first / part), path
