"""Tests of the map reader: round trip with the writer, the official maps, and refusal of invalid maps."""

import contextlib
import tarfile
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raw_data import straight_map
from synthdrive.core.errors import InputError
from synthdrive.formats.archives import Limits
from synthdrive.formats.argoverse1_map_reader import read_map, read_maps
from synthdrive.formats.argoverse1_writers import vector_map_xml, write_maps
from synthdrive.scenes.lane_map import NO_LANE, SEGMENT_ARRAYS, LaneMap, LaneSegments, Links

LIMITS = Limits(file_bytes=64 * 10**6, archive_bytes=10**9)


def assert_equal_maps(one, other):
    assert one.city == other.city
    for name in SEGMENT_ARRAYS:
        np.testing.assert_array_equal(getattr(one.segments, name), getattr(other.segments, name), name)
    for name in ("left", "right"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    for name in ("successors", "predecessors"):
        np.testing.assert_array_equal(getattr(one, name).offsets, getattr(other, name).offsets, name)
        np.testing.assert_array_equal(getattr(one, name).rows, getattr(other, name).rows, name)


@st.composite
def lane_maps(draw):
    size = draw(st.integers(1, 6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    counts = generator.integers(2, 11, size)
    points = generator.uniform(-1e4, 1e4, (size, 10, 2))
    points[np.arange(10) >= counts[:, None]] = 0
    lists = st.lists(st.lists(st.integers(0, size - 1), unique=True), min_size=size, max_size=size)
    segments = LaneSegments(
        lane_ids=generator.choice(10**9, size, replace=False),
        points=points,
        counts=counts,
        turn=generator.integers(-1, 2, size).astype(np.int8),
        is_intersection=generator.random(size) < 0.5,
        has_traffic_control=generator.random(size) < 0.5,
    )
    left, right = (generator.integers(NO_LANE, size, size) for _ in range(2))
    return LaneMap("ABC", segments, left, right, Links.from_lists(draw(lists)), Links.from_lists(draw(lists)))


@settings(max_examples=40, deadline=None)
@given(lane_map=lane_maps())
def test_written_map_is_read_back_exactly(lane_map):
    assert_equal_maps(read_map(vector_map_xml(lane_map), "ABC", "map"), lane_map)


def test_maps_are_read_in_order_of_city_and_other_files_are_ignored(tmp_path):
    path = tmp_path / "hd_maps.tar.gz"
    write_maps(path, {"TST": straight_map(), "ABC": straight_map("ABC")})
    assert [lane_map.city for lane_map in read_maps(path, LIMITS)] == ["ABC", "TST"]
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}
    for name, content in {**files, "map_files/MIA_1_driveable_area.npy": b"x" * 99, "map_files/._a.xml": b"x"}.items():
        (tmp_path / "hd_maps" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hd_maps" / name).write_bytes(content)
    for one, other in zip(read_maps(tmp_path / "hd_maps", LIMITS), read_maps(path, LIMITS), strict=True):
        assert_equal_maps(one, other)


def test_folder_without_maps_is_an_error(tmp_path):
    (tmp_path / "hd_maps").mkdir()
    with pytest.raises(InputError, match="no vector map"):
        list(read_maps(tmp_path / "hd_maps", LIMITS))


def test_two_maps_of_a_city_are_an_error(tmp_path):
    for number in (1, 2):
        (tmp_path / f"pruned_argoverse_TST_{number}_vector_map.xml").write_bytes(vector_map_xml(straight_map()))
    with pytest.raises(InputError, match="second map of TST"):
        list(read_maps(tmp_path, LIMITS))


BAD_MAPS = {
    "dangling successor": (
        '<tag k="successor" v="1001" />',
        '<tag k="successor" v="77" />',
        r"lane 1000.*successor '77'",
    ),
    "dangling predecessor": ('k="predecessor" v="1000"', 'k="predecessor" v="78"', r"lane 1001.*predecessor '78'"),
    "dangling neighbour": ('k="l_neighbor_id" v="1012"', 'k="l_neighbor_id" v="5"', r"lane 1000.*l_neighbor_id '5'"),
    "a repeated id": ('lane_id="1003"', 'lane_id="1002"', r"line \d+.*lane 1002 a second time"),
    "an id that is not a number": ('lane_id="1003"', 'lane_id="x"', r"line \d+.*lane_id 'x'"),
    "an id beyond 64 bits": ('lane_id="1003"', 'lane_id="9999999999999999999"', "whole number"),
    "a missing node": ('<nd ref="3" />', '<nd ref="99999" />', r"lane 1000.*node '99999'"),
    "a repeated node": ('node id="3"', 'node id="2"', r"node '2' a second time"),
    "a node without x": ('<node id="3" x=', '<node id="3" z=', "id, x and y"),
    "NaN": ('<node id="3" x="15.0"', '<node id="3" x="nan"', r"node '3'.*nan.*finite"),
    "infinity": ('<node id="3" x="15.0"', '<node id="3" x="1e999"', r"node '3'.*inf.*finite"),
    "text instead of a number": ('<node id="3" x="15.0"', '<node id="3" x="15m"', "15m"),
    "an unknown turn": ('k="turn_direction" v="NONE"', 'k="turn_direction" v="AROUND"', r"lane 1000.*'AROUND'"),
    "a missing attribute": ('<tag k="is_intersection" v="False" />', "", "lane 1000.*no is_intersection"),
    "an unknown truth value": ('k="is_intersection" v="False"', 'k="is_intersection" v="maybe"', "True, False"),
    "a truncated file": ("</ArgoverseVectorMap>", "", "unreadable XML"),
    "not XML": ("<?xml version='1.0' encoding='UTF-8'?>\n<ArgoverseVectorMap>", "hello", "unreadable XML"),
    "an unknown encoding": ("UTF-8", "UTF-99", "unreadable XML"),
    "no lane": ("way", "path", "no lane"),
}


@pytest.mark.parametrize("name", BAD_MAPS)
def test_error_in_a_map_names_file_position_and_expected_value(name):
    old, new, message = BAD_MAPS[name]
    text = vector_map_xml(straight_map()).decode()
    assert old in text
    changed = text.replace(old, new) if name == "no lane" else text.replace(old, new, 1)
    with pytest.raises(InputError, match=message) as caught:
        read_map(changed.encode(), "TST", "hd_maps.tar.gz: x.xml")
    assert "hd_maps.tar.gz: x.xml" in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize("points", [1, 11])
def test_centreline_with_1_or_11_points_is_an_error(points):
    text = vector_map_xml(straight_map()).decode()
    refs = "".join(f'<nd ref="{node}" />' for node in range(points))
    start, stop = text.index('<nd ref="0"'), text.index('<nd ref="5"')
    first = text[:start] + refs + text[text.index("<tag", start) : stop] + text[stop:]
    with pytest.raises(InputError, match=f"lane 1000: found {points} centreline points"):
        read_map(first.encode(), "TST", "x.xml")


def test_centreline_of_identical_points_is_an_error():
    text = vector_map_xml(straight_map()).decode()
    for node in range(5):
        text = text.replace(f'<nd ref="{node}" />', '<nd ref="0" />', 1)
    with pytest.raises(InputError, match=r"lane 1000: found centreline points that are all the same"):
        read_map(text.encode(), "TST", "x.xml")


def test_dangling_links_can_be_dropped():
    text = vector_map_xml(straight_map()).decode()
    text = text.replace('k="successor" v="1001"', 'k="successor" v="77"').replace('v="1012"', 'v="78"')
    lane_map = read_map(text.encode(), "TST", "x.xml", on_dangling_link="drop")
    assert lane_map.successors.of(0).tolist() == []
    assert lane_map.left[0] == NO_LANE
    assert lane_map.predecessors.of(1).tolist() == [0]


DOCTYPES = {
    "entity bomb": '<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(12))
    + "]>",
    "external entity": '<!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    "external DTD": '<!DOCTYPE m SYSTEM "http://localhost:1/x.dtd">',
    "parameter entity": '<!DOCTYPE m [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
}


@pytest.mark.parametrize("name", DOCTYPES)
def test_document_type_declarations_are_refused_quickly(name):
    entity = "&m;" if name == "entity bomb" else "&a;"
    text = vector_map_xml(straight_map()).decode().replace("<Arg", DOCTYPES[name] + "<Arg", 1)
    text = text.replace('v="NONE"', f'v="{entity}"', 1)
    started = time.process_time()
    with pytest.raises(InputError, match="document type declaration"):
        read_map(text.encode(), "TST", "x.xml")
    assert time.process_time() - started < 1


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, 10**6), junk=st.binary(min_size=1, max_size=4))
def test_damaged_map_is_read_or_refused(position, junk):
    content = bytearray(vector_map_xml(straight_map()))
    start = position % len(content)
    content[start : start + len(junk)] = junk
    with contextlib.suppress(InputError):
        read_map(bytes(content), "TST", "x.xml")


@pytest.mark.reference
def test_real_maps_have_the_official_bounding_boxes(reference):
    golden = np.load(reference / "golden" / "map_bboxes.npz")
    maps = {lane_map.city: lane_map for lane_map in read_maps(reference / "argoverse1" / "hd_maps.tar.gz", LIMITS)}
    cities = {key.split("/")[0] for key in golden}
    assert cities <= set(maps)
    for city in cities:
        np.testing.assert_array_equal(maps[city].segments.lane_ids, golden[f"{city}/lane_ids"])
        np.testing.assert_allclose(maps[city].bounding_boxes, golden[f"{city}/bbox"], rtol=0, atol=1e-9)


@pytest.mark.reference
def test_smallest_real_map_is_read_back_unchanged(reference):
    source = reference / "argoverse1" / "hd_maps.tar.gz"
    smallest = min(read_maps(source, LIMITS), key=len)
    assert_equal_maps(read_map(vector_map_xml(smallest), smallest.city, "map"), smallest)
