"""Tests that a stage refuses to replace a folder of other files, before it reads or computes anything."""

import runpy
import sys

import pytest

from repository import PARAMS, REPOSITORY

COMMANDS = {  # a file of an earlier output
    "augment --out results": "scenes.safetensors",
    "evaluate --checkpoint models/finetuned/map-0 --out results": "errors.parquet",
    "ingest --maps-out results": "manifest.parquet",
    "ingest --train-out results": "xy.npy",
    "ingest --test-out results": "xy.npy",
    "record_sample --out results": "hd_maps.tar.gz",
    "report --out results": "report.md",
    "score_forecasts --forecasts mine.npz --out results": "strata.json",
    "synthesize --out results": "xy.npy",
}


def run(command: str, monkeypatch, capsys) -> str:
    """Run a stage, which fails, in this process; return what it printed as error."""
    stage, *options = command.split()
    monkeypatch.setattr(sys, "argv", [stage, *options, "--params", str(PARAMS)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(REPOSITORY / "stages" / f"{stage}.py"), run_name="__main__")
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_stage_does_not_replace_a_folder_of_other_files(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    kept = [tmp_path / "results" / name for name in ("mine/forecasts.safetensors", "thesis.txt")]
    for file in kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("precious")
    error = run(command, monkeypatch, capsys)
    assert "results: found a folder with mine, thesis.txt; expected a new or empty folder, or one with" in error
    assert [file.read_text() for file in kept] == ["precious", "precious"]
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith("record_sample")])
def test_a_stage_accepts_the_folder_of_its_earlier_output(tmp_path, monkeypatch, capsys, command):
    """It then finds that there are no inputs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    kept = tmp_path / "results" / COMMANDS[command]
    kept.write_text("old")
    assert "results" not in run(command, monkeypatch, capsys)
    assert kept.read_text() == "old"


def test_the_output_of_another_stage_is_not_replaced(tmp_path, monkeypatch, capsys):
    """They have files of the same name, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    for name in ("manifest.parquet", "metadata.json", "lanes.safetensors", "model.safetensors"):
        (tmp_path / "results" / name).write_text("of another stage")
    for command in COMMANDS:
        if "--maps-out" not in command:
            assert "results: found a folder with" in run(command, monkeypatch, capsys)
