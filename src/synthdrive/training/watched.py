"""Examples on which a network is watched in training: before the first epoch and after each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn


class Watched(Protocol):
    """Fixed examples; nothing about them draws a random number of torch's, so watching changes no result.

    Attributes:
        file: name of what is kept, beside the checkpoint.
    """

    file: str

    def look(self, model: nn.Module) -> dict[str, Tensor]:
        """What the model makes of the examples: always the same names and shapes."""
        ...

    def fixed(self, model: nn.Module) -> dict[str, Tensor]:
        """What does not change in training, to be kept with the looks."""
        ...


@torch.no_grad()
def look_again(watched: Watched, model: nn.Module, before: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What was seen before, (N, ...) each, and behind it what is seen now; the model stays as it is."""
    training = model.training
    model.eval()
    seen = {name: value[None].cpu() for name, value in watched.look(model).items()}
    model.train(training)
    return {name: torch.cat([before[name], value]) if before else value for name, value in seen.items()}
