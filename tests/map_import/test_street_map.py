"""Tests of cutting lanes into segments: shape, joints and length are kept."""

import numpy as np
import pytest

from synthdrive.core.geometry import arc_length, distance_to_polyline
from synthdrive.map_import.street_map import cut, pieces_needed

ANGLE = np.linspace(0, np.pi / 2, 200)
TURN = 10.0 * np.stack([np.sin(ANGLE), 1 - np.cos(ANGLE)], axis=-1)  # a quarter circle, radius 10 m
STRAIGHT = np.array([[0.0, 0.0], [95.0, 0.0]])


@pytest.mark.parametrize("line", [TURN, STRAIGHT])
@pytest.mark.parametrize("pieces", [1, 3])
def test_pieces_are_contiguous_and_cover_the_lane(line, pieces):
    parts = cut(line, pieces)
    assert len(parts) == pieces
    assert all((before[-1] == after[0]).all() for before, after in zip(parts, parts[1:], strict=False))
    np.testing.assert_array_equal(parts[0][0], line[0])
    np.testing.assert_array_equal(parts[-1][-1], line[-1])
    assert all(2 <= len(part) <= 10 for part in parts)
    assert sum(arc_length(part)[-1] for part in parts) == pytest.approx(arc_length(line)[-1], rel=0.01)


def test_long_and_sharply_bent_lanes_are_cut():
    assert pieces_needed(STRAIGHT, max_length=40.0, max_deviation=0.1) == 3
    corner = np.array([[0.0, 0.0], [20.3, 0.0], [20.3, 17.0]])
    pieces = pieces_needed(corner, max_length=40.0, max_deviation=0.3)
    assert pieces > 1
    assert distance_to_polyline(corner, np.concatenate(cut(corner, pieces))).max() <= 0.3
    assert pieces_needed(TURN, max_length=40.0, max_deviation=0.1) == 1


def test_distance_is_measured_to_the_line_between_points():
    away = distance_to_polyline(np.array([[40.0, 3.0], [98.0, 4.0]]), STRAIGHT)
    np.testing.assert_allclose(away, [3.0, 5.0])
