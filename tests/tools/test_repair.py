"""Tests of repair: damage that DVC does not detect is found, and repaired from the other copy or removed."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from commands import dvc
from tools.repair import _cached_files, repair

DVC_YAML = """\
stages:
  make:
    cmd: mkdir -p folder && echo first > folder/a && echo second > folder/b && echo single > file && echo git > metrics
    outs:
      - folder
      - file
      - metrics:
          cache: false
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    (root / "dvc.yaml").write_text(DVC_YAML)
    dvc(root, "init", "-q", "--no-scm")
    dvc(root, "repro", "-q")
    return root


@pytest.fixture
def root(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    dvc(tmp_path / "copy", "status")  # DVC records times and sizes of the copied files
    return tmp_path / "copy"


def corrupt(file: Path) -> None:
    """Change a byte as a faulty disk does: size, time and mode stay the same."""
    before = file.stat()
    content = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    file.chmod(before.st_mode & 0o777)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def cached(root: Path, text: str) -> Path:
    return next(path for path in (root / ".dvc/cache/files/md5").glob("*/*") if text in path.read_text())


def contents(root: Path) -> list[str]:
    return [(root / name).read_text() for name in ("folder/a", "folder/b", "file", "metrics")]


INTACT = ["first\n", "second\n", "single\n", "git\n"]


def test_damaged_artifacts_are_restored_from_the_cache(root):
    corrupt(root / "folder" / "a")
    corrupt(root / "file")
    assert "up to date" in dvc(root, "status")
    assert repair(root, change=False)["damaged"] == 2
    assert repair(root)["restored"] == 2
    assert contents(root) == INTACT
    assert "up to date" in dvc(root, "status")


@pytest.mark.parametrize("text", ["second", "single", "relpath"])
def test_a_damaged_cached_copy_is_restored_from_the_workspace(root, text, capsys):
    copy = cached(root, text)
    before = copy.read_bytes()
    corrupt(copy)
    repair(root)
    assert f"{copy.relative_to(root)}: damaged, restored" in capsys.readouterr().out
    assert copy.read_bytes() == before
    assert copy.stat().st_mode & 0o777 == 0o444
    assert repair(root)["damaged"] == 0


def test_files_without_an_intact_copy_are_removed_and_made_again(root):
    corrupt(root / "metrics")
    corrupt(cached(root, "second"))
    corrupt(root / "folder" / "b")
    assert repair(root)["removed"] == 3
    dvc(root, "repro", "-q")
    assert contents(root) == INTACT
    assert repair(root)["damaged"] == 0


def test_a_file_changed_by_the_user_is_not_repaired(root):
    (root / "file").write_text("of my own")
    assert repair(root)["damaged"] == 0
    assert (root / "file").read_text() == "of my own"


def test_outputs_of_a_renamed_stage_are_kept(root):
    """DVC keeps the old stage in dvc.lock, with the hashes that the outputs had then."""
    text = (root / "dvc.yaml").read_text().replace("make:", "make_again:")
    for word in ("first", "single", "git"):
        text = text.replace(f"echo {word}", f"echo new {word}")
    (root / "dvc.yaml").write_text(text)
    dvc(root, "repro", "-q")
    assert "  make:" in (root / "dvc.lock").read_text()
    assert repair(root)["damaged"] == 0
    assert contents(root) == ["new first\n", "second\n", "new single\n", "new git\n"]


def test_a_metrics_file_is_made_again_rather_than_copied_from_an_equal_one(root):
    text = (root / "dvc.yaml").read_text()
    text = text.replace("> metrics", "> metrics && echo git > others") + "      - others:\n          cache: false\n"
    (root / "dvc.yaml").write_text(text)
    dvc(root, "repro", "-q")
    corrupt(root / "metrics")
    counts = repair(root)
    assert (counts["damaged"], counts["removed"]) == (1, 1)
    assert not (root / "metrics").exists()


def test_unfinished_copies_in_the_cache_are_ignored(tmp_path):
    """Their names begin with a dot."""
    md5 = hashlib.md5(b"whole").hexdigest()
    whole = tmp_path / md5[:2] / md5[2:]
    whole.parent.mkdir()
    whole.write_bytes(b"whole")
    whole.with_name(f".{whole.name}.partial").write_bytes(b"wh")
    (file,) = _cached_files(tmp_path)
    assert (file.path, file.intact()) == (whole, True)
