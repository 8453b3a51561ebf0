"""Test that every stage writes the same bytes in two clones with different paths and commits.

The commits differ by a comment in a file that no stage uses, so dvc.lock must be the same too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from commands import dvc, git, run
from synthdrive.core.artifacts import file_hash
from tiny_pipeline import make_tiny_repository

DATA_STAGES = {
    "record_sample": ["data/raw/sample"],
    "ingest": ["data/maps", "data/scenes/train", "data/scenes/val"],
    "augment": ["data/augmented"],
    "synthesize": ["data/synthetic"],
}


def clone_with_a_comment(repository: Path, clone: Path) -> Path:
    """Make a clone with one more commit; no stage has run in it."""
    git(repository, "clone", "-q", "--no-hardlinks", str(repository), str(clone))
    unused = clone / "stages/export.py"
    unused.write_text(unused.read_text() + "# A comment\n")
    git(clone, "commit", "-q", "-a", "-m", "A comment")
    return clone


def test_data_stages_give_the_same_bytes_in_another_clone(tmp_path):
    first = make_tiny_repository(tmp_path / "first")
    second = clone_with_a_comment(first, tmp_path / "elsewhere" / "second")
    stages = yaml.safe_load((first / "dvc.yaml").read_text())["stages"]
    for name, outputs in DATA_STAGES.items():
        command = stages[name]["cmd"].replace("${data.raw}", "data/raw/sample").split()
        for clone in (first, second):
            run(clone, *command)
        for output in outputs:
            assert file_hash(first / output) == file_hash(second / output), output


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_pipeline_gives_the_same_bytes_in_another_clone(tiny_pipeline, tmp_path):
    clone = clone_with_a_comment(tiny_pipeline, tmp_path / "elsewhere" / "second")
    git(clone, "rm", "-q", "--cached", "dvc.lock")
    (clone / "dvc.lock").unlink()
    dvc(clone, "repro")
    git(clone, "add", "dvc.lock")
    assert (clone / "dvc.lock").read_bytes() == (tiny_pipeline / "dvc.lock").read_bytes()
    assert git(clone, "status", "--porcelain") == ""
