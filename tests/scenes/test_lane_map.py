"""Tests of lane segments and the lane map: boxes, queries, links, and refusal of inconsistent files."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raw_data import CHAIN, straight_map
from synthdrive.core.artifacts import read_arrays, write_arrays
from synthdrive.core.errors import InputError
from synthdrive.scenes.lane_map import LANE_WIDTH, SEGMENT_ARRAYS, LaneMap, LaneSegments, Links, load_maps
from synthdrive.scenes.scene_store_writer import LaneSegmentsWriter


def segments(*lines):
    points = np.zeros((len(lines), 10, 2))
    for row, line in enumerate(lines):
        points[row, : len(line)] = line
    flags = np.zeros(len(lines), dtype=np.bool_)
    counts = np.array([len(line) for line in lines])
    return LaneSegments(np.arange(len(lines)), points, counts, flags.astype(np.int8), flags, flags)


def test_bounding_box_of_a_straight_lane_has_its_length_and_width():
    half = LANE_WIDTH / 2
    boxes = segments([[0, 0], [10, 0]], [[0, 0], [0, -4], [0, -9]]).bounding_boxes()
    np.testing.assert_allclose(boxes, [[0, -half, 10, half], [-half, -9, half, 0]])


def test_repeated_points_do_not_change_a_bounding_box():
    line = [[0, 0], [4, 1], [9, 5]]
    repeated = [[0, 0], [0, 0], [4, 1], [4, 1], [9, 5], [0, 0]]
    boxes = segments(line, repeated).bounding_boxes()
    np.testing.assert_array_equal(boxes[0], boxes[1])


def test_a_lane_of_a_single_repeated_point_has_a_finite_bounding_box():
    np.testing.assert_array_equal(segments([[3, 4], [3, 4]]).bounding_boxes(), [[3, 4, 3, 4]])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), angle=st.sampled_from([0.0, np.pi / 2, np.pi]))
def test_a_bounding_box_rotates_with_its_lane(seed, angle):
    draw = np.random.default_rng(seed)
    line = np.cumsum(draw.uniform(-5, 5, (draw.integers(2, 11), 2)), axis=0)
    turn = np.round(np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]))
    (box,), (turned,) = segments(line).bounding_boxes(), segments(line @ turn.T).bounding_boxes()
    corners = box.reshape(2, 2) @ turn.T
    np.testing.assert_allclose(turned, [*corners.min(axis=0), *corners.max(axis=0)], atol=1e-9)


@pytest.mark.parametrize("count", [0, 1, 11, -3])
def test_counts_other_than_2_to_10_are_refused(count):
    good = segments([[0, 0], [1, 0]])
    with pytest.raises(InputError, match="centreline points"):
        good.with_points(good.points, np.array([count]))


def test_saved_lane_segments_are_loaded_unchanged(tmp_path):
    lanes = straight_map().segments
    lanes.save(tmp_path / "lanes.safetensors")
    loaded = LaneSegments.load(tmp_path / "lanes.safetensors")
    for name in SEGMENT_ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(lanes, name))


def safetensors_bytes(header, body=b""):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(text)) + text + body


INVALID_FILES = {
    "a header of 2^60 bytes": struct.pack("<Q", 1 << 60) + b"{}",
    "a header longer than the file": struct.pack("<Q", 90_000_000) + b"{}",
    "offsets beyond the file": safetensors_bytes(
        {"lane_ids": {"dtype": "I64", "shape": [10**9], "data_offsets": [0, 8 * 10**9]}}
    ),
    "a shape larger than its bytes": safetensors_bytes(
        {"lane_ids": {"dtype": "I64", "shape": [10**9], "data_offsets": [0, 8]}}, bytes(8)
    ),
    "overlapping arrays": safetensors_bytes(
        {
            "lane_ids": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
            "counts": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
        },
        bytes(8),
    ),
    "negative sizes": safetensors_bytes(
        {"lane_ids": {"dtype": "I64", "shape": [-1], "data_offsets": [0, 8]}}, bytes(8)
    ),
    "no JSON": safetensors_bytes(b"[" * 500),
    "nothing": b"",
}


@pytest.mark.parametrize("read", [LaneSegments.load, LaneSegments.open], ids=["load", "open"])
@pytest.mark.parametrize("name", INVALID_FILES)
def test_an_invalid_header_is_refused(tmp_path, name, read):
    path = tmp_path / "lanes.safetensors"
    path.write_bytes(INVALID_FILES[name])
    with pytest.raises(InputError, match=r"lanes\.safetensors.*unreadable"):
        read(path)


@pytest.mark.parametrize("parts", [[], [3], [1, 0, 2]])
def test_writing_block_by_block_gives_the_same_bytes_as_saving_at_once(tmp_path, parts):
    lanes = straight_map().segments
    (tmp_path / "written").mkdir()
    writer, rows = LaneSegmentsWriter(tmp_path / "written" / "lanes.safetensors"), 0
    for count in parts:
        assert writer.append(lanes.take(np.arange(rows, rows + count) % len(lanes))) == rows
        rows += count
    writer.close()
    lanes.take(np.arange(rows) % len(lanes)).save(tmp_path / "saved.safetensors")
    (written,) = (tmp_path / "written").iterdir()
    assert written.read_bytes() == (tmp_path / "saved.safetensors").read_bytes()
    opened = LaneSegments.open(written)
    for name in SEGMENT_ARRAYS:
        np.testing.assert_array_equal(getattr(opened, name), getattr(LaneSegments.load(written), name))
    assert not rows or isinstance(opened.points.base, np.memmap)


def test_an_array_of_another_type_is_refused(tmp_path):
    from safetensors.numpy import save_file

    lanes = straight_map().segments
    arrays = {name: getattr(lanes, name) for name in SEGMENT_ARRAYS}
    save_file({**arrays, "points": lanes.points.astype(np.float32)}, tmp_path / "lanes.safetensors")
    with pytest.raises(InputError, match=r"'points'.*float32.*float64"):
        LaneSegments.load(tmp_path / "lanes.safetensors")


def test_lanes_near_searches_a_square_in_city_axes():
    lane_map = straight_map()
    assert lane_map.lanes_near(50.0, 0.0, 5.0).tolist() == [2, CHAIN + 2]
    assert lane_map.lanes_near(50.0, -4.0, 1.9).tolist() == []
    assert lane_map.lanes_near(50.0, -4.0, 2.2).tolist() == [2]
    assert lane_map.lanes_near(0.0, 0.0, 1e6).tolist() == list(range(2 * CHAIN))


@settings(max_examples=50, deadline=None)
@given(x=st.floats(-100, 400), y=st.floats(-100, 100), half_width=st.floats(0.1, 100))
def test_lanes_near_finds_exactly_the_overlapping_bounding_boxes(x, y, half_width):
    lane_map = straight_map()
    expected = [
        row
        for row, (left, low, right, high) in enumerate(lane_map.bounding_boxes)
        if left <= x + half_width and right >= x - half_width and low <= y + half_width and high >= y - half_width
    ]
    assert lane_map.lanes_near(x, y, half_width).tolist() == expected


def test_maps_are_loaded_from_their_folder_by_city(tmp_path):
    for city in ("TST", "ABC"):
        straight_map(city).save(tmp_path / f"{city}.safetensors")
    maps = load_maps(tmp_path)
    assert list(maps) == ["ABC", "TST"]
    assert maps["TST"].successors.of(0).tolist() == [1]
    assert maps["TST"].predecessors.of(CHAIN - 1).tolist() == [CHAIN - 2]


def test_a_folder_without_maps_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no lane map"):
        load_maps(tmp_path)


def test_a_link_to_a_missing_lane_is_refused():
    lane_map = straight_map()
    with pytest.raises(InputError, match="successors"):
        LaneMap(
            "TST",
            lane_map.segments,
            lane_map.left,
            lane_map.right,
            Links(lane_map.successors.offsets, lane_map.successors.rows + 10**6),
            lane_map.predecessors,
        )


@pytest.mark.parametrize(
    ("array", "value"),
    [
        ("successor_rows", np.array([10**6])),
        ("successor_offsets", np.array([0, 1])),
        ("left", np.array([-5] * (2 * CHAIN))),
        ("successor_offsets", np.arange(2 * CHAIN, -1, -1)),
        ("successor_offsets", np.arange(2 * CHAIN + 1) * 1000),
        ("left", np.array([0])),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, array, value):
    path = tmp_path / "TST.safetensors"
    straight_map().save(path)
    arrays, metadata = read_arrays(path)
    write_arrays(path, {**arrays, array: value.astype(np.int64)}, metadata)
    with pytest.raises(InputError, match="TST"):
        LaneMap.load(path)


def test_a_file_without_a_city_is_refused(tmp_path):
    straight_map().save(tmp_path / "TST.safetensors")
    arrays, _ = read_arrays(tmp_path / "TST.safetensors")
    write_arrays(tmp_path / "TST.safetensors", arrays)
    with pytest.raises(InputError, match="city"):
        LaneMap.load(tmp_path / "TST.safetensors")
