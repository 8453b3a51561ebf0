"""Distances to centrelines, against every piece one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from raw_data import CHAIN, straight_map
from synthdrive.ingestion.statistics import Centrelines


def distance_to_piece(point, start, end):
    step = end - start
    square = step @ step
    along = np.clip((point - start) @ step / square, 0, 1) if square else 0.0
    return np.linalg.norm(point - start - along * step)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), spread=st.sampled_from([3.0, 30.0, 300.0]))
def test_distance_is_that_of_the_nearest_piece(seed, spread):
    draw = np.random.default_rng(seed)
    segments = straight_map().segments
    segments = segments.with_points(segments.points + segments.valid[..., None] * draw.normal(0, 2, (2 * CHAIN, 1, 2)))
    points, rows = draw.uniform(-spread, spread, (4, 2)), np.sort(draw.choice(2 * CHAIN, 7, replace=False))
    distance, nearest = Centrelines.of(segments).nearest(points, rows)
    for k, point in enumerate(points):
        by_lane = {
            row: min(
                distance_to_piece(point, *segments.points[row, i : i + 2]) for i in range(segments.counts[row] - 1)
            )
            for row in rows
        }
        assert abs(distance[k] - min(by_lane.values())) < 1e-9
        assert abs(by_lane[nearest[k]] - distance[k]) < 1e-9


def test_without_lanes_the_distance_is_infinite():
    distance, nearest = Centrelines.of(straight_map().segments).nearest(np.zeros((2, 2)), np.array([], dtype=np.int64))
    assert np.isinf(distance).all()
    assert nearest.tolist() == [-1, -1]
