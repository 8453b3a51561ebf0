"""The map writer: official layout, exact coordinates, every link and tag."""

import tarfile
import xml.etree.ElementTree as ElementTree

import numpy as np

from synthdrive.formats.argoverse1_writers import map_file_name, write_maps
from synthdrive.scenes.lane_map import NO_LANE, LaneMap, Links
from synthdrive.scenes.lane_segments import LaneSegments


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
    none = [NO_LANE, NO_LANE]
    left, right = np.array([2, *none]), np.array([*none, 0])
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


def test_bytes_depend_on_the_maps_alone(tmp_path):
    write_maps(tmp_path / "one.tar.gz", {"BRU": small_map("BRU"), "BER": small_map()})
    write_maps(tmp_path / "two.tar.gz", {"BER": small_map(), "BRU": small_map("BRU")})
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    assert len(read(tmp_path / "one.tar.gz")) == 2


def test_official_cities_keep_the_official_file_names():
    assert map_file_name("MIA") == "pruned_argoverse_MIA_10316_vector_map.xml"
    assert map_file_name("BER") != map_file_name("BRU")
