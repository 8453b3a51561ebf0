"""Tests of the baselines: constant velocity, and lane following."""

from __future__ import annotations

import numpy as np
import pytest
from forecasting_scenes import driven, straight_lanes, write_store

from synthdrive.forecasting.baselines import BASELINES, ConstantVelocity, LaneFollowing, points_along


def arc(centre, radius, start, stop, points=10):
    """Return points of a circle between two angles."""
    angle = np.linspace(start, stop, points)
    return [(centre[0] + radius * np.cos(a), centre[1] + radius * np.sin(a)) for a in angle]


def test_constant_velocity_is_exact_on_a_straight_drive(tmp_path):
    agents = np.stack([driven(0.3, 8.0), driven(-2.0, 12.0)])
    store = write_store(tmp_path / "store", agents, straight_lanes([(0, 0), (1, 0)]))
    found = ConstantVelocity().forecast(store, [0, 1])
    truth = agents[:, 20:] - agents[:, 19, None]
    np.testing.assert_allclose(found.trajectories[:, 0], truth, atol=1e-3)


def test_lane_following_is_exact_in_a_bend_and_forecasts_both_branches(tmp_path):
    """A straight lane forks into a left and a right bend; the agent takes the left one."""
    radius = 20.0
    straight = [(x, 0.0) for x in np.linspace(-60, 0, 10)]
    left = arc((0.0, radius), radius, -np.pi / 2, 0.0)
    right = arc((0.0, -radius), radius, np.pi / 2, 0.0)
    travelled = np.linspace(-20.0, 29.0, 50)  # 10 m/s
    bend = np.maximum(travelled, 0.0) / radius
    before = np.stack([np.minimum(travelled, 0.0), np.zeros(50)], axis=1)
    agents = before + np.stack([radius * np.sin(bend), radius - radius * np.cos(bend)], axis=1)
    store = write_store(tmp_path / "store", agents[None], straight_lanes(straight, left, right))
    found = LaneFollowing().forecast(store, [0])
    ends = found.trajectories[0, :2, -1] + store.origins[0]
    truth = agents[-1]
    assert np.linalg.norm(ends - truth, axis=1).min() < 0.5
    assert np.linalg.norm(ends - truth * (1, -1), axis=1).min() < 0.5
    assert np.linalg.norm(ConstantVelocity().forecast(store, [0]).trajectories[0, 0, -1] + store.origins[0] - truth) > 5


def test_lane_following_chooses_the_lane_in_the_direction_of_travel(tmp_path):
    """Of two lanes side by side, the agent follows the one in its direction, although the oncoming lane is nearer."""
    same_direction = [(x, 1.5) for x in np.linspace(-60, 0, 5)], arc((0.0, 21.5), 20.0, -np.pi / 2, 0.0)
    oncoming = [(x, -1.0) for x in np.linspace(60, -60, 5)]
    agent = np.stack([np.linspace(-25.0, 24.0, 50), np.zeros(50)], axis=1)
    store = write_store(tmp_path / "store", agent[None], straight_lanes(*same_direction, oncoming))
    found = LaneFollowing().forecast(store, [0])
    assert found.trajectories[0, 0, -1, 1] > 5.0  # follows the bend to the left


def test_lane_following_without_a_suitable_lane_equals_constant_velocity(tmp_path):
    agents = np.stack([driven(0.0, 10.0)])
    crossing = [(119.0, 150.0), (119.0, 250.0)]
    store = write_store(tmp_path / "store", agents, straight_lanes(crossing))
    np.testing.assert_array_equal(
        LaneFollowing().forecast(store, [0]).trajectories, ConstantVelocity().forecast(store, [0]).trajectories
    )


@pytest.mark.parametrize("name", BASELINES)
def test_forecasts_ignore_the_future_and_rotate_with_the_scene(tmp_path, name):
    agents = np.stack([driven(0.1, 9.0, 0.2, (0.0, 0.0)), driven(1.0, 0.0, 0.0, (5.0, 5.0)), driven(0.1, 4.0)])
    road = [tuple(point) for point in driven(0.1, 9.0, 0.2, (-2.0, 1.0))[::5] * 1.2]
    store = write_store(tmp_path / "store", agents, straight_lanes(road))
    found = BASELINES[name]().forecast(store, [0, 1, 2])
    changed = agents.copy()
    changed[:, 20:] += 50.0
    other = write_store(tmp_path / "changed", changed, straight_lanes(road))
    np.testing.assert_array_equal(found.trajectories, BASELINES[name]().forecast(other, [0, 1, 2]).trajectories)
    rotation = np.array([[0.0, 1.0], [-1.0, 0.0]])  # by 90 degrees: (x, y) -> (-y, x)
    rotated_store = write_store(
        tmp_path / "turned", agents @ rotation, straight_lanes([tuple(p) for p in np.array(road) @ rotation])
    )
    rotated = BASELINES[name]().forecast(rotated_store, [0, 1, 2])
    np.testing.assert_allclose(rotated.trajectories, found.trajectories @ rotation, atol=2e-3)


def test_points_beyond_the_end_of_a_path_continue_straight():
    path = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
    found = points_along(path, np.array([0.0, 1.5, 5.0, 9.0]))
    np.testing.assert_allclose(found, [[0, 0], [1.5, 0], [3, 2], [3, 6]])
