"""Tests of Argoverse 1 test scenes, which have no future: they are forecast like others, but no metric is computed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from raw_data import observed_only, write_raw
from synthdrive.config.data import IngestParameters
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.config.training import ModelParameters
from synthdrive.core.errors import InputError, ParameterError, SynthDriveError
from synthdrive.core.parameters import load_section
from synthdrive.core.provenance import plain_values
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.forecasting.baselines import BASELINES
from synthdrive.forecasting.evaluate import scene_errors
from synthdrive.forecasting.forecast_scenes import checkpoint_forecasts
from synthdrive.forecasting.leaderboard_files import read_leaderboard_file
from synthdrive.formats.archives import Limits
from synthdrive.formats.argoverse1_scene_reader import scene_files
from synthdrive.formats.argoverse1_writers import write_scenes
from synthdrive.ingestion.argoverse1 import ingest_maps, ingest_scenes
from synthdrive.models.batch import collate
from synthdrive.models.densetnt import DenseTNT
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import save_checkpoint
from synthdrive.training.data import SceneBatches, Sharing

LAST_OBSERVED, OBSERVED_STEPS = ARGOVERSE1.last_observed, ARGOVERSE1.history_steps

ROOT = Path(__file__).resolve().parents[2]
PARAMS = ROOT / "params.yaml"
PARAMETERS = load_section(EvaluateParameters, "evaluate", PARAMS)
INGEST = IngestParameters("error", "error", 30.0, "official", 0, 5, 400.0, 0.0, 64, 64, 10)
LIMITS = Limits(1 << 26, 1 << 34)
SCENES = 12


def cut(raw, source):
    """Val scenes of `source`, whole and cut to their observed steps, as the val and test tarballs of `raw`."""
    files = [file for file, _ in zip(scene_files(source, LIMITS), range(SCENES), strict=False)]
    scenes = [(int(Path(name).stem), content) for name, content in files]
    write_scenes(raw / "forecasting_val_v1.1.tar.gz", "val", scenes)
    tests = [(number, observed_only(content)) for number, content in scenes]
    write_scenes(raw / "forecasting_test_v1.1.tar.gz", "test_obs", tests)


def prepare(folder, raw):
    """Both splits as stores, and a checkpoint with random weights."""
    ingest_maps(raw, folder / "maps", INGEST)
    outs = {"val": folder / "val", "test": folder / "test"}
    ingest_scenes(raw, outs, folder / "maps", INGEST, 50.0, workers=1)
    torch.manual_seed(0)
    model = load_section(ModelParameters, "model", PARAMS)
    card = {"stage": "finetune", "variant": "map", "seed": 1, "model": plain_values(model)}
    card["timing"] = ARGOVERSE1.plain()
    save_checkpoint(folder / "map-1", DenseTNT(model, ARGOVERSE1), card, [])
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    raw = write_raw(folder / "raw", val=range(1, SCENES + 1))
    cut(raw, raw / "forecasting_val_v1.1.tar.gz")
    return prepare(folder, raw)


def forecast(folder, split, device="cpu"):
    return checkpoint_forecasts(folder / "map-1", folder / split, PARAMETERS, device, 1, folder / ".run")


def check_the_same_forecasts(folder):
    whole, test = SceneStore.load(folder / "val"), SceneStore.load(folder / "test")
    assert test.scene_ids == whole.scene_ids
    indices = range(len(test))
    for baseline in BASELINES.values():
        found, expected = (baseline().forecast(store, indices) for store in (test, whole))
        np.testing.assert_array_equal(found.trajectories, expected.trajectories)
    made = []
    for split in ("test", "val"):
        with forecast(folder, split) as (forecasts, _, _):
            made.append(forecasts)
    found, expected = made
    np.testing.assert_allclose(found.trajectories, expected.trajectories, atol=2e-3)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-3)


def test_a_store_without_future_holds_the_observed_steps_and_nothing_else(made):
    whole, test = SceneStore.load(made / "val"), SceneStore.load(made / "test")
    assert (whole.steps, test.steps) == (50, OBSERVED_STEPS)
    assert int(np.max(test.step)) == LAST_OBSERVED
    for index in range(len(test)):
        np.testing.assert_array_equal(test[index].agent, whole[index].agent[:OBSERVED_STEPS])
        np.testing.assert_array_equal(test[index].origin, whole[index].origin)
        np.testing.assert_array_equal(test[index].lane_rows, whole[index].lane_rows)
    assert not {"turn", "agent_displacement", "at_intersection"} & set(test.manifest.column_names)


def test_forecasts_are_those_of_the_whole_scenes(made):
    check_the_same_forecasts(made)


def test_finished_blocks_and_the_lock_stay_until_the_forecasts_are_written(made):
    def blocks():
        return sorted(path for path in (made / ".run").rglob("block-*") if path.is_dir())

    with pytest.raises(OSError, match="disk full"), forecast(made, "val") as (forecasts, _, _):
        assert blocks()
        with pytest.raises(SynthDriveError, match="another process is working on this run"), forecast(made, "val"):
            pass
        raise OSError("disk full")
    kept = {path: path.stat().st_mtime_ns for path in blocks()}
    assert kept
    with forecast(made, "val") as (again, _, _):
        assert {path: path.stat().st_mtime_ns for path in blocks()} == kept  # taken, not made again
    np.testing.assert_array_equal(again.trajectories, forecasts.trajectories)
    assert not blocks()


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "tpu", "cpu please"])
def test_a_device_that_is_not_there_is_refused_in_a_sentence(made, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if torch.version.cuda and torch.cuda.device_count():
        pytest.skip("this machine has a GPU")
    with (
        pytest.raises(ParameterError, match=rf"device: found '{device}' .*expected cpu, auto"),
        forecast(made, "val", device),
    ):
        pass


@pytest.mark.reference
def test_forecasts_of_real_scenes_are_those_of_the_whole_scenes(tmp_path, reference):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "hd_maps.tar.gz").symlink_to(reference / "argoverse1" / "hd_maps.tar.gz")
    cut(raw, reference / "argoverse1" / "forecasting_val_v1.1.tar.gz")
    check_the_same_forecasts(prepare(tmp_path, raw))


def run(stage, folder, *arguments, status=0):
    command = [sys.executable, str(ROOT / "stages" / f"{stage}.py"), *map(str, arguments), "--params", str(PARAMS)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_from_the_test_tarball_to_the_leaderboards_file(made, tmp_path):
    shutil.copytree(made / "maps", tmp_path / "maps")
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()}
    run("ingest", tmp_path, "--raw", made / "raw", "--maps-out", "maps", "--test-out", "test", "--workers", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "test"]
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()} == written
    arguments = ("--device", "cpu", "--workers", "1", "--checkpoint", made / "map-1")
    for scenes in (tmp_path / "test", made / "val"):
        run("export_leaderboard", tmp_path, "--scenes", scenes, "--out", f"{scenes.name}.h5", *arguments)
    found, expected = (read_leaderboard_file(tmp_path / f"{name}.h5") for name in ("test", "val"))
    assert sorted(found, key=int) == SceneStore.load(made / "test").scene_ids
    for sequence, (trajectories, probabilities) in found.items():
        np.testing.assert_allclose(trajectories, expected[sequence][0], atol=5e-3)
        np.testing.assert_allclose(probabilities, expected[sequence][1], atol=1e-3)


def test_test_scenes_stand_on_the_maps_that_ingest_wrote_before(made, tmp_path):
    options = ("--raw", made / "raw", "--maps-out", "maps", "--test-out", "test", "--workers", "1")
    assert "maps: found no lane map" in run("ingest", tmp_path, *options, status=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", ["evaluate", "evaluate_baselines"])
def test_no_metric_is_computed_of_them(made, tmp_path, stage):
    checkpoint = ("--checkpoint", made / "map-1") if stage == "evaluate" else ()
    printed = run(stage, tmp_path, *checkpoint, "--scenes", made / "test", status=2)
    assert "20 steps, which have no future" in printed
    assert not any(tmp_path.rglob("*.json"))


def test_they_cannot_be_scored_or_trained_on(made):
    test = SceneStore.load(made / "test")
    forecasts = BASELINES["constant_velocity"]().forecast(test, range(len(test)))
    with pytest.raises(InputError, match="no future"):
        scene_errors(forecasts, test, 2.0)
    with pytest.raises(InputError, match="test.*no future"):
        SceneBatches(made / "test", np.arange(2), 0, Sharing(2, 2), collate)


def test_a_whole_scene_is_no_test_scene_and_the_other_way_round(made, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for split, other, expected in (("test", "val", "expected 20"), ("val", "test", "expected 50")):
        (raw / f"forecasting_{split}_v1.1.tar.gz").symlink_to(made / "raw" / f"forecasting_{other}_v1.1.tar.gz")
        with pytest.raises(InputError, match=expected):
            ingest_scenes(raw, {split: tmp_path / "out"}, made / "maps", INGEST, 50.0, workers=1)
        assert not (tmp_path / "out").exists()
