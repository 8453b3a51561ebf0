"""Tests of the provenance record: it describes how an artifact was made, works without git, contains no secrets."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from synthdrive.core import provenance as module
from synthdrive.core.provenance import run_record, values_hash
from synthdrive.training.checkpoints import run_identity

STAGE_MODULE = "synthdrive.pretraining.pretrain"


@dataclass
class Section:
    epochs: int = 3


@pytest.fixture(autouse=True)
def _fresh_caches():
    module.git_commit.cache_clear()
    module.code_hash.cache_clear()
    yield
    module.git_commit.cache_clear()
    module.code_hash.cache_clear()


def test_record_is_plain_json_and_complete() -> None:
    record = run_record({"pretrain": Section()}, {"scenes": "ab" * 32}, seed=4, device="cpu")
    assert json.loads(json.dumps(record)) == record
    assert record["parameters"] == {"pretrain": {"epochs": 3}}
    assert record["seed"] == 4
    assert record["packages"]["numpy"]
    assert record["inputs"] == {"scenes": "ab" * 32}


def test_record_works_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    record = run_record({}, {})
    assert record["commit"] is None
    assert record["modified"] is None
    assert len(record["code"]) == 64


def test_commit_is_recorded_only_if_the_sources_are_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "src"
    (source / "core").mkdir(parents=True)
    (source / "core/provenance.py").write_text("x = 1\n")
    monkeypatch.setattr(module, "_SOURCE", source)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "empty"], check=True)
    assert module.git_commit() is None  # an installed copy inside somebody else's repository
    subprocess.run([*git, "add", "src"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "add"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    module.git_commit.cache_clear()
    assert module.git_commit() == head
    assert module.git_modified() is False
    (source / "core/provenance.py").write_text("x = 2\n")
    assert module.git_modified() is True
    subprocess.run(["git", "init", "-q", str(tmp_path / "other")], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))  # as in a hook of another repository
    module.git_commit.cache_clear()
    assert module.git_commit() == head


def test_code_hash_changes_with_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(module, "_SOURCE", tmp_path)
    before = module.code_hash()
    (tmp_path / "a.py").write_text("x = 2\n")
    module.code_hash.cache_clear()
    assert module.code_hash() != before


def test_identity_of_a_training_depends_only_on_code_that_it_can_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = shutil.copytree(module._SOURCE, tmp_path / "synthdrive")
    monkeypatch.setattr(module, "_SOURCE", sources)

    def edited(name: str = "__init__.py") -> tuple[str, dict[str, object]]:
        with (sources / name).open("a") as stream:
            stream.write("EDITED = True\n")
        module.code_hash.cache_clear()
        record = run_record({}, {}, entry=STAGE_MODULE)
        return record["code"], run_identity(record, {})

    code, identity = edited()
    for name in ("finetuning/finetune.py", "forecasting/forecasts.py", "forecasting/forecast_scenes.py"):
        code_before, (code, new_identity) = code, edited(name)
        assert code != code_before
        assert new_identity == identity
    for name in (
        "pretraining/pretrain.py",
        "models/encoder.py",
        "models/batch.py",
        "core/seeding.py",
    ):  # imported directly and indirectly
        identity_before, identity = identity, edited(name)[1]
        assert identity != identity_before


def test_values_hash_ignores_only_the_key_order() -> None:
    assert values_hash({"a": 1, "b": [1, 2]}) == values_hash({"b": (1, 2), "a": 1})
    assert values_hash({"a": 1}) != values_hash({"a": 2})


def test_record_contains_neither_secrets_nor_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2-secret")
    text = json.dumps(run_record({}, {}))
    assert "hunter2-secret" not in text
    assert str(Path.home()) not in text


def test_importing_provenance_does_not_import_torch() -> None:
    code = "import sys, synthdrive.core.provenance; print('torch' in sys.modules or 'accelerate' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
