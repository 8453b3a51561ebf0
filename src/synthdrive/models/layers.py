"""The perceptrons that the networks are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.vectors.polylines import METRES


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
