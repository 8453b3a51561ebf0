"""Tests of the motion of vehicle centres computed from simulated positions."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from synthdrive.config.record_sample import TrafficParameters
from synthdrive.core.parameters import load_section
from synthdrive.recording.simulation import Drive, centre_motion, read_drive

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"

STEPS = 100


def drive(front, heading, speed, length=4.0):
    return Drive(
        front=front[:, None],
        heading=heading[:, None],
        speed=speed[:, None],
        lane=np.zeros((len(front), 1), dtype=np.int32),
        length=np.array([length]),
        lane_names=["a"],
    )


def straight(skip=0.0):
    x = np.arange(STEPS) * 1.0
    x[50:] += skip
    front = np.stack([x, np.zeros(STEPS)], axis=-1)
    return drive(front, np.zeros(STEPS), np.full(STEPS, 10.0))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_vehicle_centre_is_half_a_length_behind_the_bumper(smoothing):
    motion = centre_motion(straight(), smoothing)
    np.testing.assert_allclose(motion.xy[:, 0, 0], np.arange(STEPS) - 2.0, atol=1e-6)
    assert motion.sound.all()


def test_skip_at_a_lane_joint_is_smoothed():
    raw = np.abs(np.diff(straight(1.2).front[:, 0, 0], n=2)).max()
    motion = centre_motion(straight(1.2), 0.2)
    smoothed = np.abs(np.diff(motion.xy[:, 0, 0], n=2)).max()
    assert raw > 1.0
    assert smoothed < 0.02  # metres per step squared: 2 m/s2
    assert motion.sound.all()
    assert motion.xy[-1, 0, 0] == pytest.approx(straight(1.2).front[-1, 0, 0] - 2.0, abs=0.05)


def test_sideways_jump_is_marked():
    jumping = straight()
    jumping.front[50:, 0, 1] += 6.0
    motion = centre_motion(jumping, 0.2)
    assert not motion.sound.all()
    assert motion.sound[:40].all()


def test_absence_of_a_vehicle_is_not_interpolated():
    coming = straight()
    for values in (coming.front, coming.heading, coming.speed):
        values[40:60] = np.nan
    motion = centre_motion(coming, 0.2)
    np.testing.assert_array_equal(np.isnan(motion.xy[:, 0, 0]), np.isnan(coming.speed[:, 0]))
    np.testing.assert_allclose(motion.xy[60:, 0, 0], np.arange(60, STEPS) - 2.0, atol=1e-6)


@pytest.mark.parametrize("name", ["calm", "very_cautious"])
def test_vehicle_has_the_length_of_its_kind_whatever_its_driver_is_called(name):
    traffic = load_section(TrafficParameters, "record_sample.traffic", PARAMS)
    traffic.drivers[0].name = name
    motion = {f"vehicle_{key}": [0.0, 1.0] for key in ("x", "y", "angle", "speed")}
    kinds = [f"{vehicle.name}_{name}" for vehicle in traffic.vehicles[:2]]
    names = {"vehicle_id": ["0", "1"], "vehicle_lane": ["a", "a"], "vehicle_type": kinds}
    driven = read_drive(pa.table({"timestep_time": [0.0, 0.0], **motion, **names}), traffic)
    assert driven.length.tolist() == [vehicle.length for vehicle in traffic.vehicles[:2]]
