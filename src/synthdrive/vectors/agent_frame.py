"""The frame in which every scene is seen: origin at AGENT's last observed position, its heading along +y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from synthdrive.scenes.scene_store import LAST_OBSERVED, OBSERVED_STEPS

HEADING_STEPS = 6  # the heading is the mean of p[j + 2] - p[j] over the last 6 observed points (docs/method.md 1.2)


@dataclass(frozen=True)
class AgentFrame:
    """A rotation and an origin for each of B scenes: x' = dx cos - dy sin, y' = dx sin + dy cos.

    Attributes:
        origin: (B, 2) metres, the scene's own city axes.
        cos, sin: (B,) of the angle.
    """

    origin: Tensor
    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, agent: Tensor, angle: Tensor | None = None) -> Self:
        """Frame of AGENT's track.

        Args:
            agent: (B, 50, 2) metres, city axes.
            angle: (B,) radians, by which to turn the frame's content further, counterclockwise.
        """
        last = agent[:, OBSERVED_STEPS - HEADING_STEPS : OBSERVED_STEPS]  # [B, 6, 2]
        heading = (last[:, 2:] - last[:, :-2]).mean(dim=1)  # [B, 2]
        length = torch.linalg.vector_norm(heading, dim=1)
        moving = length > 0
        scale = torch.where(moving, length, 1.0)
        # cos(pi/2 - atan2(y, x)) = y / r and sin(...) = x / r; a standing agent heads to +x, as atan2(0, 0) = 0.
        cos, sin = heading[:, 1] / scale, torch.where(moving, heading[:, 0] / scale, 1.0)
        if angle is not None:
            turn_cos, turn_sin = torch.cos(angle).to(cos.dtype), torch.sin(angle).to(cos.dtype)
            cos, sin = cos * turn_cos - sin * turn_sin, sin * turn_cos + cos * turn_sin
        return cls(agent[:, LAST_OBSERVED], cos, sin)

    def __getitem__(self, scene: Tensor) -> AgentFrame:
        """The frames of these scenes, one for each item."""
        return AgentFrame(self.origin[scene], self.cos[scene], self.sin[scene])

    def to_agent(self, points: Tensor) -> Tensor:
        """(B, ..., 2) city axes -> agent frame, metres."""
        origin, cos, sin = self._like(points)
        dx, dy = (points - origin).unbind(-1)
        return torch.stack([dx * cos - dy * sin, dx * sin + dy * cos], dim=-1)

    def to_city(self, points: Tensor) -> Tensor:
        """(B, ..., 2) agent frame -> city axes relative to the scene's origin, metres."""
        origin, cos, sin = self._like(points)
        x, y = points.unbind(-1)
        return torch.stack([x * cos + y * sin, y * cos - x * sin], dim=-1) + origin

    def _like(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shape = (len(points), *[1] * (points.ndim - 2))
        return self.origin.reshape(*shape, 2), self.cos.reshape(shape), self.sin.reshape(shape)
