"""A tiny but real pipeline in a repository of its own, in which every stage runs for seconds.

The fixture `tiny_pipeline` of conftest.py is such a repository, in which everything has run, once per session; tests
that change something use a copy (`copy_of`) or a clone. It serves tests of DVC, the stages and their outputs. The
stages import the sources of that repository, not those of the checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.profiles import apply_profile

REPOSITORY = Path(__file__).resolve().parents[1]
PROFILE = Path(__file__).with_name("tiny_profile.yaml")

_RAN = re.compile(r"^(?:Running stage '([^']+)':|Stage '([^']+)' is cached - skipping run)", re.MULTILINE)


def run(repository: Path, *command: str, expect: int | None = 0) -> str:
    """What a command prints in a repository; its exit status must be `expect`, unless that is None."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(repository / "src"), "COLUMNS": "400"}
    done = subprocess.run(
        command, cwd=repository, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if expect is not None and done.returncode != expect:
        raise AssertionError(f"{' '.join(command)}: exit status {done.returncode}, not {expect}\n{done.stdout}")
    return done.stdout


def dvc(repository: Path, *arguments: str, expect: int | None = 0) -> str:
    """What a DVC command prints."""
    return run(repository, sys.executable, "-m", "dvc", *arguments, expect=expect)


def git(repository: Path, *arguments: str) -> str:
    """What a git command prints."""
    return run(repository, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments)


def make_tiny_repository(root: Path) -> Path:
    """The product's files, as they are in the checkout, with the tiny parameters; committed, nothing has run."""
    root.mkdir(parents=True, exist_ok=True)
    results = ("dvc.lock", "metrics/", "data/checks/")
    listed = git(REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        if (REPOSITORY / name).is_file() and not name.startswith(results):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, root / name)
    apply_profile(PROFILE, root / "params.yaml")
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "test")
    git(root, "config", "user.email", "test@localhost")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "The tiny pipeline")
    return root


def make_tiny_pipeline(root: Path) -> Path:
    """A tiny repository in which everything has run and is committed; about 40 s on an idle processor."""
    make_tiny_repository(root)
    dvc(root, "repro")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "Run the tiny pipeline")
    return root


def copy_of(pipeline: Path, target: Path) -> Path:
    """The whole repository with its artifacts and its cache, to change at will."""
    shutil.copytree(pipeline, target, symlinks=True)
    return target


def stages_run(printed: str) -> set[str]:
    """Stages that DVC ran, or took from the cache of runs, by what it printed; not those that it skipped."""
    return {ran or cached for ran, cached in _RAN.findall(printed)}
