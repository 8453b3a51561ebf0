"""Tests of seeds and random numbers."""

import numpy as np
import torch

from synthdrive.core.seeding import generator, item_seed, splitmix64
from synthdrive.training.data import sample_seeds


def test_a_seed_depends_on_the_item_and_on_the_run():
    assert item_seed(1, "MIA", 3) == item_seed(1, "MIA", 3)
    seeds = {item_seed(run, city, route) for run in (0, 1) for city in ("MIA", "PIT") for route in range(50)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert item_seed(1, "a", "b") != item_seed(1, "ab")


def test_random_numbers_of_an_item_do_not_depend_on_earlier_draws():
    first = generator(7, "route", 5).random(3).tolist()
    generator(7, "route", 4).random(100)
    assert generator(7, "route", 5).random(3).tolist() == first


def test_arrays_and_tensors_give_the_same_splitmix64():
    # First outputs of splitmix64 seeded with 0 and 1234567 (Steele, Lea, Flood; the reference C code).
    states = np.array([0, 1234567, -1, 2**63 - 1, -(2**63)])
    found = splitmix64(states)
    assert [value % (1 << 64) for value in found[:2].tolist()] == [16294208416658607535, 6457827717110365317]
    assert found.tolist() == splitmix64(torch.tensor(states)).tolist()


def test_sample_seeds_equal_those_of_unsigned_arithmetic():
    mask = (1 << 64) - 1
    expected = []
    for index in (0, 1, 17, 10**6):
        z = (item_seed(3, "sample", 2) + (index + 1) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        expected.append((z ^ (z >> 31)) >> 1)
    assert sample_seeds(3, 2, np.array([0, 1, 17, 10**6])).tolist() == expected
