"""Tests of warped lanes and corridors."""

import numpy as np
import pytest

from synthdrive.augmentation.corridor import (
    corridor_rows,
    densify,
    joined_centreline,
    lane_points,
    warp_centreline,
    warp_segments,
)
from synthdrive.augmentation.transforms import SHAPES, Transform, make_transform
from synthdrive.core.geometry import arc_length
from synthdrive.scenes.lane_map import MAX_POINTS, LaneSegments
from synthdrive.synthesis.drive_scenes import LaneDistance

BEND = make_transform("smooth", 8.0, 0.0, SHAPES["released"])


def test_lanes_before_the_bend_keep_their_points(city):
    warped = warp_segments(city.segments, BEND, 1.0)
    ends = np.where(city.segments.valid, city.segments.points[..., 0], -np.inf).max(axis=1)
    before = ends < 40.0
    np.testing.assert_array_equal(warped.points[before], city.segments.points[before])
    np.testing.assert_array_equal(warped.counts[before], city.segments.counts[before])


def test_densified_lane_follows_the_curve_better_than_its_original_points(city):
    dense = BEND.warp(densify(lane_points(city.segments, 1), 0.1))
    error = {}
    for spacing in (0.0, 1.0):
        lane = warp_segments(city.segments, BEND, spacing).take(np.array([1]))
        error[spacing] = LaneDistance(lane)(dense).max()
        assert 2 <= lane.counts[0] <= 10
    assert error[1.0] < 0.1 < 0.25 < error[0.0]


def test_warp_without_densification_equals_the_authors_warp(city):
    warped = warp_segments(city.segments, BEND, 0.0)
    expected = np.where(city.segments.valid[..., None], BEND.warp(city.segments.points), 0.0)
    np.testing.assert_allclose(warped.points, expected, atol=5.1e-4)
    np.testing.assert_array_equal(warped.counts, city.segments.counts)


def test_warped_centreline_is_dense_and_gives_the_interval_of_each_point(city):
    points, position = joined_centreline(city.segments, np.arange(4))
    assert position[0] == 0
    assert position[-1] == 3
    dense, interval = warp_centreline(points, BEND, 1.0)
    assert np.diff(arc_length(dense)).max() < 1.0 * np.hypot(1.0, 0.8) + 0.01
    assert np.all(np.diff(interval) >= 0)
    assert interval[-1] == len(points) - 2
    np.testing.assert_allclose(dense[:, 1], BEND.displacement(dense[:, 0]), atol=1e-3)


@pytest.mark.parametrize(("amplitude", "axis"), [(0.0, 0.0), (8.0, 0.0), (8.0, 2.0)])
def test_corridor_contains_every_lane_of_every_crop_along_the_route(city, amplitude, axis):
    transform = Transform(smooth=amplitude, axis=axis)
    positions, _ = warp_centreline(joined_centreline(city.segments, np.arange(12))[0], transform, 1.0)
    corridor = set(corridor_rows(city, transform, positions, 30.0).tolist())
    boxes = city.segments.with_points(transform.warp(city.segments.points)).bounding_boxes()
    for x, y in positions[::7]:
        inside = (boxes[:, 0] <= x + 30) & (boxes[:, 2] >= x - 30) & (boxes[:, 1] <= y + 30) & (boxes[:, 3] >= y - 30)
        assert set(np.flatnonzero(inside).tolist()) <= corridor
    assert len(corridor) < len(city)


def test_long_lane_is_densified_wherever_a_short_bend_lies():
    """The noticeable part of this bend is 3.4 m long."""
    points, none = np.zeros((1, MAX_POINTS, 2)), np.zeros(1, dtype=bool)
    points[0, 1, 0] = 169.0
    lane = LaneSegments(np.arange(1), points, np.array([2]), np.zeros(1, dtype=np.int8), none, none)
    shape = SHAPES["released"]
    for start in np.arange(0.0, 159.0, 0.5):
        transform = Transform(smooth=1.0, anchor=start - shape.border, shape=shape)
        assert warp_segments(lane, transform, 1.0).counts[0] == MAX_POINTS, start
