"""Test of the whole pipeline on a few real Argoverse 2 scenarios, with small networks, up to the report."""

import json

import pytest

from commands import dvc, run
from synthdrive.core.timing import ARGOVERSE2
from synthdrive.forecasting.leaderboard_files import read_submission
from synthdrive.scenes.scene_store import SceneStore
from tiny_pipeline import make_tiny_repository
from tools.profiles import apply_profile

PROFILE = "extends: argoverse2-small\ndata:\n  raw: {raw}\n"


@pytest.mark.slow
@pytest.mark.reference
@pytest.mark.timeout(900)
def test_the_whole_pipeline_runs_on_real_scenarios(reference, tmp_path):
    raw = reference / "argoverse2"
    if not all(any((raw / split).glob("*/*.parquet")) for split in ("train", "val", "test")):
        pytest.skip(f"no train, val and test scenarios in {raw}")
    root = make_tiny_repository(tmp_path / "pipeline")
    profile = root / "profiles" / "real.yaml"
    profile.write_text(PROFILE.format(raw=raw))
    apply_profile(profile, root / "params.yaml")
    dvc(root, "repro", "report")

    scenarios = {split: sorted(path.name for path in (raw / split).iterdir()) for split in ("train", "val", "test")}
    for split in ("train", "val"):
        store = SceneStore.load(root / "data" / "scenes" / split)
        assert store.scene_ids == scenarios[split]
        assert store.timing == ARGOVERSE2
    synthetic = SceneStore.load(root / "data" / "synthetic")
    assert synthetic.timing == ARGOVERSE2
    assert set(synthetic.cities) <= set(scenarios["train"])  # no window on a validation scene's streets
    assert set(synthetic.manifest["source"].to_pylist()) == {"original", "augmented"}
    metrics = json.loads((root / "metrics" / "forecast-0.json").read_text())
    assert metrics["scenes"] == len(scenarios["val"])
    assert metrics["brier_minFDE6"] >= metrics["minFDE6"] > 0
    strata = json.loads((root / "forecasts" / "none-0" / "strata.json").read_text())
    assert sum(group["scenes"] for name, group in strata.items() if name.startswith("type_")) == metrics["scenes"]
    page = (root / "reports" / "index.html").read_text()
    assert "Argoverse 2" in page
    assert "next 6 s" in page

    run(root, "python", "stages/ingest.py", "--test-out", "data/scenes/test")
    checkpoint = ("--checkpoint", "models/finetuned/forecast-0", "--scenes", "data/scenes/test")
    run(root, "python", "stages/export_leaderboard.py", *checkpoint, "--out", "submission.parquet")
    assert sorted(read_submission(root / "submission.parquet")) == scenarios["test"]
