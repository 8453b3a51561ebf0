"""Fixtures: the augment parameters of params.yaml, and a small city."""

from pathlib import Path

import pytest
from grid_city import grid_city

from synthdrive.config.synthetic_data import AugmentParameters
from synthdrive.core.parameters import load_section

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


@pytest.fixture
def city():
    return grid_city()


@pytest.fixture
def augment():
    return load_section(AugmentParameters, "augment", PARAMS)
