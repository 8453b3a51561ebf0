"""Statistics of recorded scenes, on tracks whose speed and turn are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdrive.core.timing import ARGOVERSE1
from synthdrive.ingestion.statistics import agent_statistics, heading_change

LAST_OBSERVED, STEPS = ARGOVERSE1.last_observed, ARGOVERSE1.steps

TIMES = np.arange(STEPS) * 0.1
TURN = np.radians(30)


def drive(headings, speed):
    """Positions of a car at this speed along these headings."""
    steps = speed * 0.1 * np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps[1:], axis=0)])


def bend(angle, speed=10.0, start=0.3):
    """Straight, then from step 22 to 32 a bend by this angle, then straight."""
    progress = np.clip((np.arange(STEPS) - LAST_OBSERVED - 3) / 10, 0, 1)
    return drive(start + angle * progress, speed)


def statistics(agent, times=TIMES):
    return {name: values[0] for name, values in agent_statistics(agent[None], times[None], TURN).items()}


def test_a_straight_drive():
    found = statistics(bend(0.0, speed=8.0))
    assert found["agent_mean_speed"] == pytest.approx(8.0)
    assert found["agent_max_speed"] == pytest.approx(8.0)
    assert found["agent_displacement"] == pytest.approx(8.0 * 4.9)
    assert found["max_step"] == pytest.approx(0.8)
    assert found["min_interval"] == pytest.approx(0.1)
    assert found["turn"] == "straight"
    columns = agent_statistics(bend(0.0)[None].astype(np.float32), TIMES[None], TURN)
    assert {values.dtype for name, values in columns.items() if name != "turn"} == {np.dtype(np.float64)}


@pytest.mark.parametrize(("angle", "turn"), [(1.5, "left"), (-1.5, "right"), (0.4, "straight"), (-3.0, "right")])
def test_a_turn_has_its_angle_and_side(angle, turn):
    found = statistics(bend(angle))
    assert found["agent_heading_change"] == pytest.approx(angle, abs=1e-9)
    assert found["turn"] == turn


@settings(max_examples=50, deadline=None)
@given(angle=st.floats(-3.0, 3.0), start=st.floats(-3.2, 3.2), noise=st.integers(0, 10**6))
def test_noise_moves_the_heading_change_little(angle, start, noise):
    agent = bend(angle, start=start) + np.random.default_rng(noise).normal(0, 0.05, (STEPS, 2))
    error = np.angle(np.exp(1j * (heading_change(agent[None])[0] - angle)))
    assert abs(error) < 0.15


def test_a_car_that_stands_does_not_turn_however_noisy():
    agent = np.random.default_rng(0).normal(0, 0.1, (STEPS, 2))
    found = statistics(agent)
    assert found["agent_heading_change"] == 0
    assert found["turn"] == "straight"


def test_a_car_that_stands_and_then_sets_off_straight_does_not_turn():
    agent = drive(np.full(STEPS, 2.0), 10.0)
    agent[: LAST_OBSERVED + 5] = agent[LAST_OBSERVED + 5]
    assert statistics(agent)["agent_heading_change"] == pytest.approx(0.0, abs=1e-9)


def test_a_car_that_comes_to_a_stop_keeps_its_last_heading():
    agent = bend(1.2)
    agent[42:] = agent[42]
    assert statistics(agent)["agent_heading_change"] == pytest.approx(1.2, abs=1e-6)


def test_speed_follows_the_time_stamps():
    times = TIMES.copy()
    times[25:] += 0.4  # a gap in which the car stands
    found = statistics(bend(0.0), times)
    assert found["max_interval"] == pytest.approx(0.5)
    assert found["agent_mean_speed"] == pytest.approx(10 * 4.9 / 5.3)
