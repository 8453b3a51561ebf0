"""Tests of background agents: on lanes, away from the focal agent, and visible in consecutive steps."""

import numpy as np
import pytest

from synthdrive.augmentation.corridor import overlapping
from synthdrive.core.errors import ParameterError
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.synthesis.background_agents import SHORTEST, draw_background_agents


@pytest.fixture
def drawn(maps, parameters):
    lanes = maps["TOY"].segments
    parameters.background_agents.count, parameters.background_agents.standing_fraction = 8, 0.5
    rng = np.random.default_rng(0)
    start = lanes.points[rng.integers(0, len(lanes), 40), 0]
    agent = start[:, None] + np.arange(50)[:, None] * np.array([0.5, 0.0])
    inside = overlapping(lanes.bounding_boxes(), agent[:, 19], 50.0)
    background_agents = draw_background_agents(
        lanes, inside, agent, parameters.background_agents, np.random.default_rng(1)
    )
    return lanes, agent, background_agents


def distance_to_lanes(lanes, points):
    centreline = np.concatenate([lanes.points[row, : lanes.counts[row]] for row in range(len(lanes))])
    dense = np.concatenate(
        [
            np.linspace(a, b, 20)
            for a, b in zip(centreline[:-1], centreline[1:], strict=True)
            if np.hypot(*(b - a)) < 60.0
        ]
    )
    return np.hypot(*(points[:, None] - dense).transpose(2, 0, 1)).min(axis=1)


def test_background_agents_drive_on_lanes_or_stand_beside_them(drawn):
    lanes, _, background_agents = drawn
    assert 4 < background_agents.valid.any(axis=2).sum(axis=1).mean() < 12
    moved = np.hypot(*(background_agents.xy[:, :, -1] - background_agents.xy[:, :, 0]).transpose(2, 0, 1))
    present = background_agents.valid.any(axis=2)
    for stands in (True, False):
        tracks = present & ((moved < 0.1) == stands)
        assert 0.3 < tracks.sum() / present.sum() < 0.7
        distance = distance_to_lanes(lanes, background_agents.xy[tracks][background_agents.valid[tracks]][:2000])
        assert np.quantile(distance, 0.95) < (4.6 if stands else 1.5)
    speed = np.hypot(*np.diff(background_agents.xy, axis=2).transpose(3, 0, 1, 2)) / 0.1
    assert np.median(speed[background_agents.valid[:, :, 1:] & background_agents.valid[:, :, :-1]]) < 14.0


def test_background_agents_keep_clearance_and_are_visible_in_consecutive_steps(drawn, parameters):
    _, agent, background_agents = drawn
    distance = np.hypot(*(background_agents.xy - agent[:, None]).transpose(3, 0, 1, 2))
    assert distance[background_agents.valid].min() >= parameters.background_agents.clearance
    starts = np.diff(background_agents.valid.astype(int), axis=2, prepend=0) == 1
    assert starts.sum(axis=2).max() == 1
    assert background_agents.valid.sum(axis=2)[background_agents.valid.any(axis=2)].min() >= SHORTEST


def test_a_window_without_lanes_has_no_background_agents(maps, parameters):
    parameters.background_agents.count = 3
    lanes = maps["TOY"].segments
    inside = np.zeros((2, len(lanes)), dtype=bool)
    inside[0] = True
    agent = np.full((2, 50, 2), 1e6)
    background_agents = draw_background_agents(
        lanes, inside, agent, parameters.background_agents, np.random.default_rng(0)
    )
    assert background_agents.valid[0].any()
    assert not background_agents.valid[1].any()
    nowhere = draw_background_agents(
        lanes, np.zeros_like(inside), agent, parameters.background_agents, np.random.default_rng(0)
    )
    assert not nowhere.valid.any()


def test_a_route_continues_on_lanes_that_begin_where_the_last_one_ends(parameters):
    points = np.zeros((3, 10, 2))
    points[:, 1] = [[30.0, 0.0], [30.0, 30.0], [0.0, 500.0]]
    points[1:, 0] = [[30.0, 0.0], [0.0, 400.0]]
    flat = np.zeros(3, dtype=bool)
    lanes = LaneSegments(np.arange(3), points, np.full(3, 2), np.zeros(3, dtype=np.int8), flat, flat)
    (
        parameters.background_agents.count,
        parameters.background_agents.standing_fraction,
        parameters.background_agents.max_speed,
    ) = 20, 0.0, 14.0
    inside = np.array([[True, False, False]])
    background_agents = draw_background_agents(
        lanes, inside, np.full((1, 50, 2), 1e6), parameters.background_agents, np.random.default_rng(4)
    )
    places = background_agents.xy[background_agents.valid]
    assert (places[:, 1] > 10.0).any()
    assert ((np.abs(places[:, 1]) < 2.0) | (np.abs(places[:, 0] - 30.0) < 2.0)).all()
    assert places[:, 1].max() < 32.0


def test_clearance_speed_and_position_follow_the_parameters(maps, parameters):
    lanes, given = maps["TOY"].segments, parameters.background_agents
    given.count, given.clearance = 20, 30.0
    inside = np.ones((4, len(lanes)), dtype=bool)
    agent = np.full((4, 50, 2), lanes.points[0, 0])
    far = draw_background_agents(lanes, inside, agent, given, np.random.default_rng(0))
    assert np.hypot(*(far.xy - agent[:, None]).transpose(3, 0, 1, 2))[far.valid].min() >= 30.0
    parameters.background_agents.standing_fraction = 0.0
    given.min_speed, given.acceleration_std, given.lateral_std = 13.0, 0.0, 0.0
    fast = draw_background_agents(lanes, inside, agent + 1e6, given, np.random.default_rng(0))
    both = fast.valid[:, :, 1:] & fast.valid[:, :, :-1]
    assert np.median(np.hypot(*np.diff(fast.xy, axis=2).transpose(3, 0, 1, 2))[both]) >= 1.29
    parameters.background_agents.standing_fraction = 1.0
    given.roadside_offset = [9.0, 9.0]
    beside = draw_background_agents(lanes, inside, agent + 1e6, given, np.random.default_rng(0))
    assert np.abs(np.median(distance_to_lanes(lanes, beside.xy[beside.valid][:500]))) > 3.0


@pytest.mark.parametrize(("key", "wrong"), [("min_speed", 20.0), ("roadside_offset", [3.0, 1.0])])
def test_ranges_with_exchanged_limits_are_refused(parameters, key, wrong):
    setattr(parameters.background_agents, key, wrong)
    with pytest.raises(ParameterError, match=key):
        parameters.background_agents.validate("synthesize.background_agents")
