"""Stage one of DenseTNT: which lanes AGENT may end on (docs/method.md 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synthdrive.models.attention import CrossAttention, full_precision
from synthdrive.models.layers import ResidualDecoder


class LaneScorer(nn.Module):
    """Probability of each lane to hold the goal."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.attention = CrossAttention(size)
        self.decoder = ResidualDecoder(3 * size, size, 1)

    def forward(self, agent: Tensor, lanes: Tensor, lane_valid: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """(B, M) log-probabilities, -inf at padding.

        Args:
            agent: (B, S).
            lanes: (B, M, S), `lane_valid` (B, M).
            tokens: (B, P, S), `valid` (B, P), every polyline.
        """
        seen = self.attention(lanes, tokens, valid)
        score = self.decoder(torch.cat([agent[:, None].expand_as(lanes), lanes, seen], dim=-1)).squeeze(-1)
        score = torch.where(lane_valid, full_precision(score), -torch.inf)
        # A scene without lanes would give NaN; its row stays -inf.
        empty = ~lane_valid.any(dim=1, keepdim=True)
        return torch.where(lane_valid, torch.where(empty, 0.0, score).log_softmax(dim=1), -torch.inf)


@torch.no_grad()
def most_probable_lanes(log_prob: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Lanes in falling order of probability until their sum exceeds `probability`, the last one included.

    Args:
        log_prob: (B, M), -inf at padding.
        probability: of all kept lanes together.

    Returns:
        (B, N) int64 lane indices, N the most kept in any scene, at least 1, and (B, N) bool, True at kept ones.
    """
    ordered, index = log_prob.sort(dim=1, descending=True)
    share = ordered.exp()
    kept = (share.cumsum(1) - share <= probability) & (ordered > -torch.inf)
    most = max(int(kept.sum(1).max()), 1)
    return index[:, :most], kept[:, :most]
