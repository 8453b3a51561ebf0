"""Tests of the GPU check on a machine without a GPU: its message, and a complete run on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repository import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks" / "gpu_check.py"
# Runs the script as if dvc and great_expectations were not installed: a GPU machine may not have them.
WITHOUT_OPTIONAL_PACKAGES = """
import runpy, sys
sys.modules |= {"dvc": None, "great_expectations": None}
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def gpu_check(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WITHOUT_OPTIONAL_PACKAGES, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_check_prints_one_line_and_writes_nothing(tmp_path: Path) -> None:
    done = gpu_check("--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["gpu-check: torch finds no CUDA device here, so nothing is checked"]
    assert not list(tmp_path.iterdir())


def test_check_runs_on_a_cpu(tmp_path: Path) -> None:
    done = gpu_check("--device", "cpu", "--tiny", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "gpu_check.json").read_text())
    assert [check["passed"] for check in record["checks"]] == [True] * 5
    kinds = [(row["stage"], row["precision"]) for row in record["speeds"]]
    assert kinds == [(stage, kind) for stage in ("pretrain", "finetune") for kind in ("float32", "tf32", "bfloat16")]
    assert all(row["scenes_per_second"] > 0 and row["paper_minutes"] > 0 for row in record["speeds"])
    page = (tmp_path / "gpu_check.md").read_text()
    assert page in done.stdout
    assert "FAILED" not in page
