"""Tests of measures of motion."""

import numpy as np
import pytest
from circle_track import TIME, circle
from scipy.stats import wasserstein_distance

from synthdrive.synthesis.motion import compare, motion_distributions, motion_of, wasserstein


def test_motion_on_a_circle_has_the_known_values():
    motion = motion_of(circle(20.0, 8.0))
    np.testing.assert_allclose(motion.speed, 8.0, rtol=1e-3)
    np.testing.assert_allclose(motion.curvature, 1 / 20.0, rtol=1e-3)
    np.testing.assert_allclose(motion.lateral_acceleration, 64.0 / 20.0, rtol=1e-3)
    np.testing.assert_allclose(motion.acceleration, 0.0, atol=1e-9)
    np.testing.assert_allclose(motion.heading_change, 48 * 0.1 * 8.0 / 20.0, rtol=1e-3)
    np.testing.assert_allclose(motion_of(circle(20.0, 8.0) * [1.0, -1.0]).curvature, -1 / 20.0, rtol=1e-3)


def test_acceleration_and_jerk_are_measured_along_the_track():
    along = 5.0 * TIME + 0.5 * 1.5 * TIME**2 + 0.6 * TIME**3 / 6
    motion = motion_of(np.stack([0.6 * along, 0.8 * along], axis=-1)[None])
    np.testing.assert_allclose(motion.acceleration[0, 0], 1.5 + 0.6 * 0.1, atol=1e-6)
    np.testing.assert_allclose(motion.jerk, 0.6, atol=1e-6)


def test_wasserstein_distance_agrees_with_scipy():
    random = np.random.default_rng(0)
    first, second = random.normal(0, 1, 4000), random.gamma(2.0, 1.0, 3000)
    assert wasserstein(first, second) == pytest.approx(wasserstein_distance(first, second), rel=0.02)
    assert wasserstein(first, first + 0.7) == pytest.approx(0.7)


def test_equal_motion_has_distance_zero_and_faster_motion_does_not():
    slow, fast = motion_distributions(circle(30.0, 6.0)), motion_distributions(circle(30.0, 9.0))
    assert max(compare(slow, slow).values()) == 0.0
    distances = compare(slow, fast)
    assert distances["speed"] == pytest.approx(3.0, rel=1e-3)
    assert distances["curvature"] == pytest.approx(0.0, abs=1e-4)
