"""Tests that a stage refuses to replace a folder of other files, before it reads or computes anything."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = [
    "augment --out results",
    "evaluate --checkpoint models/finetuned/map-0 --out results",
    "ingest --maps-out results",
    "ingest --train-out results",
    "ingest --test-out results",
    "record_sample --out results",
    "report --out results",
    "score_forecasts --forecasts mine.npz --out results",
    "synthesize --out results",
]


def run(command: str, monkeypatch, capsys) -> str:
    """Run a stage, which fails, in this process; return what it printed as error."""
    stage, *options = command.split()
    monkeypatch.setattr(sys, "argv", [stage, *options, "--params", str(ROOT / "params.yaml")])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / "stages" / f"{stage}.py"), run_name="__main__")
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


@pytest.mark.parametrize("command", COMMANDS[:5])
def test_a_stage_accepts_the_folder_of_its_earlier_output(tmp_path, monkeypatch, capsys, command):
    """It then finds that there are no inputs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "manifest.parquet").write_text("old")
    assert "results" not in run(command, monkeypatch, capsys)
    assert (tmp_path / "results" / "manifest.parquet").read_text() == "old"
