"""Adam by torch's own fused update, with a state that is plain named tensors.

`torch.optim.Adam` does the same sums, but constructing it imports torch's compiler (1.5 s of every training cell), and
its state is a nested dictionary keyed by number, which safetensors cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from synthdrive.errors import InputError

BETAS = (0.9, 0.999)  # docs/method.md 4.4
EPSILON = 1e-8  # docs/method.md 4.4


class Adam:
    """Adam (beta 0.9 and 0.999, eps 1e-8, no weight decay) over named parameters.

    A parameter without a gradient is left alone, its own step count too, as in `torch.optim.Adam`.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        self.parameters = {name: parameter for name, parameter in parameters if parameter.requires_grad}
        self._mean = {name: torch.zeros_like(parameter) for name, parameter in self.parameters.items()}
        self._square = {name: torch.zeros_like(parameter) for name, parameter in self.parameters.items()}
        self._step = {
            name: torch.zeros((), dtype=torch.float32, device=parameter.device)
            for name, parameter in self.parameters.items()
        }

    def gradients(self) -> dict[str, Tensor]:
        """The gradients that are there, by name."""
        return {name: value.grad for name, value in self.parameters.items() if value.grad is not None}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move every parameter that has a gradient."""
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

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts: `<moment>/<parameter>` -> tensor."""
        held = {"mean": self._mean, "square": self._square, "step": self._step}
        return {f"{moment}/{name}": value for moment, values in held.items() for name, value in values.items()}

    def load_state(self, state: Mapping[str, Tensor], where: object = "optimiser state") -> None:
        """Take over what `state` returned; raises InputError when the names differ."""
        own = self.state()
        if own.keys() != state.keys():
            differing = sorted(own.keys() ^ state.keys())
            raise InputError(where, f"{len(differing)} other tensors ({differing[0]}, ...)", "this model's parameters")
        for name, value in own.items():
            value.copy_(state[name])
