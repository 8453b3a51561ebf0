"""Tests that the examples in the README work as shown."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent / "augmentation"))
from grid_city import grid_city

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_library_example_drives_on_a_warped_map(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    (tmp_path / "data" / "maps").mkdir(parents=True)
    grid_city("BER").save(tmp_path / "data" / "maps" / "BER.safetensors")
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(example, names)
    drives = names["drives"]
    assert drives.steps.min() > 50
    assert abs(drives.xy[1, drives.steps[1] - 1, 1]) > 100  # the straight road bends by atan(0.6)
    assert capsys.readouterr().out


def test_commands_and_files_named_in_the_readme_exist():
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.M))
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]+)", README, flags=re.M))
    assert named
    assert named <= targets
    for path in re.findall(r"\b((?:stages|profiles|data/README|accelerate|params)[\w/-]*\.(?:py|yaml|md))\b", README):
        assert (REPOSITORY / path).is_file(), path


def test_numbers_of_the_second_study_equal_those_of_its_page():
    study = (REPOSITORY / "studies" / "argoverse1_folds" / "README.md").read_text(encoding="utf-8")
    changes = re.findall(r"[−+][\d.]+ % \[[^]]*\]", README.partition("## The study")[2])
    assert len(changes) == 4
    for change in changes:
        assert f" by {change} compared with " in study


def test_every_stage_prints_its_usage(monkeypatch, capsys):
    for script in sorted((REPOSITORY / "stages").glob("[a-z]*.py")):
        monkeypatch.setattr(sys, "argv", [script.name, "--help"])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(script), run_name="__main__")
        assert stop.value.code == 0, script
        assert "-out" in capsys.readouterr().out, script
