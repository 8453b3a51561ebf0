"""Random numbers that are a function of a sample's own seed: the same on any device, in any batch, on any rank."""

from __future__ import annotations

import torch
from torch import Tensor

from synthdrive.core.seeding import GAMMA, shift_right, splitmix64

_MANTISSA = (1 << 53) - 1


def uniform(seeds: Tensor, stream: int, counter: Tensor | None = None) -> Tensor:
    """Numbers in [0, 1), float64, one for each seed.

    Args:
        seeds: (N,) int64, the samples' seeds.
        stream: what the numbers are for; other streams give independent numbers.
        counter: (N,) int64, to draw several numbers from one seed; 0 where absent.
    """
    state = splitmix64(splitmix64(seeds) + stream)
    bits = splitmix64(state if counter is None else state + counter * GAMMA)
    mantissa: Tensor = shift_right(bits, 11) & _MANTISSA
    return mantissa.to(torch.float64) / float(1 << 53)
