"""From an endpoint to the whole trajectory (docs/method.md 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synthdrive.models.attention import CrossAttention, coordinates_exact, full_precision
from synthdrive.models.layers import MLP, ResidualDecoder
from synthdrive.scenes.scene_store import HORIZON


class TrajectoryCompletion(nn.Module):
    """The trajectory that leads to a given endpoint; it learns apart from the rest, which it sees without gradient.

    Args:
        size: width of the features.
        detach_query: leave the endpoint encoder untrained, as the paper's release does (docs/method.md 8.5).
        coordinate_scale: metres that count as 1 where an endpoint is encoded.
    """

    def __init__(self, size: int, detach_query: bool, coordinate_scale: float = 1.0) -> None:
        super().__init__()
        self.detach_query = detach_query
        self.coordinate_scale = coordinate_scale
        self.endpoint_encoder = nn.Sequential(MLP(2, size), MLP(size, size), MLP(size, size))
        self.attention = CrossAttention(size)
        self.decoder = ResidualDecoder(3 * size, size, HORIZON * 2)

    def forward(self, endpoints: Tensor, agent: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """(B, K, 2) endpoints -> (B, K, 30, 2), metres, agent frame; the last point is not forced onto the endpoint.

        Args:
            endpoints: metres, agent frame.
            agent: (B, S).
            tokens: (B, P, S), `valid` (B, P): every polyline, before the global graph.
        """
        tokens, agent = full_precision(tokens.detach()), full_precision(agent.detach())
        with coordinates_exact(endpoints.device):  # a few endpoints a scene: cheap
            query = self.endpoint_encoder(endpoints / self.coordinate_scale)
            if self.detach_query:
                query = query.detach()
            seen = self.attention(query, tokens, valid)
            trajectory: Tensor = self.decoder(torch.cat([agent[:, None].expand_as(seen), query, seen], dim=-1))
        return trajectory.view(*endpoints.shape[:2], HORIZON, 2)
