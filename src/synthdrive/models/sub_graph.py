"""Attention among the vectors of one polyline, and their maximum: the polyline's feature (docs/method.md 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.models.attention import SelfAttention, additive_mask, coordinates_exact
from synthdrive.models.layers import MLP, column_factors


class SubGraph(nn.Module):
    """Two MLPs, then layers of self-attention, ReLU, residual and layer norm; the maximum over the valid vectors."""

    factors: Tensor

    def __init__(self, size: int, layers: int, heads: int, coordinate_scale: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("factors", column_factors(size, coordinate_scale), persistent=False)
        self.input_mlp = MLP(size, size)
        self.hidden_mlp = MLP(size, size)
        self.attention = nn.ModuleList(SelfAttention(size, heads) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(size, eps=1e-5) for _ in range(layers))

    def forward(self, vectors: Tensor, valid: Tensor, columns: tuple[int, ...]) -> Tensor:
        """Features of polylines.

        Args:
            vectors: (N, V, C), zero padded.
            valid: (N, V) bool, at least one in each row.
            columns: (C,) which columns of the full row of `size` numbers these are; the others are zero.

        Returns:
            (N, size).
        """
        weight = (self.input_mlp.linear.weight * self.factors)[:, list(columns)]
        with coordinates_exact(vectors.device):
            hidden = self.input_mlp.activate(functional.linear(vectors, weight, self.input_mlp.linear.bias))
        hidden = self.hidden_mlp(hidden)
        mask = additive_mask(valid, hidden)
        for attention, norm in zip(self.attention, self.norms, strict=True):
            hidden = norm(hidden + functional.relu(attention(hidden, mask)))
        feature: Tensor = hidden.masked_fill(~valid[..., None], -torch.inf).amax(dim=1)
        return feature
