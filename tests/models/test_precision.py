"""Tests of bfloat16 on a CPU: attention equals the fused kernel; coordinates and goal scores stay exact."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from synthdrive.models import layers
from synthdrive.models.densetnt import TrajectoryCompletion
from synthdrive.models.encoder import SubGraph
from synthdrive.models.goal_scorer import GoalScorer
from synthdrive.models.ragged import Ragged


def masked_scene() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, values (3, 2, 5 or 7, 8) and which keys are valid (3, 7)."""
    torch.manual_seed(0)
    valid = torch.arange(7) < torch.tensor([[7], [4], [1]])
    return torch.randn(3, 2, 5, 8), torch.randn(3, 2, 7, 8), torch.randn(3, 2, 7, 8), valid


@pytest.mark.parametrize("scale", [None, 0.2])
@pytest.mark.parametrize("additive", [False, True])
def test_attention_in_bfloat16_equals_float32_up_to_rounding(scale: float | None, additive: bool) -> None:
    query, key, value, valid = masked_scene()
    exact = layers.attend(query, key, value, valid, scale)
    query, key, value = (part.bfloat16() for part in (query, key, value))
    mask = layers.additive_mask(valid, query) if additive else valid
    rounded = layers.attend(query, key, value, mask, scale)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.03, atol=0.03)


def test_attention_in_bfloat16_ignores_padding() -> None:
    query, key, value, valid = (part.bfloat16() if part.is_floating_point() else part for part in masked_scene())
    expected = layers.attend(query, key, value, valid)
    key[~valid[:, None, :].expand(3, 2, 7)] = 9.0
    value[~valid[:, None, :].expand(3, 2, 7)] = 9.0
    torch.testing.assert_close(layers.attend(query, key, value, valid), expected, rtol=0.0, atol=0.0)


def sub_graph(points: Tensor) -> Tensor:
    return SubGraph(32, 1, 2).forward(points, torch.ones(1, 2, dtype=torch.bool), (0, 1))


def goal_scorer(points: Tensor) -> Tensor:
    valid = torch.ones(1, 3, dtype=torch.bool)
    scorer = GoalScorer(32)
    context = scorer.context(torch.zeros(1, 32), torch.zeros(1, 3, 32), valid, torch.zeros(1, 3, 32), valid)
    return scorer.forward(points[0], Ragged.from_counts(torch.tensor([len(points[0])])), context)


def completion(points: Tensor) -> Tensor:
    valid = torch.ones(1, 3, dtype=torch.bool)
    return TrajectoryCompletion(32, False, 30).forward(points, torch.zeros(1, 32), torch.zeros(1, 3, 32), valid)


@pytest.mark.parametrize("module", [sub_graph, goal_scorer, completion])
def test_ten_centimetres_at_fifty_metres_change_the_output_in_bfloat16(module: Callable[[Tensor], Tensor]) -> None:
    points = torch.tensor([[[50.0, 20.0], [50.0, -20.0]]])
    moved = points + torch.tensor([0.1, 0.0])
    assert torch.equal(points.bfloat16(), moved.bfloat16())
    outputs = []
    for xy in (points, moved):
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs.append(module(xy))
    assert not torch.equal(*outputs)


def test_gradients_of_goal_scores_survive_bfloat16() -> None:
    """The gradients of a scene's goals sum to zero: if each one were rounded, only noise would remain of the sum."""
    torch.manual_seed(0)
    goals = torch.cartesian_prod(torch.arange(-30.0, 30.0, 1.5), torch.arange(-30.0, 30.0, 1.5))
    features = [torch.randn(shape).bfloat16().float() for shape in ((1, 32), (1, 40, 32), (1, 5, 32))]
    valid = (torch.ones(1, 40) > 0, torch.ones(1, 5) > 0)
    scorer = GoalScorer(32)
    with torch.no_grad():
        scorer.decoder.output.weight.mul_(20)  # scores as far apart as those of a trained network
    gradients = []
    for rounded in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=rounded):
            context = scorer.context(features[0], features[1], valid[0], features[2], valid[1])
            scores = scorer(goals, Ragged.from_counts(torch.tensor([len(goals)])), context)
        loss = scores.logsumexp(0) - scores[700]
        names, weights = zip(*scorer.named_parameters(), strict=True)
        gradients.append(dict(zip(names, torch.autograd.grad(loss, weights), strict=True)))
    for name, exact in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], exact, rtol=0.02, atol=0.02 * float(exact.abs().max()), msg=name)
