"""Tests of finding the lanes of a trajectory."""

import numpy as np
import pytest
from grid_city import grid_city
from map_matching import match_route

from synthdrive.augmentation.corridor import joined_centreline, resample
from synthdrive.core.errors import InputError


@pytest.fixture(scope="module")
def city():
    return grid_city("TOY")


@pytest.mark.parametrize("lanes", [[2, 3, 4], [22, 23, 24, 25, 26], [11, 33, 34]])
def test_a_trajectory_near_the_centreline_is_matched_to_its_lanes(city, lanes):
    line = resample(joined_centreline(city.segments, np.array(lanes))[0], 0.8)[3:-3]
    noisy = line + np.random.default_rng(0).normal(0.0, 0.2, line.shape)
    assert match_route(city, noisy).tolist() == lanes


def test_a_trajectory_off_the_map_is_refused(city):
    with pytest.raises(InputError, match="no lane within"):
        match_route(city, np.stack([np.linspace(0.0, 30.0, 50), np.full(50, 80.0)], axis=1))
