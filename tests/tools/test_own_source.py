"""Tests that a stage runs the code of its own repository, whatever its location and the installed packages."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repository import REPOSITORY

STAGES = sorted(path for path in (REPOSITORY / "stages").glob("*.py") if not path.name.startswith("_"))

MODULE = "def length():\n    return {length}\n"
STAGE = """\
import json

import _own_source
from synthdrive.measure import length

json.dump({"length": length()}, open("length.json", "w"))
"""
PIPELINE = """\
stages:
  measure:
    cmd: python stages/measure.py
    deps: [stages/measure.py, src/synthdrive]
    metrics: [length.json: {cache: false}]
"""


@pytest.mark.parametrize("stage", STAGES, ids=lambda path: path.stem)
def test_every_stage_imports_own_source_before_the_package(stage):
    imported = [
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.parse(stage.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    ours = [name for name in imported if name == "_own_source" or str(name).split(".")[0] == "synthdrive"]
    assert ours[0] == "_own_source"


def make_tree(root: Path, length: int = 1) -> Path:
    """Make a repository with one stage, which writes the result of a function of its package."""
    for folder in ("stages", "src/synthdrive"):
        (root / folder).mkdir(parents=True)
    shutil.copy(REPOSITORY / "stages/_own_source.py", root / "stages")
    (root / "stages/measure.py").write_text(STAGE)
    (root / "src/synthdrive/__init__.py").touch()
    (root / "src/synthdrive/measure.py").write_text(MODULE.format(length=length))
    (root / "dvc.yaml").write_text(PIPELINE)
    return root


def run(root: Path, *command: str, other: Path, expect: int = 0) -> str:
    """Run a command in a folder, with the package of another tree on PYTHONPATH, and return its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    packages = os.pathsep.join((str(other / "src"), str(root.parent / "copy")))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def elsewhere(tmp_path: Path) -> Path:
    """Make a folder without a package; Python searches the current folder first."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def length(root: Path) -> int:
    return json.loads((root / "length.json").read_text())["length"]


def test_a_copy_and_the_processes_that_it_starts_run_its_own_code(tmp_path):
    main, copy = make_tree(tmp_path / "main"), make_tree(tmp_path / "copy", length=2)
    run(copy, sys.executable, "stages/measure.py", other=main)
    assert length(copy) == 2
    child = "import subprocess, sys, synthdrive.measure as m\nprint('length', m.length())"
    (copy / "stages/measure.py").write_text(
        f"import subprocess, sys\nimport _own_source\nsubprocess.run([sys.executable, '-c', {child!r}], check=True)\n"
    )
    assert "length 2" in run(copy, sys.executable, "stages/measure.py", other=main)


def test_code_of_another_tree_is_refused(tmp_path):
    main, copy = make_tree(tmp_path / "main"), make_tree(tmp_path / "copy", length=2)
    late = f"import sys, synthdrive; sys.path.insert(0, {str(copy / 'stages')!r}); import _own_source"
    printed = run(elsewhere(tmp_path), sys.executable, "-c", late, other=main, expect=1)
    assert f"synthdrive comes from {main}" in printed
    assert str(copy / "src") in printed
    assert not (copy / "length.json").exists()


def test_a_tool_of_another_tree_is_refused(tmp_path):
    copy = make_tree(tmp_path / "copy")
    shutil.copytree(REPOSITORY / "tools", copy / "tools")
    printed = run(elsewhere(tmp_path), sys.executable, "-m", "tools.verify", "lock", other=REPOSITORY, expect=1)
    assert "run them with PYTHONPATH=src" in printed.splitlines()[-1]


@pytest.mark.timeout(120)
def test_a_queued_edit_is_run_although_it_has_been_reverted(tmp_path):
    main = make_tree(tmp_path / "main")
    module = main / "src/synthdrive/measure.py"

    def dvc(*arguments):
        return run(main, sys.executable, "-m", "dvc", *arguments, other=main)

    def git(*arguments):
        return run(main, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments, other=main)

    git("init", "-q", "-b", "main")
    git("config", "user.name", "test")
    git("config", "user.email", "test@localhost")
    dvc("init", "-q")
    dvc("repro", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "One")
    module.write_text(MODULE.format(length=2))
    dvc("exp", "run", "--queue", "--name", "edited")
    module.write_text(MODULE.format(length=1))
    dvc("exp", "run", "--run-all")
    assert length(main) == 1
    reference = next(ref for ref in git("for-each-ref", "--format=%(refname)", "refs/exps").split() if "edited" in ref)
    assert json.loads(git("show", f"{reference}:length.json")) == {"length": 2}
    module.write_text(MODULE.format(length=2))  # restored from the run cache, with the right result
    dvc("repro", "-q")
    assert length(main) == 2


@pytest.mark.parametrize(("folder", "expected"), [("elsewhere", "clone"), ("worktree", "worktree")])
def test_the_environment_imports_the_tree_of_the_directory_or_else_the_one_beside_it(tmp_path, folder, expected):
    script = (REPOSITORY / "containers" / "install-environment.sh").read_text(encoding="utf-8")
    (line,) = [text.split("'")[1] for text in script.splitlines() if "import os, sys; beside" in text]
    for tree in ("clone", "worktree"):
        (tmp_path / tree / "src" / "synthdrive").mkdir(parents=True)
    (tmp_path / "elsewhere" / "clone").mkdir(parents=True)
    prefix = tmp_path / "clone" / ".venv"
    packages = prefix / "site-packages"
    packages.mkdir(parents=True)
    (packages / "synthdrive.pth").write_text(line + "\n")
    code = f"import json, site, sys; sys.prefix = {str(prefix)!r}; site.addsitedir({str(packages)!r})"
    command = [sys.executable, "-IS", "-c", f"{code}; print(json.dumps(sys.path))"]
    found = json.loads(subprocess.check_output(command, cwd=tmp_path / folder, text=True))
    trees = [Path(entry) for entry in found if entry.startswith(str(tmp_path)) and entry.endswith("src")]
    assert trees == [tmp_path / expected / "src"]
