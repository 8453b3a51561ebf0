"""The lane map: queries, files, and links that must lead somewhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raw_data import CHAIN, straight_map
from synthdrive.core.artifacts import read_arrays, write_arrays
from synthdrive.core.errors import InputError
from synthdrive.scenes.lane_map import LaneMap, Links, load_maps


def test_the_query_is_a_square_in_city_axes():
    lane_map = straight_map()
    assert lane_map.lanes_near(50.0, 0.0, 5.0).tolist() == [2, CHAIN + 2]
    assert lane_map.lanes_near(50.0, -4.0, 1.9).tolist() == []
    assert lane_map.lanes_near(50.0, -4.0, 2.2).tolist() == [2]
    assert lane_map.lanes_near(0.0, 0.0, 1e6).tolist() == list(range(2 * CHAIN))


@settings(max_examples=50, deadline=None)
@given(x=st.floats(-100, 400), y=st.floats(-100, 100), half_width=st.floats(0.1, 100))
def test_the_query_finds_just_the_boxes_that_overlap(x, y, half_width):
    lane_map = straight_map()
    expected = [
        row
        for row, (left, low, right, high) in enumerate(lane_map.bounding_boxes)
        if left <= x + half_width and right >= x - half_width and low <= y + half_width and high >= y - half_width
    ]
    assert lane_map.lanes_near(x, y, half_width).tolist() == expected


def test_maps_come_back_from_their_folder_by_city(tmp_path):
    for city in ("TST", "ABC"):
        straight_map(city).save(tmp_path / f"{city}.safetensors")
    maps = load_maps(tmp_path)
    assert list(maps) == ["ABC", "TST"]
    assert maps["TST"].successors.of(0).tolist() == [1]
    assert maps["TST"].predecessors.of(CHAIN - 1).tolist() == [CHAIN - 2]


def test_a_folder_without_maps_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no lane map"):
        load_maps(tmp_path)


def test_a_link_to_no_lane_is_refused():
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
