"""Tests of the goal label: the nearest goal, or a distribution around the true endpoint."""

from __future__ import annotations

import pytest
import torch
from made_scenes import make_batch, make_scene

from given_parameters import paper
from synthdrive.config.training import ModelParameters
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.densetnt import DenseTNT, goal_losses

DISTANCE = torch.tensor([[0.5, 1.0, 3.0, 0.0], [2.0, 0.1, 0.0, 0.0]], dtype=torch.float64)
VALID = torch.tensor([[True, True, True, False], [True, True, False, False]])


def goal_scores() -> torch.Tensor:
    """Scores (2, 4), -inf at padding; the padded goals would have the smallest distances."""
    torch.manual_seed(0)
    scores = torch.randn(2, 4, dtype=torch.float64).masked_fill(~VALID, -torch.inf)
    return scores.requires_grad_()


def test_without_a_standard_deviation_the_label_is_the_nearest_goal() -> None:
    log_prob = goal_scores().log_softmax(dim=1)
    assert torch.equal(goal_losses(log_prob, DISTANCE, VALID), -log_prob[[0, 1], [0, 1]])


def test_a_soft_label_weights_goals_by_their_distance() -> None:
    scores = goal_scores()
    log_prob = scores.log_softmax(dim=1)
    weights = [torch.exp(-(DISTANCE[row][VALID[row]] ** 2) / (2 * 0.8**2)) for row in range(2)]
    expected = [-(one / one.sum() * log_prob[row][VALID[row]]).sum() for row, one in enumerate(weights)]
    found = goal_losses(log_prob, DISTANCE, VALID, 0.8)
    torch.testing.assert_close(found, torch.stack(expected))
    found.sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert not scores.grad[~VALID].any()


def test_a_narrow_soft_label_is_the_nearest_goal_even_if_all_goals_are_far_away() -> None:
    log_prob = goal_scores().log_softmax(dim=1)
    for distance in (DISTANCE, DISTANCE + 200.0):
        torch.testing.assert_close(goal_losses(log_prob, distance, VALID, 1e-3), goal_losses(log_prob, distance, VALID))


@pytest.mark.parametrize("std", [0.0, 1.5])
def test_the_label_changes_the_goal_loss_but_no_forecast(std: float) -> None:
    batch = make_batch([make_scene(1, 3, 6), make_scene(2, 0, 9)])
    networks = []
    for label_std in (0.0, std):
        torch.manual_seed(0)
        networks.append(DenseTNT(paper(ModelParameters, hidden_size=32), ARGOVERSE1, goal_label_std=label_std).double())
    plain, soft = (network(batch).parts for network in networks)
    assert {name for name in plain if plain[name] != soft[name]} == ({"goal"} if std else set())
    plain_goals, soft_goals = (network.goal_distribution(batch).log_prob for network in networks)
    assert torch.equal(plain_goals, soft_goals)
