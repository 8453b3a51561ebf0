"""The maps' manifest says of each lane what the gate judges."""

import dataclasses

import numpy as np

from raw_data import CHAIN, LANE_LENGTH, straight_map
from synthdrive.ingestion.statistics import map_manifest
from synthdrive.scenes.lane_map import Links


def column(lane_map, name):
    return map_manifest([lane_map])[name].to_pylist()


def test_a_sound_map():
    table = map_manifest([straight_map("ABC"), straight_map()])
    assert table["city"].to_pylist() == ["ABC"] * 2 * CHAIN + ["TST"] * 2 * CHAIN
    assert set(table["length"].to_pylist()) == {LANE_LENGTH}
    assert set(table["min_spacing"].to_pylist()) == set(table["max_spacing"].to_pylist()) == {LANE_LENGTH / 4}
    for name in ("finite", "successors_link_back", "neighbours_link_back"):
        assert all(table[name].to_pylist()), name
    assert max(table["successor_gap"].to_pylist()) == 0
    assert table["n_successors"].to_pylist()[:CHAIN] == [1] * (CHAIN - 1) + [0]
    assert table["n_predecessors"].to_pylist()[:CHAIN] == [0] + [1] * (CHAIN - 1)


def test_a_link_without_its_counterpart_marks_the_lanes_that_have_it():
    lane_map = straight_map()
    lists = [lane_map.predecessors.of(row).tolist() for row in range(len(lane_map))]
    lists[1], lists[5] = [], [4, 2]
    changed = dataclasses.replace(lane_map, predecessors=Links.from_lists(lists))
    assert np.flatnonzero(~np.array(column(changed, "successors_link_back"))).tolist() == [0, 5]


def test_a_neighbour_that_does_not_name_the_lane_marks_it():
    lane_map = straight_map()
    right = lane_map.right.copy()
    right[CHAIN + 3] = 0
    changed = dataclasses.replace(lane_map, right=right)
    assert np.flatnonzero(~np.array(column(changed, "neighbours_link_back"))).tolist() == [3, CHAIN + 3]


def test_a_gap_is_the_largest_to_a_successor():
    lane_map = straight_map()
    lists = [lane_map.successors.of(row).tolist() for row in range(len(lane_map))]
    lists[0] = [1, 3]
    changed = dataclasses.replace(lane_map, successors=Links.from_lists(lists))
    assert column(changed, "successor_gap")[:2] == [2 * LANE_LENGTH, 0.0]


def test_a_point_that_is_not_finite_is_marked():
    lane_map = straight_map()
    points = lane_map.segments.points.copy()
    points[2, 1, 0] = np.nan
    changed = dataclasses.replace(lane_map, segments=lane_map.segments.with_points(points))
    assert np.flatnonzero(~np.array(column(changed, "finite"))).tolist() == [2]
