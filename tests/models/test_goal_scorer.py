"""Tests of the goal scorer: equal scores whether goals are laid out by scene (CPU) or in blocks (GPU)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from synthdrive.models.goal_scorer import GoalLayout, InBlocks, KeysAndValues, SceneByScene
from synthdrive.models.ragged import Ragged

COUNTS, KEYS, WIDTH = [40, 1, 0, 70], [5, 1, 3, 4], 16


def seen_and_gradients(layout: Callable[[Ragged], GoalLayout]) -> tuple[Tensor, ...]:
    """(G, WIDTH) what packed goals see, and its gradients by goals, keys, values and what is added for each scene."""
    torch.manual_seed(0)
    goals = torch.randn(sum(COUNTS), WIDTH, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(len(KEYS), max(KEYS), WIDTH, dtype=torch.float64, requires_grad=True) for _ in range(2))
    added = torch.randn(len(KEYS), WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(sum(COUNTS), WIDTH, dtype=torch.float64)
    valid = torch.arange(max(KEYS)) < torch.tensor(KEYS)[:, None]
    laid = layout(Ragged.from_counts(torch.tensor(COUNTS)))
    query = laid.place(goals) + laid.per_goal(added)
    seen = laid.pack(laid.attend(query, KeysAndValues(key, value, valid), 0.3))
    return seen.detach(), *torch.autograd.grad((seen * weight).sum(), (goals, key, value, added))


def test_layouts_see_the_same() -> None:
    for ours, theirs in zip(seen_and_gradients(SceneByScene), seen_and_gradients(InBlocks), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_goals_see_no_padding_and_no_other_scene() -> None:
    ours, *gradients = seen_and_gradients(SceneByScene)
    assert ours.isfinite().all()
    for gradient in gradients[1:3]:
        padding = torch.arange(max(KEYS)) >= torch.tensor(KEYS)[:, None]
        assert not gradient[padding].any()
        assert not gradient[2].any()  # of the scene without goals
    assert all(gradient.any() for gradient in gradients)
