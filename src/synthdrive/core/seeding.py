"""Seeds that belong to an item, not to a worker: the same item draws the same numbers wherever it is processed."""

from __future__ import annotations

import hashlib

import numpy as np


def item_seed(seed: int, *item: object) -> int:
    """A 63-bit seed for one item, from the run's seed and whatever identifies the item (strings, numbers)."""
    text = "\x1f".join([str(int(seed)), *map(str, item)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *item: object) -> np.random.Generator:
    """A NumPy generator for one item; see `item_seed`."""
    return np.random.Generator(np.random.PCG64(item_seed(seed, *item)))
