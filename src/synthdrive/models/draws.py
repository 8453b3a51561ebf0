"""Random numbers that are a function of a sample's own seed: the same on any device, in any batch, on any rank."""

from __future__ import annotations

import torch
from torch import Tensor

_GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15, the step of splitmix64 (Steele, Lea, Flood 2014), as int64
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB
_MANTISSA = (1 << 53) - 1


def splitmix64(state: Tensor) -> Tensor:
    """The output of splitmix64 for each state; int64 in, int64 out (arithmetic wraps, as the algorithm wants)."""
    z = state + _GAMMA
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    return z ^ _shift_right(z, 31)


def uniform(seeds: Tensor, stream: int, counter: Tensor | None = None) -> Tensor:
    """Numbers in [0, 1), float64, one for each seed.

    Args:
        seeds: (N,) int64, the samples' seeds.
        stream: what the numbers are for; other streams give independent numbers.
        counter: (N,) int64, to draw several numbers from one seed; 0 where absent.
    """
    state = splitmix64(splitmix64(seeds) + stream)
    bits = splitmix64(state if counter is None else state + counter * _GAMMA)
    return (_shift_right(bits, 11) & _MANTISSA).to(torch.float64) / float(1 << 53)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical shift; torch's own keeps the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
