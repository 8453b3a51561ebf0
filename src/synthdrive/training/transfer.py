"""Which pre-trained tensors a model takes over: named one by one, and nothing in silence (docs/method.md 4.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from synthdrive.errors import InputError


@dataclass(frozen=True)
class Transfer:
    """What became of every tensor.

    Attributes:
        loaded: tensors of the model that hold pre-trained values now.
        fresh: tensors of the model that keep their random start.
        unused: pre-trained tensors that the model did not take.
    """

    loaded: list[str]
    fresh: list[str]
    unused: list[str]

    def describe(self) -> dict[str, list[str]]:
        """Plain values for the card."""
        return {"loaded": self.loaded, "fresh": self.fresh, "unused": self.unused}

    def __str__(self) -> str:
        parts = (("loaded", self.loaded), ("fresh", self.fresh), ("left behind", self.unused))
        return ", ".join(f"{len(names)} tensors {word} ({_modules(names)})" for word, names in parts if names)


def transfer(model: nn.Module, pretrained: Mapping[str, Tensor], modules: Sequence[str], where: object) -> Transfer:
    """Copy the tensors of `modules` from a pre-trained model's into `model`.

    Args:
        model: changed in place.
        pretrained: names and tensors of the pre-trained model.
        modules: names of modules ("encoder") or of single tensors; none transfers nothing.
        where: the checkpoint, for the message.

    Raises:
        InputError: a module is in neither model, or its tensors differ in name, shape or type between the two.
    """
    own = model.state_dict()
    wanted = sorted(name for name in own if _within(name, modules))
    offered = sorted(name for name in pretrained if _within(name, modules))
    for module in modules:
        if not any(_within(name, [module]) for name in wanted):
            tops = ", ".join(dict.fromkeys(name.split(".")[0] for name in own))
            raise InputError(f"finetune.transfer: {module}", "no tensor of that name", f"a module of the model: {tops}")
    if wanted != offered:
        missing, unknown = sorted(set(wanted) - set(offered)), sorted(set(offered) - set(wanted))
        found = f"{len(missing)} tensors missing {missing[:3]}, {len(unknown)} that the model lacks {unknown[:3]}"
        raise InputError(where, found, f"the same tensors under {', '.join(modules)} in both models")
    for name in wanted:
        if own[name].shape != pretrained[name].shape or own[name].dtype != pretrained[name].dtype:
            found = f"{pretrained[name].dtype} of shape {tuple(pretrained[name].shape)}"
            raise InputError(f"{where}: {name}", found, f"{own[name].dtype} of shape {tuple(own[name].shape)}")
    with torch.no_grad():
        for name in wanted:
            own[name].copy_(pretrained[name])
    taken = set(wanted)
    return Transfer(wanted, sorted(own.keys() - taken), sorted(pretrained.keys() - taken))


def _within(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _modules(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
