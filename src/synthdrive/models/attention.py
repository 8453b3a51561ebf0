"""Attention without biases (as in the paper's release), on torch's scaled_dot_product_attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def attend(query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None, scale: float | None = None) -> Tensor:
    """Softmax attention over the valid keys.

    Args:
        query: (B, H, Q, E).
        key, value: (B, H, P, E).
        valid: (B, P) bool, True at keys that may be seen, at least one in each row; None where all may be.
        scale: of the scores; 1 / sqrt(E) where absent.

    Returns:
        (B, H, Q, E); rows of padded queries are finite and mean nothing.
    """
    mask = None if valid is None else valid[:, None, None, :]
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


class SelfAttention(nn.Module):
    """Multi-head self-attention with neither biases nor an output projection."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.value = nn.Linear(size, size, bias=False)

    def forward(self, features: Tensor, valid: Tensor | None, queries: Tensor | None = None) -> Tensor:
        """(B, P, S) features and (B, P) valid -> (B, Q, S), for `queries` (B, Q, S) where they are given."""
        if queries is None:
            weight = torch.cat([self.query.weight, self.key.weight, self.value.weight])
            query, key, value = functional.linear(features, weight).chunk(3, dim=-1)
        else:
            query = self.query(queries)
            key, value = functional.linear(features, torch.cat([self.key.weight, self.value.weight])).chunk(2, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
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
