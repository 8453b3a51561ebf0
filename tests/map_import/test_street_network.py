"""Tests of redrawn street networks: bends instead of corners, lower speed limits in bends, and the lane map."""

import itertools

import numpy as np
import pytest

from synthdrive.config.record_sample import MapParameters, StreetParameters
from synthdrive.core.errors import InputError
from synthdrive.map_import.street_map import draw_map
from synthdrive.map_import.street_network import bend_speeds, network_file, redraw, round_corners
from synthdrive.map_import.sumo_network import read_street_lanes
from synthdrive.scenes.lane_map import NO_LANE

CORNER = np.array([[0.0, 0.0], [60.0, 0.0], [60.0, 60.0]])
STREETS = StreetParameters(
    turn_points=16, bend_radius=30.0, max_corner_cut=2.0, lateral_acceleration=2.5, signal_cycle=60
)
DRAWING = MapParameters(max_length=40.0, min_length=1.0, max_deviation=0.1)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return redraw(network_file("tools/game/bs3d/bs.net.xml"), tmp_path_factory.mktemp("network"), STREETS)


@pytest.fixture(scope="module")
def lane_map(network):
    return draw_map("BRU", read_street_lanes(network), DRAWING, first_id=1000)


def largest_turn(points):
    heading = np.unwrap(np.arctan2(*np.diff(points, axis=0).T[::-1]))
    return np.degrees(np.abs(np.diff(heading))).max()


def test_corners_become_arcs_near_the_corner():
    rounded = round_corners(CORNER, radius=30.0, max_cut=2.0)
    np.testing.assert_array_equal(rounded[[0, -1]], CORNER[[0, -1]])
    assert largest_turn(rounded) < 15.0
    away = np.hypot(*(rounded - CORNER[1]).T).min()
    assert 0.5 < away <= 2.0 + 1e-6


def test_speed_limit_is_reduced_only_in_bends():
    sections = bend_speeds(round_corners(CORNER, 30.0, 2.0), limit=13.9, lateral_acceleration=2.5)
    speeds = [speed for _, speed in sections]
    assert [speeds[0], speeds[-1]] == [13.9, 13.9]
    assert 3.0 < min(speeds) < 8.0
    assert bend_speeds(CORNER[:2], 13.9, 2.5) == []


def test_network_has_no_u_turns(network):
    streets = [lane for lane in read_street_lanes(network).values() if not lane.internal]
    assert sum(len(lane.successors) for lane in streets) > len(streets) / 2
    assert 'dir="t"' not in network.read_text()


def test_missing_network_file_is_named():
    with pytest.raises(InputError, match="nowhere.net.xml"):
        network_file("nowhere.net.xml")


def test_segments_are_within_the_limits_of_argoverse(lane_map):
    segments = lane_map.segments
    steps = np.linalg.norm(np.diff(segments.points, axis=1), axis=-1)
    valid = segments.valid[:, 1:]
    assert (steps[valid] > 0.05).all()
    assert np.where(valid, steps, 0.0).sum(axis=1).max() <= 40.01
    assert len(np.unique(segments.lane_ids)) == len(segments)
    assert 15.0 < np.where(valid, steps, 0.0).sum() / 1000 < 25.0
    assert segments.has_traffic_control.any()


def test_successors_start_where_lanes_end_and_link_back(lane_map):
    segments, links = lane_map.segments, 0
    for row in range(len(lane_map)):
        for successor in lane_map.successors.of(row):
            end = segments.points[row, segments.counts[row] - 1]
            np.testing.assert_allclose(segments.points[successor, 0], end, atol=1e-9)
            assert row in lane_map.predecessors.of(successor)
            links += 1
    assert links == len(lane_map.predecessors.rows) > len(lane_map)


def test_neighbours_are_mutual_adjacent_and_in_the_same_direction(lane_map):
    segments = lane_map.segments
    with_left = np.flatnonzero(lane_map.left != NO_LANE)
    assert with_left.size
    for row, other in zip(with_left, lane_map.left[with_left], strict=True):
        assert lane_map.right[other] == row
        ahead = segments.points[row, segments.counts[row] - 1] - segments.points[row, 0]
        across = segments.points[other, : segments.counts[other]].mean(axis=0)
        across = across - segments.points[row, : segments.counts[row]].mean(axis=0)
        assert ahead[0] * across[1] - ahead[1] * across[0] > 0
        assert 2.0 < np.hypot(*across) < 6.0


def test_turn_direction_matches_the_geometry(lane_map):
    segments = lane_map.segments
    seen = set()
    for row in np.flatnonzero(segments.turn):
        points = segments.points[row, : segments.counts[row]]
        first, last = points[1] - points[0], points[-1] - points[-2]
        turned = np.arctan2(first[0] * last[1] - first[1] * last[0], first @ last)
        if abs(turned) > np.radians(30):
            assert np.sign(turned) == -segments.turn[row]
            seen.add(int(segments.turn[row]))
        assert segments.is_intersection[row]
    assert seen == {-1, 1}


def test_successors_continue_without_kinks(lane_map):
    segments = lane_map.segments
    pairs = itertools.chain.from_iterable(
        ((row, other) for other in lane_map.successors.of(row)) for row in range(len(lane_map))
    )
    for row, other in pairs:
        end = segments.points[row, segments.counts[row] - 1] - segments.points[row, segments.counts[row] - 2]
        start = segments.points[other, 1] - segments.points[other, 0]
        assert abs(np.arctan2(end[0] * start[1] - end[1] * start[0], end @ start)) < np.radians(30)
