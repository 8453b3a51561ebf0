"""Tests of the rule-based driver: paths, speed plan, dynamics."""

import numpy as np
import pytest

from synthdrive.augmentation.corridor import joined_centreline
from synthdrive.core.geometry import distance_to_polyline
from synthdrive.synthesis.driver import SPACING, drive, plan_paths, slow_before, speed_plan, stack_paths
from synthdrive.synthesis.motion import motion_of
from synthdrive.synthesis.realism import draw_speed_variation, draw_stops

SPEEDS = np.array([6.0, 10.0, 15.0])
CORNER = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 100.0]])


def around_the_turn(maps):
    return joined_centreline(maps["TOY"].segments, np.arange(18, 30))[0]


def test_corners_are_cut_more_at_higher_speed_but_within_the_limit(driver):
    paths = plan_paths(CORNER, SPEEDS, driver)
    inner = [distance_to_polyline(np.array([[100.0, 0.0]]), path)[0] for path in paths.points]
    assert inner == sorted(inner)
    off = [distance_to_polyline(path, np.vstack([CORNER, [100.0, 130.0]])).max() for path in paths.points]
    assert max(off) < driver.max_deviation + 0.15


def test_a_path_has_even_steps_and_a_straight_path_is_the_centreline(driver):
    paths = plan_paths(np.array([[0.0, 0.0], [60.0, 80.0]]), SPEEDS, driver)
    steps = np.diff(paths.points, axis=1)
    np.testing.assert_allclose(np.hypot(steps[..., 0], steps[..., 1]), SPACING, atol=1e-6)
    np.testing.assert_allclose(paths.lengths, 100.0, atol=1e-6)
    np.testing.assert_allclose(paths.curvature, 0.0, atol=1e-9)
    np.testing.assert_allclose(paths.points[0, 0], 0.0, atol=1e-9)


def test_slow_before_gives_the_highest_speeds_that_keep_every_later_limit():
    limits = np.full((2, 200), 10.0)
    limits[:, 150] = 4.0
    plan = slow_before(limits, np.array([1.0, 0.5]))
    distance = SPACING * (150 - np.arange(151))
    for row, deceleration in enumerate((1.0, 0.5)):
        expected = np.minimum(10.0, np.sqrt(16.0 + 2 * deceleration * distance))
        np.testing.assert_allclose(plan[row, :151], expected)
    np.testing.assert_allclose(plan[:, 151:], 10.0)


def test_a_straight_road_is_driven_at_cruise_speed_and_a_bend_slower(driver, maps):
    straight = drive(plan_paths(np.array([[0.0, 0.0], [600.0, 0.0]]), SPEEDS, driver), SPEEDS, driver)
    for row, steps in enumerate(straight.steps):
        assert straight.speed[row, steps - 1] == pytest.approx(driver.cruise_speed_factor * SPEEDS[row], abs=0.15)
        assert straight.speed[row, 0] == driver.start_speed
    paths = plan_paths(around_the_turn(maps), SPEEDS, driver)
    turn = drive(paths, SPEEDS, driver)
    plan = speed_plan(paths, SPEEDS, driver)
    slowest = [turn.speed[row, : turn.steps[row]].min() for row in range(3)]
    assert all(
        speed < 0.8 * driver.cruise_speed_factor * desired
        for speed, desired in zip(slowest[1:], SPEEDS[1:], strict=True)
    )
    assert np.all(np.abs(np.array(slowest) - plan.min(axis=1)) < 0.08 * SPEEDS)


def test_motion_is_feasible_in_the_whole_drive(driver, maps):
    drives = drive(plan_paths(around_the_turn(maps), SPEEDS, driver), SPEEDS, driver)
    for row, steps in enumerate(drives.steps):
        motion = motion_of(drives.xy[row : row + 1, :steps])
        assert np.abs(motion.acceleration).max() < 3.0
        assert np.abs(motion.lateral_acceleration).max() < 4.0
        assert np.abs(motion.jerk).max() < 10.0
        assert np.abs(motion.heading_step).max() < 0.2
        assert motion.speed.min() > 1.0


def test_a_drive_does_not_depend_on_the_other_drives_of_its_block(driver, maps):
    short, long = CORNER, around_the_turn(maps)
    alone = drive(plan_paths(short, SPEEDS, driver), SPEEDS, driver)
    block = stack_paths([plan_paths(short, SPEEDS, driver), plan_paths(long, SPEEDS, driver)])
    together = drive(block, np.tile(SPEEDS, 2), driver)
    np.testing.assert_array_equal(together.steps[:3], alone.steps)
    for row, steps in enumerate(alone.steps):
        np.testing.assert_array_equal(together.xy[row, :steps], alone.xy[row, :steps])


def test_a_car_stops_at_stop_lines_waits_and_continues(driver, parameters):
    parameters.stops.spacing, parameters.stops.min_wait, parameters.stops.max_wait = 80.0, 2.0, 3.0
    paths = plan_paths(np.array([[0.0, 0.0], [400.0, 0.0]]), SPEEDS, driver)
    stops = draw_stops(paths.lengths, parameters.stops, np.random.default_rng(1))
    drives = drive(paths, SPEEDS, driver, stops=stops)
    for row, steps in enumerate(drives.steps):
        assert drives.along[row, steps - 1] > 390.0
        for line in stops.lines[row][np.isfinite(stops.lines[row])]:
            standing = (np.abs(drives.along[row] - line) < 1.5) & (drives.speed[row] == 0.0)
            assert 18 <= standing.sum() <= 32


def test_speed_variation_slows_some_intervals_and_speeds_up_none(driver, parameters):
    parameters.speed_variation.interval, parameters.speed_variation.min_speed_factor = 60.0, 0.5
    paths = plan_paths(np.array([[0.0, 0.0], [600.0, 0.0]]), SPEEDS, driver)
    variation = draw_speed_variation(len(SPEEDS), parameters.speed_variation, np.random.default_rng(2))
    steady, varied = drive(paths, SPEEDS, driver), drive(paths, SPEEDS, driver, speed_variation=variation)
    for row, desired in enumerate(SPEEDS):
        speeds = varied.speed[row, 50 : varied.steps[row]]
        assert speeds.max() < steady.speed[row].max() + 0.1
        assert 0.4 * desired < speeds.min() < 0.8 * desired
        assert speeds.std() > 0.05 * desired
    distances = np.arange(0.0, 600.0, 5.0)
    factors = np.stack([variation.factor(np.full(len(SPEEDS), distance)) for distance in distances], axis=1)
    assert (np.abs(np.diff(factors, axis=1)) > 0).sum(axis=1).max() <= 10
    assert ((factors >= 0.5) & (factors <= 1.0)).all()
