"""Goal distributions in whole numbers, whose sums are exact and therefore the same in any batch and on any machine.

A sum of floats depends on the order of the additions, which depends on the batch and the processor. Coordinates,
distances and probabilities are therefore rounded to whole numbers, small enough that every sum of their products stays
below 2^53, up to which float64 is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from synthdrive.core.errors import from_extra

with from_extra("train"):
    import torch
    from torch import Tensor

UNITS_PER_METRE = 4096.0  # 0.24 mm
EXTENT_UNITS = 2.0**19  # largest coordinate, 128 m from the scene's centre; beyond it the unit is doubled
WEIGHT_UNITS = 2.0**24  # weight that stands for probability 1
GRID_COMMON = 324.0  # least common multiple of 9, 36 and 81, the numbers of points in a cell

MAX_FLAT_GOALS = 1000  # the most that the published threshold of 0.001 can keep

# Points along a side of a goal's cell where int(1000 p) is at most 5, at most 10, or larger (docs/method.md 6).
GRID_SIDES = (3, 6, 9)
GRID_LIMITS = (5, 10)


@dataclass(frozen=True)
class WeightedPoints:
    """Points of B scenes with whole-number weights.

    Attributes:
        xy: (B, N, 2) float64, whole units relative to each scene's centre.
        weight: (B, N) float64, whole numbers; 0 at padding.
    """

    xy: Tensor
    weight: Tensor


@dataclass(frozen=True)
class FixedPointGoals:
    """Goal distributions of B scenes in whole numbers, the input of the optimiser.

    Attributes:
        cells: the kept goals; weights are probabilities in units of 2^-24.
        grid: sample points of their 1 m x 1 m cells; weights are probabilities in units of 2^-24 / 324.
        centre: (B, 2) float64 metres, agent frame; the origin of `cells` and `grid`.
        unit: (B,) float64 metres, unit of coordinates.
    """

    cells: WeightedPoints
    grid: WeightedPoints
    centre: Tensor
    unit: Tensor

    def to_metres(self, xy: Tensor) -> Tensor:
        """Convert coordinates (B, ..., 2) from units to metres in the agent frame."""
        shape = (-1,) + (1,) * (xy.dim() - 1)
        return xy * self.unit.view(shape) + self.centre.view(shape[:1] + (1,) * (xy.dim() - 2) + (2,))

    def to_units(self, xy: Tensor) -> Tensor:
        """Convert coordinates (B, ..., 2) from metres in the agent frame to whole units."""
        shape = (-1,) + (1,) * (xy.dim() - 1)
        return torch.round((xy - self.centre.view(shape[:1] + (1,) * (xy.dim() - 2) + (2,))) / self.unit.view(shape))


def fix_goals(goals: Tensor, log_prob: Tensor, valid: Tensor, min_probability: float) -> FixedPointGoals:
    """Round the goals that are probable enough to whole units.

    Goals with a probability of at least `min_probability` are kept (not renormalised). If a scene has none, because its
    distribution is flat, the 1,000 most probable are kept.

    Args:
        goals: (B, D, 2) metres, agent frame.
        log_prob: (B, D) natural logarithms of the goals' probabilities.
        valid: (B, D) bool, False at padding.
        min_probability: smallest probability to keep.
    """
    xy, probability = _kept_goals(goals, log_prob, valid, min_probability)  # [B, N, 2], [B, N]
    weight = torch.round(probability * WEIGHT_UNITS)
    centre, unit = _frame(xy, weight)
    cells = torch.round((xy - centre[:, None]) / unit[:, None, None]) * (weight > 0)[..., None]
    return FixedPointGoals(WeightedPoints(cells, weight), _grid(cells, weight, probability, unit), centre, unit)


def _kept_goals(goals: Tensor, log_prob: Tensor, valid: Tensor, min_probability: float) -> tuple[Tensor, Tensor]:
    """Return the kept goals (B, N, 2) in descending order of probability, and their probabilities, 0 at padding."""
    ordered, order = log_prob.double().masked_fill(~valid, -torch.inf).sort(dim=1, descending=True, stable=True)
    probability = ordered.exp()
    kept = (probability >= min_probability).sum(1)
    flat = valid.sum(1).clamp(max=MAX_FLAT_GOALS)
    kept = torch.where(kept > 0, kept, flat)
    size = int(kept.max().clamp(min=1))
    inside = torch.arange(size, device=goals.device) < kept[:, None]  # [B, N]
    xy = goals.double().gather(1, order[:, :size, None].expand(-1, -1, 2))
    return torch.where(inside[..., None], xy, 0.0), torch.where(inside, probability[:, :size], 0.0)


def _frame(xy: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centre (in whole metres) and unit of each scene, such that its kept goals fit into EXTENT_UNITS."""
    inside = (weight > 0)[..., None]
    low = torch.where(inside, xy, torch.inf).amin(1)
    high = torch.where(inside, xy, -torch.inf).amax(1)
    some = inside.any(1)
    centre = torch.where(some, torch.round((low + high) / 2), 0.0)
    extent = torch.where(some, high - low, 0.0).amax(-1) / 2 + 2.0
    _, exponent = torch.frexp(extent * UNITS_PER_METRE / EXTENT_UNITS)
    return centre, torch.ldexp(torch.ones_like(extent), exponent.clamp(min=0)) / UNITS_PER_METRE


def _grid(cells: Tensor, weight: Tensor, probability: Tensor, unit: Tensor) -> WeightedPoints:
    """Return the sample points of the goals' cells, goal by goal, padded to the scene with the most."""
    kind = sum((torch.floor(1000.0 * probability) > limit).long() for limit in GRID_LIMITS)  # [B, N]
    per_side = torch.tensor(GRID_SIDES).to(cells.device)[kind]
    count = per_side**2 * (weight > 0)  # [B, N]
    scene, goal = (count > 0).nonzero(as_tuple=True)
    count = count[scene, goal]  # [G]
    point = torch.arange(int(count.sum()), device=cells.device)
    point = point - (count.cumsum(0) - count).repeat_interleave(count)  # [P], index inside its cell
    scene, goal = scene.repeat_interleave(count), goal.repeat_interleave(count)
    side = per_side[scene, goal]
    index = torch.stack([point % side, point // side], dim=-1)  # [P, 2]
    offset = torch.round((2 * index + 1 - side[:, None]).double() / (2 * side[:, None]) / unit[scene, None])
    in_scene = torch.zeros(len(cells), dtype=torch.long, device=cells.device).index_add_(
        0, scene, torch.ones_like(scene)
    )
    place = torch.arange(len(scene), device=cells.device) - (in_scene.cumsum(0) - in_scene)[scene]
    size = max(int(in_scene.max()), 1) if len(in_scene) else 1
    xy = cells.new_zeros(len(cells), size, 2)
    xy[scene, place] = cells[scene, goal] + offset
    points_weight = cells.new_zeros(len(cells), size)
    points_weight[scene, place] = weight[scene, goal] * (GRID_COMMON / side**2)
    return WeightedPoints(xy, points_weight)
