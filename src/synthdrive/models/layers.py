"""Building blocks: attention without biases (as in the paper's release), MLPs, and the losses of a forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.models.polylines import METRES


def additive_mask(valid: Tensor, like: Tensor) -> Tensor:
    """Return 0 where `valid` (B, P) is True, else -inf: a mask for several calls of `attend`."""
    return torch.zeros_like(valid, dtype=like.dtype).masked_fill_(~valid, -torch.inf)


def uses_matrix_products(device: torch.device) -> bool:
    """Return whether attention is computed as plain matrix products: on a CPU, except under torch.compile."""
    return device.type == "cpu" and not torch.compiler.is_compiling()


# On a CPU, a softmax over fewer numbers than fit into a vector register takes ten times as long.
MIN_KEYS = 16


def attend(query: Tensor, key: Tensor, value: Tensor, valid: Tensor, scale: float | None = None) -> Tensor:
    """Compute softmax attention over the valid keys.

    Args:
        query: (B, H, Q, E).
        key, value: (B, H, P, E) and (B, H, P, F); the fused kernels of a GPU need F = E.
        valid: (B, P) bool, True for at least one key in each row, or its `additive_mask`.
        scale: factor of the scores; defaults to 1 / sqrt(E).

    Returns:
        (B, H, Q, F); rows of padded queries are finite but meaningless.
    """
    if not uses_matrix_products(query.device):
        mask = valid[:, None, None, :]
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    if valid.dtype == torch.bool:
        valid = additive_mask(valid, query)
    batch, heads = query.shape[:2]
    mask = valid if heads == 1 else valid.repeat_interleave(heads, dim=0)  # [B H, P]
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    spare = MIN_KEYS - key.shape[1]
    if spare > 0:
        key, value = (functional.pad(part, (0, 0, 0, spare)) for part in (key, value))
        mask = functional.pad(mask, (0, spare), value=-torch.inf)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    seen: Tensor = _MatrixProductAttention.apply(query, key, value, mask[:, None].to(query.dtype), scale)  # type: ignore[no-untyped-call]
    return seen.view(batch, heads, *seen.shape[1:])


class _MatrixProductAttention(torch.autograd.Function):
    """Attention as plain matrix products: on a CPU faster than torch's fused kernel at every size used here.

    The fused kernel pads 9 x 9 attention to its block size and computes the weights again in its backward pass; in
    bfloat16 it is 2 to 12 times slower. This function keeps the weights for the backward pass, and no other result.
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
    """Return a context without autocast, for layers that read or predict metres: bfloat16 resolves 50 m to 0.25 m."""
    return torch.autocast(device.type, enabled=False)


def full_precision(values: Tensor) -> Tensor:
    """Convert values below float32 to float32: losses are computed from outputs of at least this precision."""
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
        """Attend from `queries` (B, Q, S), by default the features themselves, to valid (B, P) features (B, P, S)."""
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
        """Attend from queries (B, Q, S) to the valid (B, P) features (B, P, S); returns (B, Q, S)."""
        query, key, value = (
            part.unsqueeze(1) for part in (self.query(queries), self.key(features), self.value(features))
        )
        return attend(query, key, value, valid).squeeze(1)


def column_factors(size: int, coordinate_scale: float) -> Tensor:
    """Return factors (size,) of the columns of a full row: 1 / `coordinate_scale` for coordinates, 1 for the others."""
    factors = torch.ones(size)
    factors[list(METRES)] = 1.0 / coordinate_scale
    return factors


class MLP(nn.Module):
    """Linear layer, layer norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.norm = nn.LayerNorm(outputs, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return self.activate(self.linear(x))

    def activate(self, x: Tensor) -> Tensor:
        """Apply only norm and ReLU, for callers that apply the linear layer themselves."""
        # In place: neither norm nor ReLU needs the norm's output for its gradient.
        return functional.relu(self.norm(x), inplace=True)


class CoordinateMLP(MLP):
    """MLP of coordinates divided by a scale, or two such MLPs of different scales with concatenated outputs.

    The outputs are joined after the norm: before it, a sum of two linear maps would be no more than one linear map.

    Args:
        inputs, outputs: widths of each MLP.
        scale: metres that count as 1.
        second_scale: scale of the second MLP; 0 for none.
    """

    def __init__(self, inputs: int, outputs: int, scale: float, second_scale: float = 0.0) -> None:
        super().__init__(inputs, outputs)
        self.scale, self.second_scale = scale, second_scale
        self.second = MLP(inputs, outputs) if second_scale else None
        self.width = outputs * (1 if self.second is None else 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map coordinates (..., inputs) in metres to features (..., width)."""
        features = super().forward(x / self.scale)
        if self.second is None:
            return features
        return torch.cat([features, self.second(x / self.second_scale)], dim=-1)


class ResidualDecoder(nn.Module):
    """MLP whose output is concatenated with its input, then a linear layer."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.mlp = MLP(inputs, hidden)
        self.output = nn.Linear(hidden + inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        decoded: Tensor = self.output(torch.cat([x, self.mlp(x)], dim=-1))
        return decoded


@dataclass(frozen=True)
class Losses:
    """Loss of a batch, and its parts.

    Attributes:
        total: () mean over the batch's scenes, with gradient.
        parts: () terms of the loss and other figures for the training curve, by name, without gradient.
    """

    total: Tensor
    parts: dict[str, Tensor]
