"""Decoder of the masked autoencoder: queries for what was hidden, beside the encoder's outputs (docs/method.md 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.models.layers import MLP, SelfAttention, coordinates_exact, full_precision


class ReconstructionDecoder(nn.Module):
    """One pre-norm transformer layer and a head; only the queries' rows are computed beyond keys and values.

    Args:
        size: width of the features.
        outputs: numbers to predict for each query.
        sees_encoder: False hides the encoder's outputs from the queries, as the paper's release does; the encoder
            then gets a gradient of exactly zero.
    """

    def __init__(self, size: int, outputs: int, sees_encoder: bool) -> None:
        super().__init__()
        self.sees_encoder = sees_encoder
        self.embedding = nn.Linear(size, size)
        self.attention_norm = nn.LayerNorm(size, eps=1e-5)
        self.attention = SelfAttention(size, heads=2)
        self.feed_forward_norm = nn.LayerNorm(size, eps=1e-5)
        self.feed_forward = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))
        self.norm = nn.LayerNorm(size, eps=1e-5)
        self.head_mlp = MLP(size, size)
        self.head = nn.Linear(size, outputs)

    def forward(self, queries: Tensor, query_valid: Tensor, encoded: Tensor, encoded_valid: Tensor) -> Tensor:
        """Predictions.

        Args:
            queries: (B, Q, S), `query_valid` (B, Q) bool.
            encoded: (B, P, S) the encoder's outputs, `encoded_valid` (B, P) bool.

        Returns:
            (B, Q, outputs).
        """
        visible = encoded_valid & self.sees_encoder
        valid = torch.cat([query_valid, visible], dim=1)
        valid[:, 0] |= ~valid.any(dim=1)
        with coordinates_exact(queries.device):
            hidden = self.embedding(torch.cat([queries, full_precision(encoded)], dim=1))  # [B, Q + P, S]
        normed = self.attention_norm(hidden)
        count = queries.shape[1]
        hidden = hidden[:, :count] + self.attention(normed, valid, normed[:, :count])
        hidden = hidden + self.feed_forward(self.feed_forward_norm(hidden))
        hidden = self.norm(hidden)
        hidden = full_precision(hidden + self.head_mlp(hidden))
        with coordinates_exact(queries.device):
            return self.head(hidden)  # type: ignore[no-any-return]


def absolute_error(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error over the last two dimensions, weighted.

    Args:
        predicted, target: (..., V, C).
        weight: broadcastable to them; 0 leaves an entry out.

    Returns:
        (...,); 0 where every weight is 0.
    """
    weight = weight.to(predicted.dtype).expand_as(predicted)
    error = functional.l1_loss(predicted, target.expand_as(predicted), reduction="none") * weight
    return error.sum((-2, -1)) / weight.sum((-2, -1)).clamp(min=1.0)
