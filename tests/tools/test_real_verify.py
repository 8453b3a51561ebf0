"""Test of verify on the tiny pipeline with a forged metric, which level lock accepts and level full detects."""

from __future__ import annotations

import json
import sys

import pytest

from commands import dvc, run
from tiny_pipeline import copy_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_level_full_makes_everything_again_and_finds_the_forged_metric(tiny_pipeline, tmp_path):
    """The forged metric agrees with dvc.lock and the report, but neither with its forecasts nor with a new training."""
    root = copy_of(tiny_pipeline, tmp_path / "forged")
    path = root / "metrics" / "combined-0.json"
    metrics = json.loads(path.read_text())
    true, forged = metrics["minFDE6"], metrics["minFDE6"] - 1.0
    path.write_text(json.dumps({**metrics, "minFDE6": forged}))
    dvc(root, "commit", "--force", "evaluate@combined-0", "report")
    verify = (sys.executable, "-m", "tools.verify")
    assert "0 differences" in run(root, *verify, "lock")
    printed = run(root, *verify, "full", expect=1)
    assert "verify full: " in printed, printed
    assert " 2 differences" in printed, printed
    assert f"metrics/combined-0.json: minFDE6: recorded {forged}, made {true}, allowed difference 1e-05" in printed
    assert f"      minFDE6: recorded {forged}, made {true}, allowed difference 0.1" in printed
    passed = [line for line in printed.splitlines() if line.lstrip().startswith("ok  ")]
    for expected in (
        "artifacts are in the workspace, with the bytes of dvc.lock",
        "7 checkpoints and forecasts were made with the parameters of params.yaml",
        *(f"{stage}: 1 outputs made again" for stage in ("record_sample", "augment", "synthesize")),
        "check_raw: 2 outputs made again",
        "ingest: 3 outputs made again",
        "metrics/none-0.json: every metric within tolerance",
        "metrics/lane_following.json: every metric within tolerance",
    ):
        assert any(expected in line for line in passed), f"{expected}\n{printed}"
