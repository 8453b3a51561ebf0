"""Tests that the examples in the README work as shown."""

import re
import runpy
import shutil
import sys

import numpy as np
import pytest
from forecasting_scenes import driven, straight_lanes, write_store

from repository import PARAMS, REPOSITORY
from synthdrive.config.training import ModelParameters
from synthdrive.core.parameters import load_section
from synthdrive.core.provenance import plain_values
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.densetnt import DenseTNT
from synthdrive.training.checkpoints import save_checkpoint

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_example_forecasts_with_a_trained_model(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    (folder,) = re.findall(r'Path\("(models/[^"]*)"\)', example)
    model = load_section(ModelParameters, "model", PARAMS)
    metadata = {"stage": "finetune", "variant": "forecast", "seed": 0, "model": plain_values(model)}
    metadata["timing"] = ARGOVERSE1.plain()
    save_checkpoint(tmp_path / folder, DenseTNT(model, ARGOVERSE1), metadata, [])
    agents = np.stack([driven(angle, 8.0, 0.1, (1000.0, -300.0)) for angle in np.linspace(0.0, 1.0, 8)])
    write_store(tmp_path / "data" / "scenes" / "val", agents, straight_lanes([(0, 0), (1, 0)]))
    shutil.copy(PARAMS, tmp_path)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(example, names)
    assert names["found"].trajectories.shape == (8, 6, 30, 2)
    assert np.isfinite(names["found"].trajectories).all()
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
    changes = re.findall(r"[−+][\d.]+ % \[[^]]*\]", " ".join(README.partition("## The second study")[2].split()))
    assert len(changes) == 5
    for change in changes:
        assert f" by {change} compared with " in study


def test_every_stage_prints_its_usage(monkeypatch, capsys):
    for script in sorted((REPOSITORY / "stages").glob("[a-z]*.py")):
        monkeypatch.setattr(sys, "argv", [script.name, "--help"])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(script), run_name="__main__")
        assert stop.value.code == 0, script
        assert "-out" in capsys.readouterr().out, script
