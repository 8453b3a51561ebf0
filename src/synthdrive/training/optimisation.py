"""Adam with named tensors as its state, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from synthdrive.config.training import OptimisationParameters
from synthdrive.core.errors import InputError


def learning_rate(step: int, steps_per_epoch: int, parameters: OptimisationParameters) -> float:
    """Return the learning rate of an optimiser step, counted from 0.

    The paper's two schedules are "constant" (pre-training) and "step" (fine-tuning); see docs/method.md 4.4 and 5.
    """
    warmup = parameters.warmup_epochs * steps_per_epoch
    rate = parameters.learning_rate * min(1.0, (step + 1) / warmup) if warmup > 0 else parameters.learning_rate
    if parameters.lr_schedule == "step":
        epoch = step // steps_per_epoch
        return rate * parameters.lr_decay_factor ** sum(epoch >= milestone for milestone in parameters.lr_milestones)
    if parameters.lr_schedule == "cosine":
        total = parameters.epochs * steps_per_epoch
        progress = min(1.0, max(0.0, (step - warmup) / max(1.0, total - warmup)))
        return rate * (
            parameters.final_lr_factor + (1 - parameters.final_lr_factor) * (1 + math.cos(math.pi * progress)) / 2
        )
    return rate


BETAS = (0.9, 0.999)  # docs/method.md 4.4
EPSILON = 1e-8  # docs/method.md 4.4


class Adam:
    """Adam (beta 0.9 and 0.999, eps 1e-8, no weight decay) over named parameters.

    A parameter without a gradient is not changed, nor is its step count, as in `torch.optim.Adam`.

    Args:
        parameters: names and parameters.
        ema_decay: decay of the exponential moving average of the weights, which begins at their initial values; 0 for
            no average.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], ema_decay: float = 0.0) -> None:
        self.parameters = {name: parameter for name, parameter in parameters if parameter.requires_grad}
        self._mean = {name: torch.zeros_like(parameter) for name, parameter in self.parameters.items()}
        self._square = {name: torch.zeros_like(parameter) for name, parameter in self.parameters.items()}
        self._step = {
            name: torch.zeros((), dtype=torch.float32, device=parameter.device)
            for name, parameter in self.parameters.items()
        }
        self.ema_decay = ema_decay
        averaged = self.parameters if ema_decay else {}
        self._average = {name: parameter.detach().clone() for name, parameter in averaged.items()}

    def gradients(self) -> dict[str, Tensor]:
        """Return the gradients by name, without parameters that have none."""
        return {name: value.grad for name, value in self.parameters.items() if value.grad is not None}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter that has a gradient, and the moving average."""
        gradients = self.gradients()
        adam(
            [self.parameters[name] for name in gradients],
            list(gradients.values()),
            [self._mean[name] for name in gradients],
            [self._square[name] for name in gradients],
            [],
            [self._step[name] for name in gradients],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=learning_rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )
        if self._average:
            weights = [parameter.detach() for parameter in self.parameters.values()]
            torch._foreach_lerp_(list(self._average.values()), weights, 1 - self.ema_decay)

    @torch.no_grad()
    def take_average(self) -> None:
        """Replace the weights by their moving average, if there is one."""
        for name, average in self._average.items():
            self.parameters[name].copy_(average)

    def zero_grad(self) -> None:
        """Remove all gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return moments, step counts and averages as tensors, named `<moment>/<parameter>`."""
        held = {"mean": self._mean, "square": self._square, "step": self._step, "average": self._average}
        return {f"{moment}/{name}": value for moment, values in held.items() for name, value in values.items()}

    def load_state(self, state: Mapping[str, Tensor], where: object = "optimiser state") -> None:
        """Load tensors returned by `state`; raise InputError if the names differ."""
        own = self.state()
        if own.keys() != state.keys():
            differing = sorted(own.keys() ^ state.keys())
            raise InputError(where, f"{len(differing)} other tensors ({differing[0]}, ...)", "this model's parameters")
        for name, value in own.items():
            value.copy_(state[name])
