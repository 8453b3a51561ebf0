"""Tests of scene selection (weights, separation, parts of the city) and of what the AV observes."""

from dataclasses import replace

import numpy as np
import pytest

from synthdrive.config.record_sample import SceneParameters
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.recording.record import record_scene
from synthdrive.recording.scene_selection import Candidates, CityParts, Window, choose
from synthdrive.recording.simulation import Motion
from synthdrive.scenes.scene_store import AGENT, AV, OTHERS

STEPS = ARGOVERSE1.steps

SCENES = SceneParameters(
    train=10,
    val=5,
    band=100.0,
    max_standing_fraction=0.1,
    standing_distance=5.0,
    separation=60.0,
    pause=5.0,
    min_av_distance=5.0,
    max_av_distance=60.0,
    sensor_range=50.0,
    max_acceleration=6.0,
    max_lateral_acceleration=5.0,
    tracking_noise=0.0,
    smoothing=0.2,
)
PARTS = CityParts(axis=0, sign=1.0, line=0.0, half_band=50.0)


def candidates(count, **changes):
    values = {
        "start": np.arange(count) * STEPS,
        "vehicle": np.arange(count),
        "place": np.zeros((count, 2)),
        "displacement": np.full(count, 30.0),
        "weight": np.ones(count),
        "av": np.full(count, 7),
    }
    return Candidates(**{**values, **changes})


def draw(found, count):
    return choose(found, count, SCENES, np.random.default_rng(3))


def test_scenes_with_larger_weights_are_chosen_more_often():
    weight = np.where(np.arange(400) < 200, 9.0, 1.0)
    chosen = draw(candidates(400, weight=weight), 100)
    assert 0.75 < (chosen < 200).mean() < 1.0


def test_fraction_of_standing_agents_is_limited():
    displacement = np.where(np.arange(200) < 150, 0.0, 30.0)
    chosen = draw(candidates(200, displacement=displacement), 50)
    assert (displacement[chosen] < 5.0).sum() == 5
    assert len(chosen) == 50


def test_simultaneous_scenes_are_separated_in_space():
    place = np.stack([np.arange(50) * 10.0, np.zeros(50)], axis=-1)
    chosen = draw(candidates(50, start=np.zeros(50, dtype=np.int64), place=place), 50)
    assert np.diff(np.sort(place[chosen, 0])).min() >= 60.0


def test_scenes_of_one_vehicle_are_separated_in_time_and_need_an_av():
    chosen = draw(candidates(20, vehicle=np.zeros(20, dtype=np.int64)), 20)
    assert np.diff(np.sort(chosen)).min() >= 2
    assert not len(draw(candidates(20, av=np.full(20, -1)), 20))


def test_windows_measure_turns_and_braking():
    time = np.arange(STEPS) * 0.1
    angle = time / 4.9 * np.pi / 2
    turning = 20.0 * np.stack([np.sin(angle), 1 - np.cos(angle)], axis=-1)
    braking = np.stack([10.0 * time - 1.0 * time**2, np.zeros(STEPS)], axis=-1)
    window = Window.of(np.stack([turning, braking], axis=1))
    np.testing.assert_allclose(np.degrees(window.turn), [81.0, 0.0], atol=2.0)
    np.testing.assert_allclose(window.speed_loss, [0.0, 4.0], atol=0.1)
    np.testing.assert_allclose(window.acceleration, [0.0, 2.0], atol=0.1)
    assert window.lateral_acceleration[0] == pytest.approx((20 * np.pi / 2 / 4.9) ** 2 / 20, rel=0.05)


@pytest.mark.parametrize(("x", "train", "val"), [(-60.0, True, False), (0.0, False, False), (49.0, False, False),
                                                 (51.0, False, True), (np.nan, False, False)])  # fmt: skip
def test_band_between_train_and_val_belongs_to_neither(x, train, val):
    place = np.array([x, 0.0])
    assert (bool(PARTS.within("train", place)), bool(PARTS.within("val", place))) == (train, val)


def moving():
    """Vehicles: AGENT, AV, one that leaves the range of the AV, one far away, one across the dividing line."""
    xy = np.zeros((STEPS, 5, 2))
    xy[:, 0] = [80.0, 0.0]
    xy[:, 1] = [35.0, 0.0]
    xy[:, 2] = np.stack([np.full(STEPS, 35.0), np.linspace(20.0, 80.0, STEPS)], axis=-1)
    xy[:, 3] = [300.0, 0.0]
    xy[:, 4] = [-10.0, 0.0]
    return Motion(xy, np.ones((STEPS, 5), dtype=bool))


def observe(motion, scenes=SCENES):
    parked = np.array([[70.0, 5.0], [500.0, 0.0]])
    return record_scene("val", PARTS, motion, parked, 0, 0, 1, "BER", 0.0, scenes, np.random.default_rng(0))


def test_av_observes_nearby_vehicles_on_its_side():
    rows = observe(moving())
    tracks = {}
    for name, kind in zip(rows.track_ids, rows.track_types, strict=True):
        tracks.setdefault((int(kind), name), []).append(name)
    counts = sorted((kind, len(seen)) for (kind, _), seen in tracks.items())
    leaving = sum(np.linspace(20.0, 80.0, STEPS) <= 50.0)
    assert counts == [(AGENT, 50), (AV, 50), (OTHERS, leaving), (OTHERS, 50)]
    assert (np.diff(rows.timestamps) >= 0).all()
    np.testing.assert_allclose(np.diff(np.unique(rows.timestamps)), 0.1, atol=1e-6)


def test_tracking_noise_has_the_given_standard_deviation():
    noisy, exact = observe(moving(), scenes=replace(SCENES, tracking_noise=0.1)), observe(moving())
    assert (noisy.xy - exact.xy).std() == pytest.approx(0.1, rel=0.2)


def test_scene_with_a_jump_is_dropped():
    motion = moving()
    motion.sound[10, 3] = False
    assert observe(motion) is not None  # far away
    motion.sound[10, 2] = False
    assert observe(motion) is None
