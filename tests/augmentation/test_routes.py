"""Tests of routes on the lane graph."""

import numpy as np

from synthdrive.augmentation.routes import RouteSampling, extend_route, lane_lengths, sample_routes, smooth_successors

SAMPLING = RouteSampling(count=100, length=150.0, min_length=40.0, min_fresh=20.0, lead_out=30.0, max_joint_angle=1.0)


def test_routes_are_connected_and_cover_each_lane_once(city):
    routes = sample_routes(city, SAMPLING, np.random.default_rng(3))
    fresh = np.concatenate([route.lanes[route.fresh] for route in routes])
    assert len(np.unique(fresh)) == len(fresh)
    assert lane_lengths(city)[fresh].sum() > 0.8 * lane_lengths(city).sum()
    for route in routes:
        for lane, following in zip(route.lanes[:-1], route.lanes[1:], strict=True):
            assert following in city.successors.of(lane)
        assert lane_lengths(city)[route.lanes].sum() >= SAMPLING.min_length


def test_same_seed_gives_the_same_routes_and_another_seed_gives_different_ones(city):
    def lanes(seed):
        return [route.lanes.tolist() for route in sample_routes(city, SAMPLING, np.random.default_rng(seed))]

    assert lanes(1) == lanes(1)
    assert lanes(1) != lanes(2)


def test_sharp_joints_are_removed_from_the_successors(city):
    points = city.segments.points.copy()
    points[5, :5] = points[5, :5][::-1]  # lane 5 now leads back west
    turned = type(city)(
        city.city, city.segments.with_points(points), city.left, city.right, city.successors, city.predecessors
    )
    assert 5 in city.successors.of(4)
    assert 5 in smooth_successors(city, 1.0).of(4)
    assert 5 not in smooth_successors(turned, 1.0).of(4)


def test_route_is_extended_straight_ahead(city):
    extended = extend_route(city, np.array([10]), 60.0, 60.0).tolist()
    assert extended == [7, 8, 9, 10, 11, 33, 34]
