"""A smaller tarball holds exactly the named scenes, byte for byte, and nothing is left where one is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthdrive.core.errors import InputError
from synthdrive.formats.archives import Limits, add_member, read_files, reproducible_tar
from synthdrive.ingestion.select_scenes import read_ids, select_scenes

REPOSITORY = Path(__file__).resolve().parents[2]
LIMITS = Limits(10**6, 10**8)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Twelve files of the train split, and one that is none."""
    path = tmp_path / "forecasting_train_v1.1.tar.gz"
    with path.open("wb") as stream, reproducible_tar(stream) as archive:
        add_member(archive, "train/Argoverse-Terms_of_Use.txt", b"3")
        for number in range(1, 13):
            add_member(archive, f"train/data/{number}.csv", f"scene {number}".encode())
    return path


def test_the_named_scenes_are_there_as_they_were(official: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "forecasting_val_v1.1.tar.gz"
    (tmp_path / "ids.txt").write_text("11\n3\n")
    command = [sys.executable, REPOSITORY / "stages" / "select_scenes.py", "--source", official, "--split", "val"]
    command += ["--ids", tmp_path / "ids.txt", "--out", out, "--params", REPOSITORY / "params.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run([*map(str, command)], check=True, env=environment, capture_output=True, text=True)
    assert "2 scenes" in done.stdout
    found = list(read_files(out, lambda name: True, LIMITS))
    assert found == [("val/data/3.csv", b"scene 3"), ("val/data/11.csv", b"scene 11")]
    for name, content in read_files(official, lambda name: True, LIMITS):
        (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "unpacked" / name).write_bytes(content)
    select_scenes(tmp_path / "unpacked", ["3", "11"], "val", tmp_path / "again.tar.gz", LIMITS)
    assert (tmp_path / "again.tar.gz").read_bytes() == out.read_bytes()


def test_a_missing_scene_is_named_and_leaves_nothing(official: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no scene 13 \(1 missing\); expected all 2"):
        select_scenes(official, ["3", "13"], "val", tmp_path / "out.tar.gz", LIMITS)
    assert not (tmp_path / "out.tar.gz").exists()


@pytest.mark.parametrize(("text", "message"), [("", "no id"), ("1\n2\n1\n", "1 twice"), ("\xe4", "no plain text")])
def test_lists_that_name_no_scenes_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_ids(tmp_path / "ids.txt")


@pytest.mark.parametrize(("split", "count"), [("train", 2399), ("val", 336)])
def test_the_study_s_lists_can_be_read(split: str, count: int) -> None:
    assert len(read_ids(REPOSITORY / "studies" / "argoverse1_small" / "scenes" / f"{split}.txt")) == count


def test_a_suffix_in_capitals_is_one_and_a_scene_twice_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "train" / "data"
    data.mkdir(parents=True)
    (data / "7.CSV").write_bytes(b"scene 7")
    select_scenes(tmp_path / "train", ["7"], "val", tmp_path / "out.tar.gz", LIMITS)
    assert list(read_files(tmp_path / "out.tar.gz", lambda name: True, LIMITS)) == [("val/data/7.csv", b"scene 7")]
    (data / "again").mkdir()
    (data / "again" / "7.csv").write_bytes(b"another scene 7")
    (data / "last").mkdir()
    (data / "last" / "8.csv").write_bytes(b"scene 8")
    with pytest.raises(InputError, match="scene 7 again"):
        select_scenes(tmp_path / "train", ["7", "8"], "val", tmp_path / "out.tar.gz", LIMITS)
