"""What a network's forward pass gives to the training loop."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Losses:
    """A batch's loss and what it is made of.

    Attributes:
        total: () mean over the batch's scenes, with gradient.
        parts: named shares and figures of interest, () each, without gradient.
    """

    total: Tensor
    parts: dict[str, Tensor]
