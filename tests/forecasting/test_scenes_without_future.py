"""Tests of Argoverse 1 test scenes, which have no future: they can be forecast, but not scored."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from commands import run_stage
from raw_data import observed_only, write_raw
from repository import PARAMS, REPOSITORY
from synthdrive.config.data import IngestParameters
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.config.training import ModelParameters
from synthdrive.core import provenance
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

PARAMETERS = load_section(EvaluateParameters, "evaluate", PARAMS)
INGEST = IngestParameters("error", "error", 30.0, "official", 0, 5, 400.0, 0.0, 64, 64, 10)
LIMITS = Limits(1 << 26, 1 << 34)
SCENES = 12


def write_splits(raw, source):
    """Write val scenes of `source` as the val tarball of `raw`, and their observed steps as its test tarball."""
    files = [file for file, _ in zip(scene_files(source, LIMITS), range(SCENES), strict=False)]
    scenes = [(int(Path(name).stem), content) for name, content in files]
    write_scenes(raw / "forecasting_val_v1.1.tar.gz", "val", scenes)
    tests = [(number, observed_only(content)) for number, content in scenes]
    write_scenes(raw / "forecasting_test_v1.1.tar.gz", "test_obs", tests)


def prepare(folder, raw):
    """Write stores of both splits and a checkpoint with random weights."""
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
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    raw = write_raw(folder / "raw", val=range(1, SCENES + 1))
    write_splits(raw, raw / "forecasting_val_v1.1.tar.gz")
    return prepare(folder, raw)


def forecast(folder, split, device="cpu"):
    return checkpoint_forecasts(folder / "map-1", folder / split, PARAMETERS, device, 1, folder / ".run")


def check_forecasts_are_equal(folder):
    val, test = SceneStore.load(folder / "val"), SceneStore.load(folder / "test")
    assert test.scene_ids == val.scene_ids
    indices = range(len(test))
    for baseline in BASELINES.values():
        found, expected = (baseline().forecast(store, indices) for store in (test, val))
        np.testing.assert_array_equal(found.trajectories, expected.trajectories)
    network_forecasts = []
    for split in ("test", "val"):
        with forecast(folder, split) as (forecasts, _, _):
            network_forecasts.append(forecasts)
    found, expected = network_forecasts
    np.testing.assert_allclose(found.trajectories, expected.trajectories, atol=2e-3)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-3)


def test_store_without_future_contains_only_the_observed_steps(prepared):
    val, test = SceneStore.load(prepared / "val"), SceneStore.load(prepared / "test")
    assert (val.steps, test.steps) == (50, OBSERVED_STEPS)
    assert int(np.max(test.step)) == LAST_OBSERVED
    for index in range(len(test)):
        np.testing.assert_array_equal(test[index].agent, val[index].agent[:OBSERVED_STEPS])
        np.testing.assert_array_equal(test[index].origin, val[index].origin)
        np.testing.assert_array_equal(test[index].lane_rows, val[index].lane_rows)
    assert not {"turn", "agent_displacement", "at_intersection"} & set(test.manifest.column_names)


def test_forecasts_equal_those_of_scenes_with_a_future(prepared):
    check_forecasts_are_equal(prepared)


def test_finished_blocks_and_the_lock_are_kept_until_the_forecasts_are_written(prepared):
    def blocks():
        return sorted(path for path in (prepared / ".run").rglob("block-*") if path.is_dir())

    with pytest.raises(OSError, match="disk full"), forecast(prepared, "val") as (forecasts, _, _):
        assert blocks()
        with pytest.raises(SynthDriveError, match="another process is working on this run"), forecast(prepared, "val"):
            pass
        raise OSError("disk full")
    kept = {path: path.stat().st_mtime_ns for path in blocks()}
    assert kept
    with forecast(prepared, "val") as (reused, _, _):
        assert {path: path.stat().st_mtime_ns for path in blocks()} == kept  # reused, not computed again
    np.testing.assert_array_equal(reused.trajectories, forecasts.trajectories)
    assert not blocks()


def test_finished_blocks_of_an_interrupted_evaluation_survive_another_commit(prepared, tmp_path, monkeypatch):
    def forecast_at(commit):
        monkeypatch.setattr(provenance, "git_commit", lambda: commit)
        folders = (tmp_path / "runs", tmp_path / "provenance")
        return checkpoint_forecasts(prepared / "map-1", prepared / "val", PARAMETERS, "cpu", 1, *folders)

    def blocks():
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("block-*") if path.is_dir()}

    with pytest.raises(OSError, match="disk full"), forecast_at("a" * 40):
        raise OSError("disk full")
    kept = blocks()
    assert kept
    with forecast_at("b" * 40):
        assert blocks() == kept


def test_export_writes_a_provenance_record_of_its_own(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--checkpoint", prepared / "map-1", "--scenes", prepared / "test", "--out", "mine.h5", "--params", PARAMS]
    given += ["--device", "cpu", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["export_leaderboard.py", *map(str, given)])
    runpy.run_path(str(REPOSITORY / "stages" / "export_leaderboard.py"), run_name="__main__")
    records = [path.relative_to("provenance").as_posix() for path in Path("provenance").rglob("*.json")]
    assert records == ["export_leaderboard/map-1.json"]


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "tpu", "cpu please"])
def test_unavailable_device_is_refused(prepared, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if torch.version.cuda and torch.cuda.device_count():
        pytest.skip("this machine has a GPU")
    with (
        pytest.raises(ParameterError, match=rf"device: found '{device}' .*expected cpu, auto"),
        forecast(prepared, "val", device),
    ):
        pass


@pytest.mark.reference
def test_forecasts_of_real_test_scenes_equal_those_of_scenes_with_a_future(tmp_path, reference):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "hd_maps.tar.gz").symlink_to(reference / "argoverse1" / "hd_maps.tar.gz")
    write_splits(raw, reference / "argoverse1" / "forecasting_val_v1.1.tar.gz")
    check_forecasts_are_equal(prepare(tmp_path, raw))


def test_leaderboard_file_is_made_from_the_test_tarball(prepared, tmp_path):
    shutil.copytree(prepared / "maps", tmp_path / "maps")
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()}
    run_stage(
        "ingest", tmp_path, "--raw", prepared / "raw", "--maps-out", "maps", "--test-out", "test", "--workers", "1"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "test"]
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()} == written
    arguments = ("--device", "cpu", "--workers", "1", "--checkpoint", prepared / "map-1")
    for scenes in (tmp_path / "test", prepared / "val"):
        run_stage("export_leaderboard", tmp_path, "--scenes", scenes, "--out", f"{scenes.name}.h5", *arguments)
    found, expected = (read_leaderboard_file(tmp_path / f"{name}.h5") for name in ("test", "val"))
    assert sorted(found, key=int) == SceneStore.load(prepared / "test").scene_ids
    for sequence, (trajectories, probabilities) in found.items():
        np.testing.assert_allclose(trajectories, expected[sequence][0], atol=5e-3)
        np.testing.assert_allclose(probabilities, expected[sequence][1], atol=1e-3)


def test_ingest_of_test_scenes_needs_the_maps_of_an_earlier_ingest(prepared, tmp_path):
    options = ("--raw", prepared / "raw", "--maps-out", "maps", "--test-out", "test", "--workers", "1")
    assert "maps: found no lane map" in run_stage("ingest", tmp_path, *options, status=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", ["evaluate", "evaluate_baselines"])
def test_evaluation_refuses_scenes_without_future(prepared, tmp_path, stage):
    checkpoint = ("--checkpoint", prepared / "map-1") if stage == "evaluate" else ()
    printed = run_stage(stage, tmp_path, *checkpoint, "--scenes", prepared / "test", status=2)
    assert "20 steps, which have no future" in printed
    assert not any(tmp_path.rglob("*.json"))


def test_scenes_without_future_cannot_be_scored_or_trained_on(prepared):
    test = SceneStore.load(prepared / "test")
    forecasts = BASELINES["constant_velocity"]().forecast(test, range(len(test)))
    with pytest.raises(InputError, match="no future"):
        scene_errors(forecasts, test, 2.0)
    with pytest.raises(InputError, match="test.*no future"):
        SceneBatches(prepared / "test", np.arange(2), 0, Sharing(2, 2), collate)


def test_scenes_in_the_tarball_of_the_wrong_split_are_refused(prepared, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for split, other, expected in (("test", "val", "expected 20"), ("val", "test", "expected 50")):
        (raw / f"forecasting_{split}_v1.1.tar.gz").symlink_to(prepared / "raw" / f"forecasting_{other}_v1.1.tar.gz")
        with pytest.raises(InputError, match=expected):
            ingest_scenes(raw, {split: tmp_path / "out"}, prepared / "maps", INGEST, 50.0, workers=1)
        assert not (tmp_path / "out").exists()
