"""Fixtures: the augment parameters of params.yaml, and a small city."""

import pytest
from grid_city import grid_city

from repository import PARAMS
from synthdrive.config.synthetic_data import AugmentParameters
from synthdrive.core.parameters import load_section


@pytest.fixture
def city():
    return grid_city()


@pytest.fixture
def augment():
    return load_section(AugmentParameters, "augment", PARAMS)
