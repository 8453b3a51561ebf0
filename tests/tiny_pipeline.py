"""A tiny but real pipeline in its own repository, in which every stage takes seconds.

The fixture `tiny_pipeline` of conftest.py makes such a repository and runs its pipeline once per test session; tests
that change something use a copy (`copy_of`) or a clone. Tests of DVC, the stages and their outputs use it. The stages
import the sources of that repository, not those of the checkout.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from commands import dvc, git
from repository import REPOSITORY
from tools.profiles import apply_profile

PROFILE = Path(__file__).with_name("tiny_profile.yaml")

_RAN = re.compile(r"^(?:Running stage '([^']+)':|Stage '([^']+)' is cached - skipping run)", re.MULTILINE)


def make_tiny_repository(root: Path) -> Path:
    """Copy the files of the checkout, set the tiny parameters and commit; no stage has run."""
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
    """Make a tiny repository, run every stage and commit the results; takes about 40 s on an idle processor."""
    make_tiny_repository(root)
    dvc(root, "repro")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "Run the tiny pipeline")
    return root


def copy_of(pipeline: Path, target: Path) -> Path:
    """Copy the whole repository with its artifacts and its cache, for a test that changes it."""
    shutil.copytree(pipeline, target, symlinks=True)
    return target


def stages_run(printed: str) -> set[str]:
    """Stages that DVC ran or restored from its run cache, according to its output; skipped stages do not count."""
    return {ran or cached for ran, cached in _RAN.findall(printed)}
