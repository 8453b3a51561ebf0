"""Goal sets: the six goals that minimise the expected error under a goal distribution (docs/method.md 6).

E(Y) = sum_i p_i mean_z [(1 - r) min_j |z - y_j| + r 10 (min_j |z - y_j| > m)], where z runs over a grid in the 1 m cell
of goal i, and m is the miss threshold (2 m as published).

The published optimiser stops on a CPU clock and draws without a seed. This one takes a fixed number of steps, draws
from the scene's own seed, and computes in whole numbers (see `fixed_point`). For the same distribution, a scene has
bitwise the same goal set in every batch and on every machine. Its steps:

1. Restarts: draw sets of six goals, each next goal in proportion to what the candidates still cost (the seeding of
   k-medians).
2. Successive halving: all restarts descend a few steps, the better ones further. A step assigns every candidate to the
   nearest of the six goals and moves each goal towards the weighted median of its candidates (Weiszfeld's step).
3. The last few descend on the grid of the objective, and the best is returned.

With r > 0 the objective jumps where a candidate is missed, which the descent cannot see. Therefore each goal in turn
also tries positions around it, after steps 2 and 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property

from synthdrive.core.errors import from_extra

with from_extra("train"):
    import torch
    from torch import Tensor

from synthdrive.forecasting.fixed_point import (
    GRID_COMMON,
    WEIGHT_UNITS,
    FixedPointGoals,
    WeightedPoints,
    fix_goals,
)
from synthdrive.forecasting.forecasts import MODES
from synthdrive.models.batch import uniform

MISS_COST = 10.0  # metres of error that a miss counts as (docs/method.md 6)

_STREAM = 6  # stream of random numbers, see `models.batch.uniform`
_ROUNDS = (
    (2, 1 / 4),
    (4, 1 / 8),
    (6, 1 / 16),
    (15, 1 / 32),
)  # descent steps, fraction of the restarts that is kept afterwards
_GRID_STEPS = 12
_CELL_SOFTENING = 0.1  # m2; sqrt(d2 + 0.1) is about the mean distance to the points of a 1 m cell
_GRID_SOFTENING = 0.0025  # m2; prevents a goal from getting stuck on a point
# In units of the miss threshold, for r > 0: how far misses attract a goal, and the distances tried around a goal.
_MISS_REACH = 1.25
_CELL_SEARCH = (1.0, 0.5, 0.25)
_GRID_SEARCH = (0.25, 0.125, 0.0625, 0.03125)
_DIRECTIONS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))

# Scenes are optimised in parts whose largest array fits into the processor's cache; results do not depend on it.
_PART_BYTES = {"cpu": 2**22, "cuda": 2**30}


@dataclass(frozen=True)
class GoalSets:
    """Six goals for each of B scenes, in descending order of probability.

    Attributes:
        goals: (B, 6, 2) float64 metres, agent frame.
        probabilities: (B, 6) float64; each row sums to 1.
        single: (B, 6) float64 metres, E of each goal alone, ascending.
        objective: (B,) float64 metres, E of the set, accurate to 0.0001 m.
    """

    goals: Tensor
    probabilities: Tensor
    single: Tensor
    objective: Tensor


@dataclass(frozen=True)
class _Objective:
    """E over weighted points: `cost` is E up to a constant factor, `pull` gives the weights of a descent step."""

    points: WeightedPoints
    unit: Tensor  # (B,) metres
    miss_rate_weight: float
    miss_threshold: float  # m
    softening: float  # m2
    precision: float  # factor of the pull before rounding, such that its sums stay below 2^53

    def squared_distances(self, sets: Tensor) -> Tensor:
        """Return the exact squared distances (B, S, K, N) of `sets` (B, S, K, 2) to the points, in units squared."""
        batch, num_restarts, modes, _ = sets.shape
        x, y = sets.unbind(-1)
        left = torch.stack([-2 * x, -2 * y, torch.ones_like(x), x * x + y * y], dim=-1)
        products = torch.bmm(left.view(batch, num_restarts * modes, 4), self._factors)  # [B, S K, N]
        return products.view(batch, num_restarts, modes, -1)

    @cached_property
    def _factors(self) -> Tensor:
        """(B, 4, N) factors of the points in squared distances: x, y, x2 + y2, 1."""
        x, y = self.points.xy.unbind(-1)
        return torch.stack([x, y, x * x + y * y, torch.ones_like(x)], dim=1)

    def cost_of(self, nearest: Tensor, softening: float) -> Tensor:
        """Return E (B, S), in units times weight units, from squared distances to the nearest goal (B, S, N)."""
        cost = nearest.new_zeros(nearest.shape[:2])
        weight = self.points.weight[:, None]
        if self.miss_rate_weight < 1:
            distance = torch.round(torch.sqrt(nearest + softening / self.unit[:, None, None].square()))
            cost = (1 - self.miss_rate_weight) * (distance * weight).sum(-1)
        if self.miss_rate_weight > 0:
            missed = nearest > torch.round((self.miss_threshold / self.unit[:, None, None]).square())
            cost = cost + self.miss_rate_weight * MISS_COST / self.unit[:, None] * (weight * missed).sum(-1)
        return cost

    def cost(self, sets: Tensor) -> Tensor:
        """Return the cost (B, S) of goal sets (B, S, K, 2)."""
        return self.cost_of(self.squared_distances(sets).amin(2), self.softening)

    def pull(self, nearest: Tensor) -> Tensor:
        """Return each point's pull (B, S, N) on its nearest goal, a whole number, from their squared distance."""
        distance = torch.round(torch.sqrt(nearest + self.softening / self.unit[:, None, None].square()))
        strength = (1 - self.miss_rate_weight) / distance
        if self.miss_rate_weight > 0:
            reach = (_MISS_REACH * self.miss_threshold / self.unit[:, None, None]).square()
            miss = self.miss_rate_weight * MISS_COST / self.unit[:, None, None] * 2 / reach
            strength = strength + miss * (nearest < reach)
        return torch.round(self.points.weight[:, None] * self.precision * strength)

    def descend(self, sets: Tensor, steps: int) -> Tensor:
        """Take Weiszfeld's steps from goal sets (B, S, K, 2)."""
        batch, num_restarts, modes, _ = sets.shape
        moments = torch.cat([self.points.xy, torch.ones_like(self.points.xy[..., :1])], dim=-1)  # [B, N, 3]
        for _ in range(steps):
            squared = self.squared_distances(sets)  # [B, S, K, N]
            nearest = squared.amin(2)
            pull = torch.where(squared == nearest[:, :, None], self.pull(nearest)[:, :, None], 0.0)
            total = torch.bmm(pull.view(batch, num_restarts * modes, -1), moments).view(batch, num_restarts, modes, 3)
            moved = torch.round(total[..., :2] / total[..., 2:].clamp(min=1))
            sets = torch.where(total[..., 2:] > 0, moved, sets)
        return sets

    def search(self, sets: Tensor, distances: tuple[float, ...]) -> Tensor:
        """Move each goal of `sets` (B, S, K, 2) in turn to the best of the positions around it."""
        batch, num_restarts, modes, _ = sets.shape
        offsets = torch.tensor(((0, 0), *_DIRECTIONS), dtype=sets.dtype).to(sets.device)  # [9, 2]
        for distance in distances:
            step = torch.round(distance * self.miss_threshold / self.unit)[:, None, None, None]
            for mode in range(modes):
                others = torch.cat([sets[:, :, :mode], sets[:, :, mode + 1 :]], dim=2)
                covered = self.squared_distances(others).amin(2)  # [B, S, N]
                tried = sets[:, :, mode, None] + step * offsets  # [B, S, 9, 2]
                nearest = torch.minimum(self.squared_distances(tried), covered[:, :, None])
                cost = self.cost_of(nearest.flatten(1, 2), self.softening).view(batch, num_restarts, -1)  # [B, S, 9]
                best = cost.sort(dim=-1, stable=True).indices[..., 0]
                chosen = tried.gather(2, best[..., None, None].expand(-1, -1, 1, 2))
                sets = torch.cat([sets[:, :, :mode], chosen, sets[:, :, mode + 1 :]], dim=2)
        return sets

    def best(self, sets: Tensor, count: int) -> Tensor:
        """Return the `count` sets of lowest cost, (B, count, K, 2)."""
        order = self.cost(sets).sort(dim=1, stable=True).indices[:, :count]
        return sets.gather(1, order[:, :, None, None].expand(-1, -1, *sets.shape[2:]))


def optimise_goal_sets(
    goals: Tensor,
    log_prob: Tensor,
    valid: Tensor,
    seeds: Tensor,
    miss_rate_weight: float = 0.0,
    min_probability: float = 0.001,
    num_restarts: int = 96,
    temperature: float = 2.0,
    *,
    miss_threshold: float,
) -> GoalSets:
    """Search for the goal set with the lowest E in each scene; the result is in metres, agent frame.

    Args:
        goals: (B, D, 2) candidate goals, metres, agent frame.
        log_prob: (B, D) natural logarithms of the candidates' probabilities.
        valid: (B, D) bool, False at padding.
        seeds: (B,) int64, seed of each scene's random draws.
        miss_rate_weight: r; 0 minimises the expected minFDE, 1 the expected miss rate.
        min_probability: less probable candidates are left out of E.
        num_restarts: number of random starts for each scene.
        temperature: metres, see `rank_goal_sets`.
        miss_threshold: metres beyond which a candidate is missed.
    """
    part = _scenes_at_a_time(goals, num_restarts)
    parts = []
    for first in range(0, len(goals), part):
        block = slice(first, first + part)
        fixed = fix_goals(goals[block], log_prob[block], valid[block], min_probability)
        sets = fixed.to_metres(_optimise(fixed, seeds[block], miss_rate_weight, num_restarts, miss_threshold))
        parts.append(rank_goal_sets(sets, fixed, miss_rate_weight, temperature, miss_threshold=miss_threshold))
    return GoalSets(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(GoalSets)))


def rank_goal_sets(
    sets: Tensor,
    fixed: FixedPointGoals,
    miss_rate_weight: float,
    temperature: float,
    *,
    miss_threshold: float,
) -> GoalSets:
    """Sort goal sets (B, 6, 2), in metres, agent frame, by E of each goal alone, and compute the goals' probabilities.

    The order is the published one. It puts a goal far out last, even if much of a flat distribution's tail is nearest
    to it. The probabilities, in proportion to exp(-E(y_j) / temperature), are not published.
    """
    singles = fixed.to_units(sets)[:, :, None]  # [B, 6, 1, 2]
    cost = _Objective(fixed.grid, fixed.unit, miss_rate_weight, miss_threshold, softening=0.0, precision=1.0).cost(
        singles
    )  # [B, 6]
    cost, order = cost.sort(dim=1, stable=True)
    sets = sets.gather(1, order[..., None].expand_as(sets))
    single = cost * fixed.unit[:, None] / (GRID_COMMON * WEIGHT_UNITS)
    probabilities = torch.softmax(-single / temperature, dim=1)
    objective = expected_error(fixed, sets, miss_rate_weight, miss_threshold=miss_threshold)
    return GoalSets(sets, probabilities, single, objective)


def expected_error(
    fixed: FixedPointGoals, sets: Tensor, miss_rate_weight: float = 0.0, *, miss_threshold: float
) -> Tensor:
    """Return E (B,) float64 in metres of goal sets (B, K, 2) in metres, agent frame, accurate to 0.0001 m."""
    objective = _Objective(fixed.grid, fixed.unit, miss_rate_weight, miss_threshold, softening=0.0, precision=1.0)
    cost = objective.cost(fixed.to_units(sets)[:, None])[:, 0]
    return cost * fixed.unit / (GRID_COMMON * WEIGHT_UNITS)


def _optimise(
    fixed: FixedPointGoals, seeds: Tensor, miss_rate_weight: float, num_restarts: int, miss_threshold: float
) -> Tensor:
    """Return the best goal set (B, 6, 2) in units."""
    cells = _Objective(fixed.cells, fixed.unit, miss_rate_weight, miss_threshold, _CELL_SOFTENING, precision=2.0**16)
    grid = _Objective(fixed.grid, fixed.unit, miss_rate_weight, miss_threshold, _GRID_SOFTENING, precision=2.0**8)
    sets = _draw_restarts(fixed.cells, seeds, num_restarts)
    for steps, fraction in _ROUNDS:
        sets = cells.best(cells.descend(sets, steps), math.ceil(num_restarts * fraction))
    if miss_rate_weight > 0:
        sets = cells.search(sets, _CELL_SEARCH)
    sets = grid.descend(sets, _GRID_STEPS)
    if miss_rate_weight > 0:
        sets = grid.search(sets, _GRID_SEARCH)
    return grid.best(sets, 1)[:, 0]


def _draw_restarts(cells: WeightedPoints, seeds: Tensor, num_restarts: int) -> Tensor:
    """Draw goal sets (B, S, 6, 2), each goal in proportion to weight times distance to the goals before it."""
    batch, size = cells.weight.shape
    counter = torch.arange(num_restarts * MODES, device=seeds.device)
    draws = uniform(seeds.repeat_interleave(len(counter)), _STREAM, counter.repeat(batch)).view(
        batch, num_restarts, MODES
    )
    weight = cells.weight[:, None].expand(-1, num_restarts, -1)  # [B, S, N]
    distance = torch.ones_like(weight)
    chosen = []
    for mode in range(MODES):
        reached = (weight * distance).cumsum(-1)
        target = draws[..., mode : mode + 1] * reached[..., -1:]
        index = torch.searchsorted(reached, target, right=True).clamp(max=size - 1)  # [B, S, 1]
        goal = cells.xy.gather(1, index.expand(-1, -1, 2))  # [B, S, 2]
        chosen.append(goal)
        dx, dy = (cells.xy[:, None, :, axis] - goal[:, :, None, axis] for axis in (0, 1))
        away = torch.round(torch.sqrt(dx * dx + dy * dy))
        distance = away if mode == 0 else torch.minimum(distance, away)
    return torch.stack(chosen, dim=2)


def _scenes_at_a_time(goals: Tensor, num_restarts: int) -> int:
    """Return the number of scenes whose squared distances fit into the memory set aside for them."""
    per_scene = (
        num_restarts * MODES * min(goals.shape[1], 600) * goals.new_zeros((), dtype=torch.float64).element_size()
    )
    return max(1, _PART_BYTES.get(goals.device.type, _PART_BYTES["cpu"]) // max(per_scene, 1))
