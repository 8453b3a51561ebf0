"""Tests that dvc.yaml declares the modules that each stage imports."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from repository import REPOSITORY
from tools.dependencies import import_closure, problems, undeclared_and_unneeded


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    package = tmp_path / "src" / "synthdrive"
    for name, text in {
        "__init__.py": '"""Doc."""\n',
        "scenes/__init__.py": "",
        "scenes/lane_map.py": "from synthdrive.core.errors import InputError\n",
        "core/__init__.py": "",
        "core/errors.py": "InputError = ValueError\n",
        "unused/module.py": "X = 1\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "ingest.py").write_text("def main():\n    from synthdrive.scenes import lane_map\n")
    return tmp_path


def _stage(*dependencies: str) -> dict:
    return {"stages": {"ingest": {"cmd": "python stages/ingest.py --out data", "deps": list(dependencies)}}}


def test_the_closure_includes_imports_in_functions_but_no_empty_init_files(repository: Path) -> None:
    closure = import_closure(Path("stages/ingest.py"), repository)
    assert closure == ["src/synthdrive/core/errors.py", "src/synthdrive/scenes/lane_map.py", "stages/ingest.py"]


def test_undeclared_imports_and_unneeded_folders_are_found(repository: Path) -> None:
    complete = ("raw", "stages/ingest.py", "src/synthdrive/core", "src/synthdrive/scenes", "requirements.lock")
    assert list(problems(_stage(*complete), repository)) == []
    missing, unneeded = undeclared_and_unneeded(_stage("raw", *complete[3:], "src/synthdrive/unused"), repository)[
        "ingest"
    ]
    assert missing == ["src/synthdrive/core/errors.py", "stages/ingest.py"]
    assert unneeded == ["src/synthdrive/unused"]


def test_dvc_yaml_declares_what_the_stages_import() -> None:
    assert list(problems(YAML(typ="safe").load(REPOSITORY / "dvc.yaml"), REPOSITORY)) == []
