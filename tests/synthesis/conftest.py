"""Fixtures: the parameters of params.yaml, and the small city of the augmentation tests with its scenes."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from grid_city import grid_city

from repository import PARAMS
from synthdrive.augmentation.augment_maps import augment_maps
from synthdrive.config.synthetic_data import AugmentParameters, SynthesizeParameters
from synthdrive.core.parameters import load_section


@pytest.fixture
def parameters():
    return load_section(SynthesizeParameters, "synthesize", PARAMS)


@pytest.fixture
def driver(parameters):
    return parameters.driver


@pytest.fixture(scope="session")
def maps():
    return {"TOY": grid_city("TOY"), "ZOO": grid_city("ZOO")}


@pytest.fixture(scope="session")
def scenes(maps):
    with ThreadPoolExecutor(1) as executor:
        return augment_maps(maps, load_section(AugmentParameters, "augment", PARAMS), 50.0, executor)
