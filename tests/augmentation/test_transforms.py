"""Tests of the map transforms: agreement with the reference, derivatives, and inverses."""

import numpy as np
import pytest

from synthdrive.augmentation.transforms import KINDS, SHAPES, Transform, TransformShape, make_transform
from synthdrive.core.errors import ParameterError

TERMS = KINDS[:3]


@pytest.fixture
def golden(reference):
    with np.load(reference / "golden" / "transforms.npz") as file:
        return dict(file)


@pytest.mark.reference
@pytest.mark.parametrize("family", SHAPES)
def test_shape_constants_equal_the_reference(golden, family):
    shape = SHAPES[family]
    np.testing.assert_array_equal(
        [shape.power, shape.border, shape.shift, shape.wavelength], golden[f"{family}/params"]
    )


@pytest.mark.reference
@pytest.mark.parametrize("family", SHAPES)
@pytest.mark.parametrize("kind", TERMS)
def test_displacement_and_derivatives_equal_the_reference(golden, family, kind):
    x = golden["x"]
    first = golden.get(f"{family}/{kind}/fprime_true", golden[f"{family}/{kind}/fprime_reference"])
    for row, amplitude in enumerate(golden["amplitudes"]):
        transform = make_transform(kind, amplitude, 0.0, SHAPES[family])
        np.testing.assert_allclose(transform.displacement(x), golden[f"{family}/{kind}/f"][row], atol=1e-9)
        np.testing.assert_allclose(transform.slope(x), first[row], atol=1e-9)
        np.testing.assert_allclose(transform.second_derivative(x), golden[f"{family}/{kind}/fsecond"][row], atol=1e-9)
        assert transform.max_speed() == pytest.approx(golden[f"{family}/vmax_true"][row][TERMS.index(kind)], rel=1e-9)


@pytest.mark.reference
@pytest.mark.parametrize("family", SHAPES)
def test_combination_equals_the_reference(golden, family):
    for row, amplitudes in enumerate(golden[f"{family}/combination/amplitudes"]):
        transform = Transform(*amplitudes, shape=SHAPES[family])
        np.testing.assert_allclose(
            transform.displacement(golden["x"]), golden[f"{family}/combination/f"][row], atol=1e-9
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", SHAPES)
def test_derivatives_match_finite_differences(kind, family):
    transform = make_transform(kind, 7.0, 0.0, SHAPES[family])
    x = np.linspace(-20.0, 120.0, 2801) + 0.01
    step = 1e-4
    slope = (transform.displacement(x + step) - transform.displacement(x - step)) / (2 * step)
    np.testing.assert_allclose(transform.slope(x), slope, atol=2e-3)
    # At a few points the second derivative jumps, so a finite difference cannot match it there.
    second = (transform.slope(x + step) - transform.slope(x - step)) / (2 * step)
    assert np.mean(np.abs(transform.second_derivative(x) - second) > 1e-2) < 0.005


def test_amplitude_sets_the_slope_and_shift_of_a_turn():
    far = 200.0
    assert make_transform("smooth", 6.0, 0.0, SHAPES["released"]).slope(far) == pytest.approx(0.6)
    assert make_transform("double", 6.0, 0.0, SHAPES["released"]).displacement(far) == pytest.approx(6.0)
    assert make_transform("double", 6.0, 0.0, SHAPES["released"]).slope(far) == pytest.approx(0.0, abs=1e-12)


def test_warp_moves_only_y_beyond_the_anchor_and_unwarp_inverts_it():
    transform = make_transform("combination", -5.0, 300.0, SHAPES["released"])
    points = np.random.default_rng(0).uniform(200.0, 500.0, (40, 2))
    warped = transform.warp(points)
    np.testing.assert_array_equal(warped[:, 0], points[:, 0])
    before = points[:, 0] < 340.0
    np.testing.assert_array_equal(warped[before], points[before])
    assert np.all(warped[~before, 1] != points[~before, 1])
    np.testing.assert_allclose(transform.unwarp(warped), points, atol=1e-12)


def test_a_transform_along_another_axis_is_the_same_one_in_a_rotated_frame():
    angle = 2.0
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # city frame -> along and across
    points = np.random.default_rng(0).uniform(-200.0, 200.0, (40, 2))
    along = make_transform("double", 7.0, -60.0, SHAPES["released"], angle)
    expected = make_transform("double", 7.0, -60.0, SHAPES["released"]).warp(points @ turn.T) @ turn
    np.testing.assert_allclose(along.warp(points), expected, atol=1e-9)
    np.testing.assert_allclose(along.unwarp(along.warp(points)), points, atol=1e-9)


def test_unknown_kind_and_invalid_shape_are_refused():
    with pytest.raises(ParameterError, match="zigzag"):
        make_transform("zigzag", 1.0, 0.0, SHAPES["released"])
    with pytest.raises(ParameterError, match="power"):
        TransformShape(power=1.0)
