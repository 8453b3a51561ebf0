"""What a pre-training sample hides, drawn from its own seed, and the queries that ask for it (docs/method.md 4.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from synthdrive.models.batch import uniform
from synthdrive.models.polylines import places
from synthdrive.models.ragged import Ragged

_ANGLE, _KIND, _LANES, _NUMBERS = range(4)  # streams of random numbers


@dataclass(frozen=True)
class Masking:
    """What is hidden in each of B samples with M lanes in all.

    Attributes:
        is_map: (B,) bool; True: some lanes are hidden, False: the focal agent is.
        lanes: (M,) bool, True at hidden lanes.
        numbers: (M,) int64, the number by which each lane is asked for, from 0 in each sample; None: as they stand.
    """

    is_map: Tensor
    lanes: Tensor
    numbers: Tensor | None = None

    @cached_property
    def map_rows(self) -> Tensor:
        """The samples whose lanes are hidden, rising."""
        return torch.nonzero(self.is_map).squeeze(1)

    @cached_property
    def hidden(self) -> Tensor:
        """The hidden lanes, rising."""
        return torch.nonzero(self.lanes).squeeze(1)

    @cached_property
    def shown(self) -> Tensor:
        """The other lanes, rising."""
        return torch.nonzero(~self.lanes).squeeze(1)


def draw_angle(seeds: Tensor) -> Tensor:
    """(B,) float64 radians, uniform over the circle."""
    return uniform(seeds, _ANGLE) * (2.0 * math.pi)


def draw_masking(seeds: Tensor, lanes: Ragged, map_probability: float, mask_ratio: float) -> Masking:
    """Draw each sample's kind, and in map samples keep int(n (1 - mask_ratio)) of its n lanes, any as likely.

    The lanes are numbered anew in each sample, so that no network can learn the order in which a map lists them.

    Args:
        seeds: (B,) int64.
        lanes: which sample each lane belongs to.
        map_probability: fraction of map samples.
        mask_ratio: fraction of lanes to hide.
    """
    is_map = uniform(seeds, _KIND) < map_probability
    keep = (lanes.counts.to(torch.float64) * (1.0 - mask_ratio)).floor().long()
    hidden = _random_ranks(seeds, _LANES, lanes) >= keep[lanes.scene]
    return Masking(is_map, is_map[lanes.scene] & hidden, _random_ranks(seeds, _NUMBERS, lanes))


def _random_ranks(seeds: Tensor, stream: int, lanes: Ragged) -> Tensor:
    """(M,) int64, each lane's place in a random order of its sample's lanes."""
    draw = lanes.pad(uniform(seeds[lanes.scene], stream, lanes.position), torch.inf)  # [B, longest]
    return lanes.pack(draw.argsort(dim=1).argsort(dim=1))


def position_code(position: Tensor, size: int) -> Tensor:
    """(...,) numbers -> (..., size): sines, then cosines, of position * 10000^(-k / (size / 2)); float32."""
    half = size // 2
    frequency = torch.exp(torch.arange(half, device=position.device) * (-math.log(10000.0) / half))
    angle = position[..., None].to(torch.float32) * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def masked_queries(
    vectors: Tensor,
    token: Tensor,
    columns: tuple[int, ...],
    code: Tensor,
    factors: Tensor,
    first_in_each: bool = False,
) -> Tensor:
    """Decoder queries of hidden polylines: the first vector as it is, the others replaced, and a code for the place.

    Args:
        vectors: (N, V, C) the hidden polylines.
        token: (C,) learned.
        columns: (C,) the columns' places in the full row.
        code: (N, V, S).
        factors: (S,) what the columns of the full row are multiplied by, see `layers.column_factors`.
        first_in_each: add the first vector to the token in the queries that follow it.

    Returns:
        (N, V, S).
    """
    at = places(tuple(column % code.shape[-1] for column in columns), vectors.device)
    first = (vectors[:, :1] * factors[at]).expand_as(vectors)
    later = token + first if first_in_each else token
    is_first = torch.arange(vectors.shape[1], device=vectors.device)[:, None] == 0
    shown = torch.where(is_first, first, later)
    rows = shown.new_zeros(*shown.shape[:2], code.shape[-1])
    rows[..., at] = shown
    return rows + code
