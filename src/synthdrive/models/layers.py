"""Building blocks: attention without biases (as in the paper's release), perceptrons, and what a forward pass returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.models.polylines import METRES


def additive_mask(valid: Tensor, like: Tensor) -> Tensor:
    """(B, P) bool -> 0 where True and -inf elsewhere: what the kernels use, for callers that attend several times."""
    return torch.zeros_like(valid, dtype=like.dtype).masked_fill_(~valid, -torch.inf)


def attend(query: Tensor, key: Tensor, value: Tensor, valid: Tensor, scale: float | None = None) -> Tensor:
    """Softmax attention over the valid keys.

    Args:
        query: (B, H, Q, E).
        key, value: (B, H, P, E).
        valid: (B, P) True at keys that may be seen, at least one in each row, or what `additive_mask` made of that.
        scale: of the scores; 1 / sqrt(E) where absent.

    Returns:
        (B, H, Q, E); rows of padded queries are finite and mean nothing.
    """
    if query.dtype == torch.bfloat16 and query.device.type == "cpu":
        return _attend_in_products(query, key, value, valid, query.shape[-1] ** -0.5 if scale is None else scale)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=valid[:, None, None, :], scale=scale)


def _attend_in_products(query: Tensor, key: Tensor, value: Tensor, valid: Tensor, scale: float) -> Tensor:
    """The same in bfloat16 on a CPU, where torch's fused kernel is 2 to 12 times slower than its matrix products."""
    if valid.dtype == torch.bool:
        valid = additive_mask(valid, query)
    shape = (*query.shape[:3], value.shape[-1])
    mask = valid[:, None, None].expand(-1, shape[1], -1, -1).flatten(0, 1)  # [B H, 1, P]
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    score = torch.baddbmm(mask.to(query.dtype), query, key.transpose(1, 2), alpha=scale)
    return torch.bmm(score.softmax(dim=-1, dtype=query.dtype), value).view(shape)


def coordinates_exact(device: torch.device) -> torch.autocast:
    """Run what takes in or gives out metres without autocast: bfloat16 would round 50 m to a quarter of a metre."""
    return torch.autocast(device.type, enabled=False)


def full_precision(values: Tensor) -> Tensor:
    """Values in float32 at least: what comes out of a network that runs in half precision goes into losses so."""
    return values if values.dtype == torch.float64 else values.float()


class SelfAttention(nn.Module):
    """Multi-head self-attention with neither biases nor an output projection."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_size = heads, size // heads
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.value = nn.Linear(size, size, bias=False)

    def forward(self, features: Tensor, valid: Tensor, queries: Tensor | None = None) -> Tensor:
        """(B, P, S) features and (B, P) valid -> (B, Q, S), for `queries` (B, Q, S) where they are given."""
        if queries is None:
            weight = torch.cat([self.query.weight, self.key.weight, self.value.weight])
            query, key, value = functional.linear(features, weight).chunk(3, dim=-1)
        else:
            query = self.query(queries)
            key, value = functional.linear(features, torch.cat([self.key.weight, self.value.weight])).chunk(2, dim=-1)
        query, key, value = (
            part.reshape(*part.shape[:2], self.heads, self.head_size).transpose(1, 2) for part in (query, key, value)
        )
        return attend(query, key, value, valid).transpose(1, 2).flatten(2)


class CrossAttention(nn.Module):
    """Single-head attention from one set of features to another, with neither biases nor an output projection."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.value = nn.Linear(size, size, bias=False)

    def forward(self, queries: Tensor, features: Tensor, valid: Tensor) -> Tensor:
        """(B, Q, S) queries, (B, P, S) features and (B, P) valid -> (B, Q, S)."""
        query, key, value = (
            part.unsqueeze(1) for part in (self.query(queries), self.key(features), self.value(features))
        )
        return attend(query, key, value, valid).squeeze(1)


def column_factors(size: int, coordinate_scale: float) -> Tensor:
    """(size,) what each column of a full row of features is multiplied by: coordinates over the scale, others as is."""
    factors = torch.ones(size)
    factors[list(METRES)] = 1.0 / coordinate_scale
    return factors


class MLP(nn.Module):
    """Linear, layer norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.norm = nn.LayerNorm(outputs, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return self.activate(self.linear(x))

    def activate(self, x: Tensor) -> Tensor:
        """Norm and ReLU alone, for callers that apply parts of the linear map themselves."""
        # In place: neither norm nor ReLU needs the norm's output for its gradient.
        return functional.relu(self.norm(x), inplace=True)


class ResidualDecoder(nn.Module):
    """A hidden layer, joined with its own input, then a linear map."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.mlp = MLP(inputs, hidden)
        self.output = nn.Linear(hidden + inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        decoded: Tensor = self.output(torch.cat([x, self.mlp(x)], dim=-1))
        return decoded


@dataclass(frozen=True)
class Losses:
    """A batch's loss and what it is made of.

    Attributes:
        total: () mean over the batch's scenes, with gradient.
        parts: named shares and figures of interest, () each, without gradient.
    """

    total: Tensor
    parts: dict[str, Tensor]
