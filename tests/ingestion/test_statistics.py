"""Tests of the statistics of maps and scenes: distances to centrelines, lane columns, motion of focal agents."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raw_data import CHAIN, LANE_LENGTH, straight_map
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.ingestion.statistics import Centrelines, agent_statistics, future_heading_changes, map_manifest
from synthdrive.scenes.lane_map import Links


def distance_to_segment(point, start, end):
    step = end - start
    square = step @ step
    along = np.clip((point - start) @ step / square, 0, 1) if square else 0.0
    return np.linalg.norm(point - start - along * step)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), spread=st.sampled_from([3.0, 30.0, 300.0]))
def test_distance_is_that_to_the_nearest_centreline(seed, spread):
    draw = np.random.default_rng(seed)
    segments = straight_map().segments
    segments = segments.with_points(segments.points + segments.valid[..., None] * draw.normal(0, 2, (2 * CHAIN, 1, 2)))
    points, rows = draw.uniform(-spread, spread, (4, 2)), np.sort(draw.choice(2 * CHAIN, 7, replace=False))
    distance, nearest = Centrelines.of(segments).nearest(points, rows)
    for k, point in enumerate(points):
        by_lane = {
            row: min(
                distance_to_segment(point, *segments.points[row, i : i + 2]) for i in range(segments.counts[row] - 1)
            )
            for row in rows
        }
        assert abs(distance[k] - min(by_lane.values())) < 1e-9
        assert abs(by_lane[nearest[k]] - distance[k]) < 1e-9


def test_without_lanes_the_distance_is_infinite():
    distance, nearest = Centrelines.of(straight_map().segments).nearest(np.zeros((2, 2)), np.array([], dtype=np.int64))
    assert np.isinf(distance).all()
    assert nearest.tolist() == [-1, -1]


def column(lane_map, name):
    return map_manifest([lane_map])[name].to_pylist()


def test_statistics_of_a_valid_map():
    table = map_manifest([straight_map("ABC"), straight_map()])
    assert table["city"].to_pylist() == ["ABC"] * 2 * CHAIN + ["TST"] * 2 * CHAIN
    assert set(table["length"].to_pylist()) == {LANE_LENGTH}
    assert set(table["min_spacing"].to_pylist()) == set(table["max_spacing"].to_pylist()) == {LANE_LENGTH / 4}
    for name in ("finite", "successors_link_back", "neighbours_link_back"):
        assert all(table[name].to_pylist()), name
    assert max(table["successor_gap"].to_pylist()) == 0
    assert table["n_successors"].to_pylist()[:CHAIN] == [1] * (CHAIN - 1) + [0]
    assert table["n_predecessors"].to_pylist()[:CHAIN] == [0] + [1] * (CHAIN - 1)


def test_lanes_with_a_one_way_successor_link_are_marked():
    lane_map = straight_map()
    lists = [lane_map.predecessors.of(row).tolist() for row in range(len(lane_map))]
    lists[1], lists[5] = [], [4, 2]
    changed = dataclasses.replace(lane_map, predecessors=Links.from_lists(lists))
    assert np.flatnonzero(~np.array(column(changed, "successors_link_back"))).tolist() == [0, 5]


def test_lanes_with_a_one_way_neighbour_link_are_marked():
    lane_map = straight_map()
    right = lane_map.right.copy()
    right[CHAIN + 3] = 0
    changed = dataclasses.replace(lane_map, right=right)
    assert np.flatnonzero(~np.array(column(changed, "neighbours_link_back"))).tolist() == [3, CHAIN + 3]


def test_successor_gap_is_the_largest_gap_to_a_successor():
    lane_map = straight_map()
    lists = [lane_map.successors.of(row).tolist() for row in range(len(lane_map))]
    lists[0] = [1, 3]
    changed = dataclasses.replace(lane_map, successors=Links.from_lists(lists))
    assert column(changed, "successor_gap")[:2] == [2 * LANE_LENGTH, 0.0]


def test_lane_with_a_non_finite_point_is_marked():
    lane_map = straight_map()
    points = lane_map.segments.points.copy()
    points[2, 1, 0] = np.nan
    changed = dataclasses.replace(lane_map, segments=lane_map.segments.with_points(points))
    assert np.flatnonzero(~np.array(column(changed, "finite"))).tolist() == [2]


LAST_OBSERVED, STEPS = ARGOVERSE1.last_observed, ARGOVERSE1.steps

TIMES = np.arange(STEPS) * 0.1
TURN = np.radians(30)


def drive(headings, speed):
    """Return the positions of a car with this speed and these headings."""
    steps = speed * 0.1 * np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps[1:], axis=0)])


def bend(angle, speed=10.0, start=0.3):
    """Drive straight, then turn by this angle from step 22 to 32, then drive straight."""
    progress = np.clip((np.arange(STEPS) - LAST_OBSERVED - 3) / 10, 0, 1)
    return drive(start + angle * progress, speed)


def statistics(agent, times=TIMES):
    return {
        name: values[0]
        for name, values in agent_statistics(agent[None], times[None], TURN, ARGOVERSE1.last_observed).items()
    }


def test_statistics_of_a_straight_drive():
    found = statistics(bend(0.0, speed=8.0))
    assert found["agent_mean_speed"] == pytest.approx(8.0)
    assert found["agent_max_speed"] == pytest.approx(8.0)
    assert found["agent_displacement"] == pytest.approx(8.0 * 4.9)
    assert found["max_step"] == pytest.approx(0.8)
    assert found["min_interval"] == pytest.approx(0.1)
    assert found["turn"] == "straight"
    columns = agent_statistics(bend(0.0)[None].astype(np.float32), TIMES[None], TURN, ARGOVERSE1.last_observed)
    assert {values.dtype for name, values in columns.items() if name != "turn"} == {np.dtype(np.float64)}


@pytest.mark.parametrize(("angle", "turn"), [(1.5, "left"), (-1.5, "right"), (0.4, "straight"), (-3.0, "right")])
def test_statistics_of_a_turn(angle, turn):
    found = statistics(bend(angle))
    assert found["agent_heading_change"] == pytest.approx(angle, abs=1e-9)
    assert found["turn"] == turn


@settings(max_examples=50, deadline=None)
@given(angle=st.floats(-3.0, 3.0), start=st.floats(-3.2, 3.2), noise=st.integers(0, 10**6))
def test_noise_has_little_effect_on_the_heading_change(angle, start, noise):
    agent = bend(angle, start=start) + np.random.default_rng(noise).normal(0, 0.05, (STEPS, 2))
    error = np.angle(np.exp(1j * (future_heading_changes(agent[None], ARGOVERSE1.last_observed)[0] - angle)))
    assert abs(error) < 0.15


def test_standing_car_with_noise_does_not_turn():
    agent = np.random.default_rng(0).normal(0, 0.1, (STEPS, 2))
    found = statistics(agent)
    assert found["agent_heading_change"] == 0
    assert found["turn"] == "straight"


def test_car_that_starts_straight_from_standstill_does_not_turn():
    agent = drive(np.full(STEPS, 2.0), 10.0)
    agent[: LAST_OBSERVED + 5] = agent[LAST_OBSERVED + 5]
    assert statistics(agent)["agent_heading_change"] == pytest.approx(0.0, abs=1e-9)


def test_car_that_stops_keeps_its_last_heading():
    agent = bend(1.2)
    agent[42:] = agent[42]
    assert statistics(agent)["agent_heading_change"] == pytest.approx(1.2, abs=1e-6)


def test_mean_speed_uses_the_time_stamps():
    times = TIMES.copy()
    times[25:] += 0.4  # a gap in which the car stands
    found = statistics(bend(0.0), times)
    assert found["max_interval"] == pytest.approx(0.5)
    assert found["agent_mean_speed"] == pytest.approx(10 * 4.9 / 5.3)
