"""Tests of the optimiser, which equals torch's Adam to the last bit, of its saved state, and of learning rates."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from given_parameters import paper
from synthdrive.config.training import FinetuneParameters, OptimisationParameters, PretrainParameters
from synthdrive.core.errors import InputError
from synthdrive.training.optimisation import Adam, learning_rate


def _models() -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(7, 33), nn.Linear(33, 2), nn.Linear(3, 3))  # the last one gets no gradient
    second = nn.Sequential(nn.Linear(7, 33), nn.Linear(33, 2), nn.Linear(3, 3))
    second.load_state_dict(first.state_dict())
    return first, second


def _backward(model: nn.Sequential, step: int) -> None:
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(step))
    model[1](model[0](x)).square().sum().backward()


def test_equals_torch_adam_bit_for_bit() -> None:
    ours, theirs = _models()
    adam = Adam(ours.named_parameters())
    reference = torch.optim.Adam(theirs.parameters(), lr=1.0, fused=True)
    for step in range(20):
        rate = 0.01 / (step + 1)
        for model in (ours, theirs):
            _backward(model, step)
        adam.step(rate)
        adam.zero_grad()
        reference.param_groups[0]["lr"] = rate
        reference.step()
        reference.zero_grad()
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name]), name


def test_optimiser_continues_exactly_from_its_saved_state() -> None:
    ours, copy = _models()
    adam = Adam(ours.named_parameters())
    for step in range(3):
        _backward(ours, step)
        adam.step(0.01)
        adam.zero_grad()
    copy.load_state_dict(ours.state_dict())
    again = Adam(copy.named_parameters())
    again.load_state({name: value.clone() for name, value in adam.state().items()})
    for model, optimiser in ((ours, adam), (copy, again)):
        _backward(model, 9)
        optimiser.step(0.01)
    assert all(torch.equal(value, copy.state_dict()[name]) for name, value in ours.state_dict().items())


def test_the_moving_average_follows_the_weights_and_can_replace_them() -> None:
    model, _ = _models()
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    adam = Adam(model.named_parameters(), ema_decay=0.75)
    for step in range(5):
        _backward(model, step)
        adam.step(0.01)
        adam.zero_grad()
        expected = {name: 0.75 * value + 0.25 * model.state_dict()[name] for name, value in expected.items()}
    assert any(not torch.allclose(value, model.state_dict()[name]) for name, value in expected.items())
    adam.take_average()
    torch.testing.assert_close(model.state_dict(), expected)


def test_state_of_another_model_is_refused() -> None:
    adam = Adam(nn.Linear(2, 2).named_parameters())
    with pytest.raises(InputError, match="this model's parameters"):
        adam.load_state(Adam(nn.Linear(2, 2, bias=False).named_parameters()).state())


def test_optimiser_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch\nfrom synthdrive.training.optimisation import Adam\n"
        "layer = torch.nn.Linear(2, 2)\nadam = Adam(layer.named_parameters())\n"
        "layer(torch.ones(1, 2)).sum().backward()\nadam.step(0.1)\nadam.zero_grad()\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_papers_fine_tuning_rates_in_every_epoch() -> None:
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


def test_warm_up_also_works_with_the_step_schedule() -> None:
    parameters = paper(
        OptimisationParameters, epochs=4, learning_rate=1e-3, lr_schedule="step", lr_milestones=[2], warmup_epochs=1.0
    )
    assert learning_rate(0, 10, parameters) == pytest.approx(1e-4)
    assert learning_rate(9, 10, parameters) == pytest.approx(1e-3)
    assert learning_rate(20, 10, parameters) == pytest.approx(3e-4)
