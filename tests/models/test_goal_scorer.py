"""Tests of the goal scorer: scores are equal whether goals are arranged by scene (CPU) or in blocks (GPU)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from synthdrive.models.goal_scorer import GoalLayout, InBlocks, KeysAndValues, SceneByScene
from synthdrive.models.ragged import Ragged

COUNTS, KEYS, WIDTH = [40, 1, 0, 70], [5, 1, 3, 4], 16


def output_and_gradients(layout: Callable[[Ragged], GoalLayout]) -> tuple[Tensor, ...]:
    """Attention output (G, WIDTH) of packed goals; its gradients by goals, keys, values and the term of each scene."""
    torch.manual_seed(0)
    goals = torch.randn(sum(COUNTS), WIDTH, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(len(KEYS), max(KEYS), WIDTH, dtype=torch.float64, requires_grad=True) for _ in range(2))
    scene_term = torch.randn(len(KEYS), WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(sum(COUNTS), WIDTH, dtype=torch.float64)
    valid = torch.arange(max(KEYS)) < torch.tensor(KEYS)[:, None]
    arranged = layout(Ragged.from_counts(torch.tensor(COUNTS)))
    query = arranged.place(goals) + arranged.per_goal(scene_term)
    output = arranged.pack(arranged.attend(query, KeysAndValues(key, value, valid), 0.3))
    return output.detach(), *torch.autograd.grad((output * weight).sum(), (goals, key, value, scene_term))


def test_both_layouts_give_equal_outputs_and_gradients() -> None:
    for ours, theirs in zip(output_and_gradients(SceneByScene), output_and_gradients(InBlocks), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_goals_attend_neither_to_padding_nor_to_other_scenes() -> None:
    ours, *gradients = output_and_gradients(SceneByScene)
    assert ours.isfinite().all()
    for gradient in gradients[1:3]:
        padding = torch.arange(max(KEYS)) >= torch.tensor(KEYS)[:, None]
        assert not gradient[padding].any()
        assert not gradient[2].any()  # the scene without goals
    assert all(gradient.any() for gradient in gradients)
