"""Tests of verify on a tiny DVC pipeline that is tampered with in the ways that each level must detect."""

import shutil
from pathlib import Path

import pytest
import yaml

from commands import dvc, git
from raw_data import write_raw
from repository import PARAMS
from synthdrive.config.data import IngestParameters
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.config.training import ModelParameters, PretrainParameters, load_variant_section
from synthdrive.core.artifacts import read_json, write_json
from synthdrive.core.errors import SynthDriveError
from synthdrive.core.parameters import load_section
from synthdrive.core.provenance import plain_values
from synthdrive.forecasting.baselines import BASELINES
from synthdrive.forecasting.evaluate import write_evaluation
from synthdrive.ingestion.argoverse1 import ingest_maps, ingest_scenes
from synthdrive.scenes.scene_store import SceneStore
from tools.verify import Verdict, compare_metrics, verify, verify_metadata, verify_metrics

PARAMETERS = {
    "verify": {"spot_stages": ["make_data", "count"], "tolerances": {"minFDE6": 0.1, "MR6": 0.05}},
    "seeds": [3],
}
DVC_YAML = """\
stages:
  make_data:
    cmd: python stages/make_data.py
    params: [seeds]
    deps: [raw.txt, stages/make_data.py, requirements.lock]
    outs: [data]
  count:
    cmd: python stages/count.py
    deps: [data, stages/count.py, requirements.lock]
    metrics:
      - metrics/none-0.json: {cache: false}
"""
MAKE_DATA = """\
from pathlib import Path
Path("data").mkdir(exist_ok=True)
Path("data/values.txt").write_text(Path("raw.txt").read_text() * 3)
"""
COUNT = """\
import json
from pathlib import Path
Path("metrics").mkdir(exist_ok=True)
size = len(Path("data/values.txt").read_text())
numbers = {"minFDE6": size / 10, "minFDE1": 2.5, "MR1": 0.75, "scenes": size}
Path("metrics/none-0.json").write_text(json.dumps(numbers))
"""


def stages_of(repository):
    return yaml.safe_load((repository / "dvc.lock").read_text())["stages"]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A repository whose pipeline has run; its raw input is not tracked by git."""
    root = tmp_path_factory.mktemp("pipeline")
    (root / "stages").mkdir()
    (root / "src" / "synthdrive").mkdir(parents=True)
    files = {
        "dvc.yaml": DVC_YAML,
        "params.yaml": yaml.safe_dump(PARAMETERS),
        "stages/make_data.py": MAKE_DATA,
        "stages/count.py": COUNT,
        "requirements.lock": "",
        "raw.txt": "abc",
        ".gitignore": "/raw.txt\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    git(root, "init", "-q")
    dvc(root, "init", "-q")
    dvc(root, "repro", "-q")
    git(root, "add", "-A")
    return root


@pytest.fixture
def copy(pipeline, tmp_path):
    shutil.copytree(pipeline, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.chmod(0o644)
    path.write_text(text.replace(old, new, 1))


def test_an_untouched_repository_passes_every_level(copy, capsys):
    assert verify("full", copy).failures == 0
    printed = capsys.readouterr().out
    assert "make_data: 1 outputs made again, byte for byte" in printed
    assert "metrics/none-0.json" in printed


def test_level_lock_needs_no_data(copy):
    shutil.rmtree(copy / "data")
    shutil.rmtree(copy / ".dvc" / "cache")
    (copy / "raw.txt").unlink()
    assert verify("lock", copy).failures == 0


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("stages/make_data.py", "* 3", "* 4", "make_data: stages/make_data.py modified"),
        ("params.yaml", "- 3", "- 4", "make_data: params.yaml seeds modified"),
        ("dvc.yaml", "raw.txt, stages/make_data.py", "raw.txt", "not declared"),
        ("metrics/none-0.json", "0.9", "0.8", "count: metrics/none-0.json modified"),
    ],
)
def test_level_lock_catches_a_changed_file(copy, capsys, file, old, new, message):
    edit(copy / file, old, new)
    assert verify("lock", copy).failures > 0
    assert message in capsys.readouterr().out


def test_level_lock_catches_a_hand_edited_lock(copy, capsys):
    lock = yaml.safe_load((copy / "dvc.lock").read_text())
    lock["stages"]["make_data"]["outs"][0]["md5"] = "0" * 32 + ".dir"
    (copy / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert verify("lock", copy).failures > 0
    assert "data: make_data wrote 0000" in capsys.readouterr().out


def test_stages_left_from_more_seeds_are_reported_but_are_no_difference(copy, capsys):
    lock = yaml.safe_load((copy / "dvc.lock").read_text())
    old = {"cmd": "python stages/count.py 1", "deps": [{"path": "data", "md5": "0" * 32 + ".dir"}]}
    lock["stages"]["count@1"] = {**old, "outs": [{"path": "metrics/none-1.json", "md5": "1" * 32}]}
    (copy / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert verify("full", copy).failures == 0
    printed = capsys.readouterr().out
    assert "1 stages that are no longer in dvc.yaml" in printed
    assert "rm dvc.lock && dvc repro" in printed


def forge(copy: Path) -> str:
    """Replace the hash of `data` everywhere in dvc.lock and delete `data`, which would contradict it."""
    lock = yaml.safe_load((copy / "dvc.lock").read_text())
    forged = "0" * 32 + ".dir"
    lock["stages"]["make_data"]["outs"][0]["md5"] = forged
    next(dep for dep in lock["stages"]["count"]["deps"] if dep["path"] == "data")["md5"] = forged
    (copy / "dvc.lock").write_text(yaml.safe_dump(lock))
    shutil.rmtree(copy / "data")
    return forged


def test_level_spot_catches_a_lock_forged_consistently(copy, capsys):
    forged = forge(copy)
    assert verify("lock", copy).failures == 0
    assert verify("spot", copy).failures > 0
    assert f"data: recorded {forged}" in capsys.readouterr().out


def test_level_spot_catches_a_tampered_artifact(copy, capsys):
    edit(copy / "data" / "values.txt", "abc", "abd")
    assert verify("spot", copy).failures > 0
    assert "since make_data wrote it" in capsys.readouterr().out


def test_an_artifact_made_with_other_parameters_is_caught(tmp_path, capsys):
    shutil.copy(PARAMS, tmp_path / "params.yaml")
    parameters = tmp_path / "params.yaml"
    used = {
        "pretrain": load_variant_section(PretrainParameters, "pretrain", "map", parameters),
        "model": load_section(ModelParameters, "model", parameters),
    }
    metadata = {"stage": "pretrain", "variant": "map", "seed": 0, "parameters": plain_values(used)}
    write_json(tmp_path / "models/map-0/metadata.json", metadata)
    write_json(
        tmp_path / "models/none-0/metadata.json",
        {"stage": "pretrain", "variant": "none", "seed": 0, "pretrained": False},
    )
    outs = [{"path": f"models/{name}"} for name in ("map-0", "none-0", "absent-0")]
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": {"pretrain": {"outs": outs}}}))
    verify_metadata(tmp_path, stages_of(tmp_path), verdict := Verdict())
    assert verdict.failures == 0
    assert "1 checkpoints and forecasts" in capsys.readouterr().out
    edit(parameters, "  mask_ratio: 0.5", "  mask_ratio: 0.4")
    verify_metadata(tmp_path, stages_of(tmp_path), verdict)
    assert verdict.failures == 1
    assert "models/map-0: made with pretrain.mask_ratio 0.5, params.yaml has 0.4" in capsys.readouterr().out
    edit(parameters, "  mask_ratio: 0.4", "  mask_ratio: 0.5")
    edit(parameters, "map reconstruction\n    model: {}", "map reconstruction\n    model: {polyline_index: true}")
    verify_metadata(tmp_path, stages_of(tmp_path), verdict := Verdict())
    assert verdict.failures == 1
    assert "models/map-0: made with model.polyline_index False, params.yaml has True" in capsys.readouterr().out


def test_a_stage_that_fails_when_run_again_is_an_error_rather_than_a_difference(copy):
    shutil.rmtree(copy / "data")
    (copy / "raw.txt").unlink()
    with pytest.raises(SynthDriveError, match="dvc repro make_data count: exit status"):
        verify("spot", copy)


def test_level_full_compares_metrics_within_tolerance(copy, capsys):
    edit(copy / "metrics" / "none-0.json", "0.9", "0.95")
    verify("full", copy)
    assert "  ok  metrics/none-0.json: every metric within tolerance" in capsys.readouterr().out
    edit(copy / "metrics" / "none-0.json", "0.95", "0.7")
    assert verify("full", copy).failures > 0
    assert "minFDE6: recorded 0.7, made 0.9" in capsys.readouterr().out


@pytest.fixture
def recorded(tmp_path):
    """A repository with one metrics file, as recorded and as made again."""
    stages = {"evaluate@none-0": {"outs": [{"path": "forecasts/none-0"}, {"path": "metrics/none-0.json"}]}}
    numbers = {"MR1": 0.9, "MR6": 0.5, "brier_minFDE6": 3.0, "minFDE1": 9.0, "minFDE6": 2.5, "scenes": 400}
    for name in ("repository", "again"):
        write_json(tmp_path / name / "metrics" / "none-0.json", numbers)
    (tmp_path / "repository" / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    return tmp_path / "repository"


def compared(recorded, capsys):
    verdict = Verdict()
    compare_metrics(recorded.parent / "again", recorded, stages_of(recorded), {"minFDE6": 0.1, "MR6": 0.05}, verdict)
    return verdict.failures, capsys.readouterr().out


@pytest.mark.parametrize(
    ("metric", "value", "passes"),
    [
        ("MR1", 0.94, True),
        ("MR1", 0.84, False),
        ("minFDE1", 9.09, True),
        ("minFDE1", 8.8, False),
        ("brier_minFDE6", 3.2, False),
        ("scenes", 401, False),
        ("scenes", 400, True),
        ("minFDE6", "2.5", False),
        ("made_up", 0.0, False),
    ],
)
def test_every_number_of_the_metrics_is_compared(recorded, capsys, metric, value, passes):
    path = recorded / "metrics" / "none-0.json"
    write_json(path, {**read_json(path), metric: value})
    failures, printed = compared(recorded, capsys)
    assert failures == (not passes)
    assert passes or f"{metric}: recorded {value}, made " in printed


@pytest.mark.parametrize("content", [None, "", "[]", '{"MR6": 0.5}'])
def test_a_metrics_file_that_is_removed_or_damaged_is_a_difference(recorded, capsys, content):
    path = recorded / "metrics" / "none-0.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    failures, printed = compared(recorded, capsys)
    assert failures
    assert "FAIL  metrics/none-0.json" in printed


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A repository with scenes, the forecasts of a baseline on them and its metrics."""
    root = tmp_path_factory.mktemp("scored")
    ingest = IngestParameters("error", "error", 30.0, "official", 0, 5, 400.0, 0.0, 64, 64, 10)
    raw = write_raw(root / "raw", val=(1, 2, 3))
    ingest_maps(raw, root / "data/maps", ingest)
    ingest_scenes(raw, {"val": root / "data/scenes/val"}, root / "data/maps", ingest, 50.0, workers=1)
    shutil.copy(PARAMS, root / "params.yaml")
    store = SceneStore.load(root / "data/scenes/val")
    forecasts = BASELINES["constant_velocity"]().forecast(store, range(len(store)))
    parameters = load_section(EvaluateParameters, "evaluate", root / "params.yaml")
    write_evaluation(forecasts, store, parameters, {}, root / "forecasts/cv", root / "metrics/cv.json")
    stage = {"deps": [{"path": "data/scenes/val"}], "outs": [{"path": "forecasts/cv"}, {"path": "metrics/cv.json"}]}
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"evaluate_baselines": stage}}))
    return root


@pytest.mark.parametrize(
    ("metric", "change"), [(None, 0.0), ("minFDE6", -0.001), ("MR1", 0.25), ("scenes", 1), ("brier_minFDE6", 0.01)]
)
def test_a_metric_that_contradicts_its_forecasts_is_caught(scored, tmp_path, capsys, metric, change):
    root = shutil.copytree(scored, tmp_path / "copy")
    numbers = read_json(root / "metrics/cv.json")
    if metric:
        write_json(root / "metrics/cv.json", {**numbers, metric: numbers[metric] + change})
    verify_metrics(root, stages_of(root), verdict := Verdict())
    printed = capsys.readouterr().out
    assert "1 of 1 metrics files, from their stored forecasts" in printed
    assert verdict.failures == (metric is not None)
    assert not metric or f"metrics/cv.json: {metric}: recorded " in printed


def test_missing_forecasts_are_not_compared(scored, tmp_path, capsys):
    root = shutil.copytree(scored, tmp_path / "copy")
    shutil.rmtree(root / "forecasts")
    verify_metrics(root, stages_of(root), verdict := Verdict())
    assert verdict.failures == 0
    assert "0 of 1 metrics files" in capsys.readouterr().out
