"""Tests of polylines: distance, nearest point, arc length and interpolation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from synthdrive.core.geometry import arc_length, distance_to_polyline, fraction_along, interpolate

COORDINATE = st.floats(-1000, 1000, width=32)


@given(points=arrays(float, (3, 2), elements=COORDINATE), line=arrays(float, (4, 2), elements=COORDINATE))
def test_distance_to_a_polyline_equals_the_distance_to_its_nearest_sample(points, line):
    samples = np.concatenate(
        [a + np.linspace(0, 1, 2001)[:, None] * (b - a) for a, b in zip(line, line[1:], strict=False)]
    )
    nearest = np.linalg.norm(points[:, None] - samples, axis=-1).min(axis=1)
    spacing = np.linalg.norm(np.diff(line, axis=0), axis=-1).max() / 2000
    found = distance_to_polyline(points, line)
    assert (found <= nearest + 1e-5).all()
    assert (found >= nearest - spacing - 1e-5).all()


def test_the_nearest_point_lies_on_the_line_segment():
    step = np.array([2.0, 0.0])
    offsets = np.array([[-1.0, 1.0], [0.5, 9.0], [3.0, 0.0]])
    assert fraction_along(offsets, step).tolist() == [0.0, 0.25, 1.0]
    assert fraction_along(offsets, np.zeros(2)).tolist() == [0.0, 0.0, 0.0]


def test_arc_length_and_interpolation_along_a_line():
    line = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 14.0]])
    assert arc_length(line).tolist() == [0.0, 5.0, 15.0]
    assert interpolate(line, np.array([-1.0, 2.5, 10.0, 99.0])) == pytest.approx(
        np.array([[0, 0], [1.5, 2], [3, 9], [3, 14]])
    )
