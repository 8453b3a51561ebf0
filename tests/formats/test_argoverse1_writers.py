"""Tests of the writers of the official layout: exact coordinates, all links and tags, fixed bytes, no partial files."""

import tarfile
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from synthdrive.core.errors import InputError
from synthdrive.formats.argoverse1_writers import (
    SceneRows,
    map_file_name,
    open_scene_archive,
    scene_csv,
    write_maps,
    write_scenes,
)
from synthdrive.scenes.lane_map import NO_LANE, LaneMap, LaneSegments, Links
from synthdrive.scenes.scene_store import AGENT, AV


def small_map(city="BER"):
    points = np.zeros((3, 10, 2))
    points[0, :2] = [[0.1, 0.2], [10.0, 0.0]]
    points[1, :3] = [[10.0, 0.0], [14.0, 1.0], [16.0, 1.0 / 3.0]]
    points[2, :2] = [[0.0, 3.5], [10.0, 3.5]]
    segments = LaneSegments(
        lane_ids=np.array([11, 12, 13]),
        points=points,
        counts=np.array([2, 3, 2]),
        turn=np.array([0, -1, 1], dtype=np.int8),
        is_intersection=np.array([False, True, False]),
        has_traffic_control=np.array([True, False, False]),
    )
    left, right = np.array([2, NO_LANE, NO_LANE]), np.array([NO_LANE, NO_LANE, 0])
    return LaneMap(city, segments, left, right, Links.from_lists([[1], [], [1]]), Links.from_lists([[], [0, 2], []]))


def read(path):
    with tarfile.open(path) as archive:
        return {member.name: ElementTree.fromstring(archive.extractfile(member).read()) for member in archive}


def test_every_lane_is_a_way_with_its_points_tags_and_links(tmp_path):
    write_maps(tmp_path / "hd_maps.tar.gz", {"BER": small_map()})
    ((name, root),) = read(tmp_path / "hd_maps.tar.gz").items()
    assert name == f"map_files/{map_file_name('BER')}"
    nodes = {node.get("id"): (float(node.get("x")), float(node.get("y"))) for node in root.iter("node")}
    ways = {way.get("lane_id"): way for way in root.iter("way")}
    assert list(ways) == ["11", "12", "13"]
    tags = {lane: [(tag.get("k"), tag.get("v")) for tag in way.iter("tag")] for lane, way in ways.items()}
    assert [nodes[nd.get("ref")] for nd in ways["12"].iter("nd")] == [(10.0, 0.0), (14.0, 1.0), (16.0, 1.0 / 3.0)]
    assert tags["11"] == [
        ("has_traffic_control", "True"),
        ("turn_direction", "NONE"),
        ("is_intersection", "False"),
        ("l_neighbor_id", "13"),
        ("r_neighbor_id", "None"),
        ("successor", "12"),
    ]
    assert ("turn_direction", "LEFT") in tags["12"]
    assert [value for key, value in tags["12"] if key == "predecessor"] == ["11", "13"]
    assert ("r_neighbor_id", "11") in tags["13"]
    assert ("turn_direction", "RIGHT") in tags["13"]


def test_bytes_do_not_depend_on_the_order_of_maps(tmp_path):
    write_maps(tmp_path / "one.tar.gz", {"BRU": small_map("BRU"), "BER": small_map()})
    write_maps(tmp_path / "two.tar.gz", {"BER": small_map(), "BRU": small_map("BRU")})
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    assert len(read(tmp_path / "one.tar.gz")) == 2


def test_official_cities_keep_the_official_file_names():
    assert map_file_name("MIA") == "pruned_argoverse_MIA_10316_vector_map.xml"
    assert map_file_name("BER") != map_file_name("BRU")


def rows(shift=0.0, **changes):
    values = {
        "timestamps": np.array([315971499.0250085, 315971499.0250085, 315971499.1250085]),
        "track_ids": ["av", "agent", "agent"],
        "track_types": np.array([AV, AGENT, AGENT], dtype=np.uint8),
        "xy": np.array([[1.0, 2.0], [3.00049, -4.0], [5.5, 6.0]]) + shift,
        "city": "BER",
    }
    return SceneRows(**{**values, **changes})


def test_csv_has_the_official_format():
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


def test_failed_writing_leaves_no_file(tmp_path):
    def scenes():
        yield 1, rows()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path / "val.tar.gz", "val", scenes())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scene_id", ["../evil", "/etc/x", "a b", ""])
def test_ids_that_cannot_be_file_names_are_refused(tmp_path, scene_id):
    with open_scene_archive(tmp_path / "a.tar.gz", "val") as archive, pytest.raises(InputError, match="unfit"):
        archive.add(scene_id, rows())


def test_duplicate_id_is_refused(tmp_path):
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
def test_invalid_rows_are_refused(changes):
    with pytest.raises(InputError):
        rows(**changes)
