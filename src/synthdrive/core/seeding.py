"""Random seeds per item rather than per worker, so that an item draws the same numbers wherever it is processed."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15, the step of splitmix64 (Steele, Lea, Flood 2014), as int64
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def item_seed(seed: int, *item: object) -> int:
    """Return a 63-bit seed for one item, from the run's seed and the strings and numbers that identify the item."""
    text = "\x1f".join([str(int(seed)), *map(str, item)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *item: object) -> np.random.Generator:
    """Return a NumPy generator for one item; see `item_seed`."""
    return np.random.Generator(np.random.PCG64(item_seed(seed, *item)))


def splitmix64(state: Any) -> Any:
    """Return the output of splitmix64 for each state: int64 arrays of NumPy or torch (any shape and device).

    The arithmetic must wrap around on overflow, as int64 does in both.
    """
    z = state + GAMMA
    z = (z ^ shift_right(z, 30)) * _MIX_1
    z = (z ^ shift_right(z, 27)) * _MIX_2
    return z ^ shift_right(z, 31)


def shift_right(value: Any, bits: int) -> Any:
    """Shift int64 values right, filling with zeros; the operator `>>` alone would fill with the sign bit."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
