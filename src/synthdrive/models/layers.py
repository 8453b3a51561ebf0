"""Building blocks: attention without biases (as in the paper's release), perceptrons, what a forward pass returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.models.polylines import METRES


def additive_mask(valid: Tensor, like: Tensor) -> Tensor:
    """(B, P) bool -> 0 where True and -inf elsewhere: what the kernels use, for callers that attend several times."""
    return torch.zeros_like(valid, dtype=like.dtype).masked_fill_(~valid, -torch.inf)


def in_products(device: torch.device) -> bool:
    """Whether attention is computed in plain matrix products: on a CPU, except within torch.compile."""
    return device.type == "cpu" and not torch.compiler.is_compiling()


# On a CPU a softmax over fewer numbers than fit into a vector register takes ten times as long.
FEWEST_KEYS = 16


def attend(query: Tensor, key: Tensor, value: Tensor, valid: Tensor, scale: float | None = None) -> Tensor:
    """Softmax attention over the valid keys.

    Args:
        query: (B, H, Q, E).
        key, value: (B, H, P, E) and (B, H, P, F); the fused kernels of a GPU want F = E.
        valid: (B, P) True at keys that may be seen, at least one in each row, or what `additive_mask` made of that.
        scale: of the scores; 1 / sqrt(E) where absent.

    Returns:
        (B, H, Q, F); rows of padded queries are finite and mean nothing.
    """
    if not in_products(query.device):
        mask = valid[:, None, None, :]
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    if valid.dtype == torch.bool:
        valid = additive_mask(valid, query)
    batch, heads = query.shape[:2]
    mask = valid if heads == 1 else valid.repeat_interleave(heads, dim=0)  # [B H, P]
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    spare = FEWEST_KEYS - key.shape[1]
    if spare > 0:
        key, value = (functional.pad(part, (0, 0, 0, spare)) for part in (key, value))
        mask = functional.pad(mask, (0, spare), value=-torch.inf)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    seen: Tensor = _AttentionInProducts.apply(query, key, value, mask[:, None].to(query.dtype), scale)  # type: ignore[no-untyped-call]
    return seen.view(batch, heads, *seen.shape[1:])


class _AttentionInProducts(torch.autograd.Function):
    """Attention as plain matrix products: on a CPU faster than torch's fused kernel at every size used here.

    That kernel pads 9 x 9 attention to its block size, and computes the weights again in its backward pass; in
    bfloat16 it is 2 to 12 times slower. Here the weights are kept, and only they.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
        weight = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=scale).softmax(dim=-1, dtype=query.dtype)
        ctx.save_for_backward(query, key, value, weight)
        ctx.scale = scale
        return torch.bmm(weight, value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, weight = ctx.saved_tensors
        (seen,) = gradients
        to_weight = torch.bmm(seen, value.transpose(1, 2))
        score = torch.ops.aten._softmax_backward_data(to_weight, weight, -1, weight.dtype).mul_(ctx.scale)
        to_key = torch.bmm(score.transpose(1, 2), query)
        return torch.bmm(score, key), to_key, torch.bmm(weight.transpose(1, 2), seen), None, None


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


class CoordinateMLP(MLP):
    """An MLP of coordinates, or two whose outputs are joined: each reads them over a scale of its own.

    Joined behind their norms: before them two scales would be no more than one, since a sum of two linear maps is one.

    Args:
        inputs, outputs: of each MLP.
        scale: metres that count as 1.
        second_scale: of the second MLP; 0: there is none.
    """

    def __init__(self, inputs: int, outputs: int, scale: float, second_scale: float = 0.0) -> None:
        super().__init__(inputs, outputs)
        self.scale, self.second_scale = scale, second_scale
        self.second = MLP(inputs, outputs) if second_scale else None
        self.width = outputs * (1 if self.second is None else 2)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) metres -> (..., width)."""
        features = super().forward(x / self.scale)
        if self.second is None:
            return features
        return torch.cat([features, self.second(x / self.second_scale)], dim=-1)


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
