"""Non-maximum suppression: the likeliest goals that keep a distance from each other (docs/method.md 6)."""

from __future__ import annotations

import torch
from torch import Tensor

from synthdrive.forecasting.fixed_point import fix_goals
from synthdrive.forecasting.forecasts import MODES
from synthdrive.forecasting.goal_sets import GoalSets, rank_goal_sets


def suppress_non_maxima(
    goals: Tensor,
    log_prob: Tensor,
    valid: Tensor,
    distance: float,
    miss_rate_weight: float = 0.0,
    min_probability: float = 0.001,
    temperature: float = 2.0,
) -> GoalSets:
    """Take the likeliest goal, drop those nearer than `distance`, and so on until there are six.

    Where no goal is left, the likeliest that has not been taken follows (the release fills up at random), and a scene
    with fewer than six goals repeats its likeliest.

    Args:
        goals: (B, D, 2) metres, agent frame.
        log_prob: (B, D) natural logarithms of probabilities.
        valid: (B, D) bool.
        distance: metres.
        miss_rate_weight, min_probability, temperature: of the objective that is reported and that orders the goals,
            see `goal_sets`.
    """
    ordered = log_prob.double().masked_fill(~valid, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    xy = goals.double().gather(1, ordered[..., None].expand(-1, -1, 2))  # [B, D, 2], likeliest first
    untaken = valid.gather(1, ordered)
    apart = untaken.clone()
    place = torch.arange(xy.shape[1], device=xy.device)
    chosen = []
    for _ in range(MODES):
        candidates = torch.where(apart.any(1, keepdim=True), apart, untaken)
        first = torch.where(candidates, place, xy.shape[1]).amin(1) % xy.shape[1]  # [B]; 0 where none is left
        goal = xy.gather(1, first[:, None, None].expand(-1, 1, 2))  # [B, 1, 2]
        chosen.append(goal)
        untaken = untaken & (place != first[:, None])
        apart = apart & untaken & ((xy - goal).square().sum(-1) >= distance**2)
    fixed = fix_goals(goals, log_prob, valid, min_probability)
    return rank_goal_sets(torch.cat(chosen, dim=1), fixed, miss_rate_weight, temperature)
