"""The learning rate follows from the step alone."""

from __future__ import annotations

import pytest

from given_parameters import paper
from synthdrive.config.training import FinetuneParameters, OptimisationParameters, PretrainParameters
from synthdrive.training.optimisation import learning_rate


def test_papers_fine_tuning_rates_epoch_by_epoch() -> None:
    steps = 3218  # docs/method.md 1.1: 205,942 scenes in batches of 64
    rates = [learning_rate(epoch * steps, steps, paper(FinetuneParameters)) for epoch in range(16)]
    assert rates == pytest.approx([1e-3] * 5 + [3e-4] * 5 + [9e-5] * 5 + [2.7e-5])
    assert learning_rate(5 * steps - 1, steps, paper(FinetuneParameters)) == pytest.approx(1e-3)


def test_papers_pre_training_rate_is_constant() -> None:
    assert {learning_rate(step, 1461, paper(PretrainParameters)) for step in range(0, 7305, 500)} == {1e-4}


def test_cosine_with_warm_up() -> None:
    parameters = paper(
        OptimisationParameters,
        epochs=10,
        learning_rate=0.1,
        lr_schedule="cosine",
        warmup_epochs=0.5,
        final_lr_factor=0.1,
    )
    rates = [learning_rate(step, 100, parameters) for step in range(1000)]
    assert rates[0] == pytest.approx(0.1 / 50)
    assert rates[:50] == sorted(rates[:50])
    assert max(rates) == pytest.approx(0.1)
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[525] == pytest.approx(0.055, rel=1e-3)  # half way: the mean of both ends
    assert rates[-1] == pytest.approx(0.01, rel=1e-3)


def test_warm_up_rises_before_the_step_schedule_too() -> None:
    parameters = paper(
        OptimisationParameters, epochs=4, learning_rate=1e-3, lr_schedule="step", lr_milestones=[2], warmup_epochs=1.0
    )
    assert learning_rate(0, 10, parameters) == pytest.approx(1e-4)
    assert learning_rate(9, 10, parameters) == pytest.approx(1e-3)
    assert learning_rate(20, 10, parameters) == pytest.approx(3e-4)
