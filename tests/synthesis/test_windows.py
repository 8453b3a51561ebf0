"""Tests of windows, their limits, and the places that they avoid."""

import numpy as np
import pytest
from circle_track import TIME, circle
from scipy.spatial import cKDTree

from argoverse2_data import scenario_pair, write_split
from given_parameters import committed
from synthdrive.augmentation.transforms import SHAPES, Transform, make_transform
from synthdrive.config.data import IngestParameters
from synthdrive.core.errors import InputError
from synthdrive.core.geometry import distance_to_polyline
from synthdrive.core.timing import ARGOVERSE2
from synthdrive.ingestion.argoverse2 import ingest_scenarios
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.synthesis.drive_scenes import LaneDistance
from synthdrive.synthesis.windows import Exclusion, cut_windows, describe_windows, within_limits


def test_windows_start_every_stride_on_new_road_and_end_within_the_drive():
    fresh = np.ones((2, 200), dtype=bool)
    fresh[1, 30:] = False
    windows = cut_windows(np.array([131, 200]), 2.0, fresh, len(TIME))
    assert windows.drive.tolist() == [0] * 5 + [1] * 2
    assert windows.first.tolist() == [0, 20, 40, 60, 80, 0, 20]
    assert windows.number.tolist() == [1, 2, 3, 4, 5, 1, 2]
    assert windows.steps.shape == (7, 50)
    assert windows.steps[4, -1] == 129


@pytest.mark.parametrize(
    ("limit", "xy", "distance"),
    [
        ("lateral_acceleration", circle(8.0, 8.0), 0.0),
        ("acceleration", np.stack([5 * TIME + 2.0 * TIME**2, 0 * TIME], axis=-1)[None], 0.0),
        ("braking", np.stack([25 * TIME - 2.0 * TIME**2, 0 * TIME], axis=-1)[None], 0.0),
        ("lane_distance", circle(200.0, 8.0), 1.6),
    ],
)
def test_a_window_that_breaks_a_limit_is_dropped_for_that_limit(parameters, limit, xy, distance):
    both = np.concatenate([circle(50.0, 8.0), xy])
    columns = describe_windows(both, np.array([[0.1], [distance]]) * np.ones(50))
    kept, broken = within_limits(columns, parameters.limits)
    assert kept.tolist() == [True, False]
    assert [name for name, count in broken.items() if count] == [limit]


def test_distance_to_lanes_agrees_with_the_exact_distance():
    random = np.random.default_rng(0)
    points = np.zeros((6, 10, 2))
    points[:, :4] = np.cumsum(random.uniform(-5, 15, (6, 4, 2)), axis=1)
    ids, flags = np.arange(6), np.zeros(6, dtype=bool)
    lanes = LaneSegments(ids, points, np.full(6, 4), np.zeros(6, dtype=np.int8), flags, flags)
    positions = random.uniform(-10, 40, (300, 2))
    expected = np.min([distance_to_polyline(positions, points[lane, :4]) for lane in range(6)], axis=0)
    found = LaneDistance(lanes)(positions)
    assert np.all(found >= expected - 1e-12)
    near = expected < 4.0
    np.testing.assert_allclose(found[near], expected[near], atol=0.02)
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_scenes_with_a_map_of_their_own_cannot_be_excluded(tmp_path):
    """The map of a window is then that of one scene, so that no window would be near another scene."""
    write_split(tmp_path / "val.tar", scenario_pair(1))
    ingest_scenarios(tmp_path, {"val": tmp_path / "val"}, committed(IngestParameters), 50.0, ARGOVERSE2, workers=1)
    with pytest.raises(InputError, match="exclusion_radius: found 25, with a map for every scene; expected 0"):
        Exclusion.of(SceneStore.load(tmp_path / "val"), 25.0)


@pytest.mark.parametrize("warped", [False, True])
def test_excluded_places_far_from_the_windows_cost_nothing(monkeypatch, warped):
    sizes = []

    def counting_tree(places):
        sizes.append(len(places))
        return cKDTree(places)

    monkeypatch.setattr("synthdrive.synthesis.windows.cKDTree", counting_tree)
    random = np.random.default_rng(0)
    places, radius = random.uniform(0, 3000, (4000, 2)), 15.0
    transform = make_transform("smooth", 5.0, 900.0, SHAPES["released"]) if warped else Transform()
    steps = np.stack([np.linspace(0, 60, 50), np.zeros(50)], axis=1)
    original = random.uniform(1000, 1300, (60, 1, 2)) + steps
    found = Exclusion({"MIA": places}, radius).near("MIA", transform.warp(original), transform)
    expected = np.array([np.hypot(*(xy[:, None] - places).T).min() < radius for xy in original])
    np.testing.assert_array_equal(found, expected)
    assert 0 < expected.sum() < len(expected)
    assert sizes[0] < 200

    far = Exclusion({"MIA": places + 1e4}, radius).near("MIA", transform.warp(original), transform)
    assert not far.any()
