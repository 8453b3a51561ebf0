"""Tests of the driver against the authors' released drives, if they are available."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from released_drives import drive_all_again, round_as_released

from given_parameters import committed
from synthdrive.augmentation.augment_maps import augment_maps
from synthdrive.config.synthetic_data import AugmentParameters, SynthesizeParameters
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.formats.archives import Limits
from synthdrive.formats.argoverse1_map_reader import read_maps
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.synthesis.motion import agent_tracks, compare, motion_distributions
from synthdrive.synthesis.synthesize import synthesize

pytestmark = pytest.mark.reference


@pytest.fixture
def parameters():
    return committed(SynthesizeParameters)


@pytest.fixture(scope="module")
def real_maps(reference):
    tarball = reference / "argoverse1" / "hd_maps.tar.gz"
    if not tarball.exists():
        pytest.skip(f"no maps in {tarball}")
    return {lane_map.city: lane_map for lane_map in read_maps(tarball, Limits(10**8, 10**9), "drop")}


@pytest.fixture(scope="module")
def driven(reference, real_maps):
    folder = reference / "released_samples"
    if not any(folder.glob("*.csv")):
        pytest.skip(f"no released samples in {folder}")
    return drive_all_again(folder, real_maps, committed(SynthesizeParameters).driver)


def test_released_drives_lie_on_the_warped_lanes(driven):
    means = [drive.lane_distance.mean() for drive in driven]
    assert max(means) <= 0.6
    assert np.median(means) <= 0.2


def test_our_paths_are_close_to_the_released_ones(driven):
    assert np.mean([drive.lateral_error.mean() for drive in driven]) <= 0.25


def test_our_speeds_are_close_to_the_released_ones(driven):
    errors = [drive.speed_error for drive in driven]
    assert np.median(errors) <= 0.25
    assert np.mean(errors) <= 0.4


def test_rounding_to_six_digits_does_not_change_the_released_files(driven):
    for drive in driven:
        np.testing.assert_allclose(round_as_released(drive.released.xy), drive.released.xy, atol=1e-9)


def test_motion_in_a_few_thousand_windows_resembles_the_released_windows(driven, real_maps, parameters, tmp_path):
    augment = committed(AugmentParameters)
    augment.routes.per_city, augment.routes.length = 12, 800.0
    parameters.speeds_per_scene = 0
    with ThreadPoolExecutor(1) as executor:
        scenes = augment_maps(real_maps, augment, 50.0, executor)
        synthesize(real_maps, scenes, parameters, 50.0, ARGOVERSE1, executor, tmp_path)
    store = SceneStore.load(tmp_path)
    assert len(store) > 3000
    ours = motion_distributions(round_as_released(agent_tracks(store) + store.origins[:, None]))
    theirs = motion_distributions(np.stack([drive.released.xy for drive in driven]))
    distance = compare(ours, theirs)
    # The samples are few and were chosen for their turns: two random halves of them are as far apart.
    assert distance["speed"] < 0.6
    assert distance["acceleration"] < 0.2
    assert distance["curvature"] < 0.012
    assert distance["heading_change"] < 0.3
