"""Shared fixtures: paths of the reference data, and a few small artifacts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repository import REPOSITORY


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference data; the test is skipped if it does not exist."""
    folder = Path(os.environ.get("SYNTHDRIVE_REFERENCE", REPOSITORY.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"no reference data in {folder} (set SYNTHDRIVE_REFERENCE)")
    return folder


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository in which the whole pipeline has run; tests copy or clone it, see tiny_pipeline.py."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("needs a git checkout")
    from tiny_pipeline import make_tiny_pipeline  # imports packages that a training-only environment lacks

    return make_tiny_pipeline(tmp_path_factory.mktemp("tiny") / "pipeline")
