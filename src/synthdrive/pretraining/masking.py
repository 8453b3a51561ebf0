"""What a pre-training sample hides, drawn from its own seed, and the queries that ask for it (docs/method.md 4.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthdrive.models.draws import uniform
from synthdrive.models.ragged import Ragged

_ANGLE, _KIND, _LANES = range(3)  # streams of random numbers


@dataclass(frozen=True)
class Masking:
    """What is hidden in each of B samples with M lanes in all.

    Attributes:
        is_map: (B,) bool; True: some lanes are hidden, False: AGENT is.
        lanes: (M,) bool, True at hidden lanes.
    """

    is_map: Tensor
    lanes: Tensor


def draw_angle(seeds: Tensor) -> Tensor:
    """(B,) float64 radians, uniform over the circle."""
    return uniform(seeds, _ANGLE) * (2.0 * math.pi)


def draw_masking(seeds: Tensor, lanes: Ragged, map_probability: float, mask_ratio: float) -> Masking:
    """Draw each sample's kind, and in map samples keep int(n (1 - mask_ratio)) of its n lanes, any as likely.

    Args:
        seeds: (B,) int64.
        lanes: which sample each lane belongs to.
        map_probability: share of map samples.
        mask_ratio: share of lanes to hide.
    """
    is_map = uniform(seeds, _KIND) < map_probability
    draw = lanes.pad(uniform(seeds[lanes.scene], _LANES, lanes.position), torch.inf)  # [B, longest]
    rank = lanes.pack(draw.argsort(dim=1).argsort(dim=1))  # [M]
    keep = (lanes.counts.to(torch.float64) * (1.0 - mask_ratio)).floor().long()
    return Masking(is_map, is_map[lanes.scene] & (rank >= keep[lanes.scene]))


def position_code(position: Tensor, size: int) -> Tensor:
    """(...,) numbers -> (..., size): sines, then cosines, of position * 10000^(-k / (size / 2)); float32."""
    half = size // 2
    frequency = torch.exp(torch.arange(half, device=position.device) * (-math.log(10000.0) / half))
    angle = position[..., None].to(torch.float32) * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def masked_queries(vectors: Tensor, token: Tensor, columns: tuple[int, ...], code: Tensor, factors: Tensor) -> Tensor:
    """Decoder queries of hidden polylines: the first vector as it is, the others replaced, and a code for the place.

    Args:
        vectors: (N, V, C) the hidden polylines.
        token: (C,) learned.
        columns: (C,) the columns' places in the full row.
        code: (N, V, S).
        factors: (S,) what the columns of the full row are multiplied by, see `layers.column_factors`.

    Returns:
        (N, V, S).
    """
    first = torch.arange(vectors.shape[1], device=vectors.device)[:, None] == 0
    shown = torch.where(first, vectors * factors[list(columns)], token)
    rows = shown.new_zeros(*shown.shape[:2], code.shape[-1])
    rows[..., [column % code.shape[-1] for column in columns]] = shown
    return rows + code
