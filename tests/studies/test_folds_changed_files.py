"""Tests that the study of folds saves no result if code or commit changed while its stages ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studies.argoverse1_folds import execute
from studies.argoverse1_folds.execute import RECORDED, Executor, make_executor
from studies.argoverse1_folds.plan import BASELINE, Recipe, Run, load_plan
from studies.argoverse1_folds.stores import Stores
from synthdrive.config.whole_file import compose
from synthdrive.core.artifacts import write_json
from synthdrive.core.errors import InputError
from synthdrive.core.parameters import read_parameters
from synthdrive.core.provenance import code_hash, write_provenance

REPOSITORY = Path(__file__).resolve().parents[2]
RUN, RECIPE = Run("forecast_realistic", 10, 0), Recipe({"epochs": 1})


@dataclass
class FakeStages:
    """Stages that only write their records; `changes` are entries of the records, by stage."""

    commit: str = "first"
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    run: list[str] = field(default_factory=list)

    def __call__(self, stage: str, options: Mapping[str, Any], log: Path) -> float:
        self.run.append(stage)
        name = Path(options.get("checkpoint", options["out"])).name
        metadata = {"stage": stage, "variant": RUN.variant, "seed": 0, "data": {"used": 5}}
        write_json(options["out"] / "metadata.json", metadata)
        if stage in RECORDED:
            made_by = {"stage_code": code_hash(RECORDED[stage]), "commit": self.commit, "modified": False, "inputs": {}}
            content = {"made_by": made_by | self.changes.get(stage, {})}
            write_provenance(options["provenance"], stage, name, content)
        return 1.0


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> FakeStages:
    found = FakeStages()
    errors = dict.fromkeys(("minFDE6", "minADE6", "minFDE1", "minADE1", "MR6"), np.ones(1))
    monkeypatch.setattr(execute, "run_stage", found)
    monkeypatch.setattr(execute, "load_scene_errors", lambda folder: (["scene"], errors))
    monkeypatch.setattr(execute, "uncommitted", lambda: "")
    monkeypatch.setattr(Stores, "make_scenes", lambda self, run: self.folder(run))
    monkeypatch.setattr(Stores, "make_windows", lambda self, run, stage: (self.folder(run) / "windows", 0.0))
    return found


@pytest.fixture
def executor(stages: FakeStages, tmp_path: Path) -> Executor:
    profile = REPOSITORY / "profiles" / "argoverse1-folds.yaml"
    parameters = compose(read_parameters(REPOSITORY / "params.yaml"), profile)
    plan = load_plan(REPOSITORY / "studies" / "argoverse1_folds" / "plan.yaml")
    return replace(make_executor(Stores(tmp_path, parameters, plan)), commit="first", modified=False)


@pytest.mark.parametrize("stage", [*RECORDED])
@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"commit": "second"}, "start it again"),
        ({"stage_code": "other"}, "restore the files, delete"),
        ({"modified": True}, "restore the files, delete"),
    ],
)
def test_a_result_of_files_that_changed_is_refused(
    executor: Executor, stages: FakeStages, stage: str, change: dict[str, Any], advice: str
) -> None:
    stages.changes = {stage: change}
    ((key, value),) = change.items()
    with pytest.raises(InputError, match=rf"{RUN.name}: record of {stage}: found {key} {value}; .*{advice}"):
        executor.make(RUN, RECIPE)


def test_networks_of_another_commit_are_used_if_their_code_is_the_same(executor: Executor, stages: FakeStages) -> None:
    assert executor.make(RUN, RECIPE).provenance["commit"] == "first"
    stages.commit = "second"
    assert replace(executor, commit="second").make(RUN, RECIPE).provenance["commit"] == "second"
    assert stages.run == ["pretrain", "finetune", "evaluate", "evaluate"]


def test_networks_of_changed_files_are_refused_in_later_sessions_too(executor: Executor, stages: FakeStages) -> None:
    stages.changes = {"pretrain": {"stage_code": "other"}}
    for _ in range(2):
        with pytest.raises(InputError, match="record of pretrain: found stage_code other"):
            executor.make(RUN, RECIPE)
    assert stages.run.count("pretrain") == 1


@pytest.mark.parametrize("run", [Run(BASELINE, 0, 0), RUN])
def test_a_result_is_refused_while_files_are_not_committed(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    assert executor.make(run, RECIPE).provenance["modified"] is False
    monkeypatch.setattr(execute, "uncommitted", lambda: "stages/evaluate.py: not committed")
    with pytest.raises(InputError, match=rf"{run.name}: found stages/evaluate.py: not committed"):
        executor.make(run, RECIPE)
