"""Tests of the experiment table, and of a new user's first experiments on a tiny pipeline, from run to removal."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from commands import dvc, git, run
from repository import PARAMS, REPOSITORY
from tools.experiment_table import experiment_table

WIDTH = 160
STAGE = """\
import json
import yaml
values = yaml.safe_load(open("params.yaml"))
variants = values["run_variants"]
score = {"goal_sets": 1.0, "nms": 2.0}[values["evaluate"]["selection"]]
names = ("MR6", "minFDE6", "minADE6")
metrics = {name: {variant: score + i for i, variant in enumerate(variants)} for name in names}
json.dump(metrics, open("metrics.json", "w"))
"""
PIPELINE = """\
stages:
  report:
    cmd: python report.py
    params: [run_variants, seeds, evaluate]
    deps: [report.py]
    metrics: [metrics.json: {cache: false}]
"""


@pytest.fixture
def repository(tmp_path):
    """The product's Makefile, parameters and .gitignore, and a pipeline of one stage; it has run and is committed."""
    root = tmp_path / "repository"
    root.mkdir()
    for name in ("Makefile", ".gitignore", "params.yaml"):
        shutil.copy(REPOSITORY / name, root)
    for name in ("tools", "src"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "report.py").write_text(STAGE)
    (root / "dvc.yaml").write_text(PIPELINE)
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "test")
    git(root, "config", "user.email", "test@localhost")
    dvc(root, "init", "-q")
    dvc(root, "repro", "-q")
    commit(root, "Results")
    return root


def commit(root: Path, message: str) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", message)


def table(root: Path) -> list[str]:
    """Lines of `make experiments`; none is wider than a screen."""
    printed = run(root, "make", "experiments", f"SYNTHDRIVE_CONTAINER={Path(sys.executable).parents[1]}")
    lines = printed.splitlines()
    assert max(map(len, lines)) <= WIDTH
    return lines


LISTING = """\
Experiment,rev,typ,Created,parent,minFDE6.map,minFDE6.none,MR6.none,reconstruction.map.lanes.loss,seeds,evaluate.num_restarts,data/maps,reports/a.json:MR6
,workspace,baseline,,,9,9,9,9,9,9,9,9
,main,baseline,2026-11-28,,,2.53781234,0.5,0.1,"[0, 1]",4,0123,1
long,0123abc,branch_commit,2026-11-28,,2.25,2.5,0.25,0.2,"[0, 1, 2]",4,4567,2
"""


def test_the_table_has_one_metric_and_the_parameters_that_differ():
    title, header, main, experiment = experiment_table(LISTING, "minFDE6", ["none", "combined"]).splitlines()
    assert title == "minFDE6 (m) of each variant"
    assert header.split() == ["none", "map", "seeds"]
    assert main.split() == ["main", "2.538", "[0,", "1]"]
    assert experiment.split() == ["long", "2.5", "2.25", "[0,", "1,", "2]"]


def test_miss_rates_are_shown_in_per_cent():
    title, _, main, experiment = experiment_table(LISTING, "MR6").splitlines()
    assert title == "MR6 (%) of each variant"
    assert (main.split()[1], experiment.split()[1]) == ("50", "25")


EARLIER = """\
Experiment,rev,typ,minFDE6.none,seeds,evaluate.starts,evaluate.num_restarts
,workspace,baseline,9,9,,9
,main,baseline,2.5,[0],,4
five,0123abc,branch_commit,2.4,[5],,4
,7654321,baseline,2.6,[0],4,
,89abcde,baseline,2.7,[0],4,
old,fedcba9,branch_commit,2.8,[0],8,
"""


def test_earlier_commits_are_shown_only_with_experiments_and_renamed_parameters_are_left_out():
    _, header, *rows = experiment_table(EARLIER, "minFDE6").splitlines()
    assert header.split() == ["none", "seeds"]
    assert [row.split()[0] for row in rows] == ["main", "five", "89abcde", "old"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_first_experiments_of_a_new_user(repository):
    dvc(repository, "exp", "run", "-n", "nms", "-S", "evaluate.selection=nms")
    assert git(repository, "status", "--porcelain").split() == [
        "M",
        "dvc.lock",
        "M",
        "metrics.json",
        "M",
        "params.yaml",
    ]
    changes = json.loads(dvc(repository, "exp", "diff", "main", "nms", "--json"))["metrics"]["metrics.json"]
    assert all(None not in (entry["old"], entry["new"]) for entry in changes.values())
    title, header, main, nms = table(repository)
    assert title == "minFDE6 (m) of each variant"
    assert header.split() == ["map", "trajectory", "combined", "forecast", "evaluate.selection"]
    assert main.split() == ["main", "1", "2", "3", "4", "goal_sets"]
    assert nms.split() == ["nms", "2", "3", "4", "5", "nms"]
    git(repository, "checkout", "-q", ".")  # undo the experiment
    dvc(repository, "checkout", "-q")
    assert git(repository, "status", "--porcelain") == ""
    dvc(repository, "exp", "run", "--queue", "-n", "three", "-S", "seeds=[0,1,2]")
    dvc(
        repository,
        "exp",
        "run",
        "--queue",
        "-n",
        "six",
        "-S",
        "run_variants=[map,trajectory,combined,as_released,forecast]",
    )
    dvc(repository, "exp", "run", "--run-all")
    assert dvc(repository, "queue", "status").count("Success") == 2
    assert git(repository, "status", "--porcelain") == ""
    (repository / "notes.txt").write_text("a commit after the experiments\n")
    commit(repository, "Notes")
    rows = "\n".join(table(repository))
    assert all(f"  {name} " in rows for name in ("nms", "three", "six"))
    dvc(repository, "exp", "apply", "nms")
    assert json.loads((repository / "metrics.json").read_text())["minFDE6"]["map"] == 2.0
    assert (repository / "params.yaml").read_text().count("#") == PARAMS.read_text().count("#")
    git(repository, "checkout", "-q", ".")
    dvc(repository, "exp", "remove", "nms", "three", "six")
    assert " nms " not in "\n".join(table(repository))
    assert git(repository, "status", "--porcelain") == ""
