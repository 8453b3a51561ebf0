"""Fidelity to the authors' released drives, whichever of them are there."""

import numpy as np
import pytest

from conftest import PARAMS
from synthdrive.archive_reader import Limits
from synthdrive.maps.argoverse_map_reader import read_maps
from synthdrive.parameters.loading import load_section
from synthdrive.parameters.synthesize import SynthesizeParameters
from synthdrive.synthesis.released import drive_all_again, round_as_released

pytestmark = pytest.mark.reference


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
    driver = load_section(SynthesizeParameters, "synthesize", PARAMS).driver
    return drive_all_again(folder, real_maps, driver)


def test_released_drives_lie_on_the_warped_lanes(driven):
    means = [drive.lane_distance.mean() for drive in driven]
    assert max(means) <= 0.6
    assert np.median(means) <= 0.2


def test_our_path_is_theirs(driven):
    assert np.mean([drive.lateral_error.mean() for drive in driven]) <= 0.25


def test_our_speed_is_theirs(driven):
    errors = [drive.speed_error for drive in driven]
    assert np.median(errors) <= 0.25
    assert np.mean(errors) <= 0.4


def test_rounding_to_six_digits_leaves_the_released_files_as_they_are(driven):
    for drive in driven:
        np.testing.assert_allclose(round_as_released(drive.released.xy), drive.released.xy, atol=1e-9)
