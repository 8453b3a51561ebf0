"""The scene writer: official layout, fixed bytes, nothing half-written."""

import tarfile

import numpy as np
import pytest

from synthdrive.core.errors import InputError
from synthdrive.formats.argoverse1_writers import SceneRows, open_scene_archive, scene_csv, write_scenes
from synthdrive.scenes.scene_store import AGENT, AV


def rows(shift=0.0, **changes):
    values = {
        "timestamps": np.array([315971499.0250085, 315971499.0250085, 315971499.1250085]),
        "track_ids": ["av", "agent", "agent"],
        "track_types": np.array([AV, AGENT, AGENT], dtype=np.uint8),
        "xy": np.array([[1.0, 2.0], [3.00049, -4.0], [5.5, 6.0]]) + shift,
        "city": "BER",
    }
    return SceneRows(**{**values, **changes})


def test_csv_is_in_the_official_form():
    assert scene_csv(rows()).decode() == (
        "TIMESTAMP,TRACK_ID,OBJECT_TYPE,X,Y,CITY_NAME\n"
        "315971499.0250085,av,AV,1.000,2.000,BER\n"
        "315971499.0250085,agent,AGENT,3.000,-4.000,BER\n"
        "315971499.1250085,agent,AGENT,5.500,6.000,BER\n"
    )


def test_archive_has_the_official_layout_and_bytes_do_not_depend_on_time_or_path(tmp_path):
    scenes = [(7, rows()), ("8a", rows(1.0))]
    assert write_scenes(tmp_path / "a" / "one.tar.gz", "train", iter(scenes)) == 2
    ready = [(name, scene_csv(scene)) for name, scene in scenes]
    write_scenes(tmp_path / "two.tar.gz", "train", ready)
    assert (tmp_path / "a" / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "two.tar.gz") as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == ["train/data/7.csv", "train/data/8a.csv"]
        assert {(member.mtime, member.uid, member.uname, member.mode) for member in members} == {(0, 0, "", 0o644)}
        assert archive.extractfile(members[1]).read() == scene_csv(rows(1.0))


def test_a_failure_leaves_neither_file_nor_partial(tmp_path):
    def scenes():
        yield 1, rows()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path / "val.tar.gz", "val", scenes())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scene_id", ["../evil", "/etc/x", "a b", ""])
def test_ids_unfit_for_a_file_are_refused(tmp_path, scene_id):
    with open_scene_archive(tmp_path / "a.tar.gz", "val") as archive, pytest.raises(InputError, match="unfit"):
        archive.add(scene_id, rows())


def test_the_same_id_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="same id twice"):
        write_scenes(tmp_path / "a.tar.gz", "val", [(1, rows()), ("1", rows())])


@pytest.mark.parametrize(
    "changes",
    [
        {"xy": np.full((3, 2), np.nan)},
        {"xy": np.zeros((2, 2))},
        {"track_ids": ["a,b", "c", "c"]},
        {"city": "B ER"},
        {"track_types": np.array([0, 1, 9], dtype=np.uint8)},
    ],
)
def test_rows_that_would_make_a_bad_file_are_refused(changes):
    with pytest.raises(InputError):
        rows(**changes)
