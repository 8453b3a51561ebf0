"""Tests of the transfer of weights: every loaded tensor is listed, and a tensor that does not fit is an error."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from synthdrive.core.errors import InputError
from synthdrive.finetuning.finetune import transfer


class Network(nn.Module):
    def __init__(self, seed: int, width: int = 4, head: str = "decoder") -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.ModuleDict({"graph": nn.Linear(3, width), "attention": nn.Linear(width, width)})
        self.encoder_of_something_else = nn.Linear(2, 2)
        setattr(self, head, nn.Linear(width, 1))


def test_encoder_is_loaded_and_all_other_tensors_are_listed() -> None:
    before, after = Network(1, head="scorer"), Network(1, head="scorer")
    pretrained = Network(2).state_dict()
    done = transfer(after, pretrained, ["encoder"], "checkpoint")
    assert done.loaded == sorted(
        f"encoder.{layer}.{kind}" for layer in ("graph", "attention") for kind in ("weight", "bias")
    )
    assert done.unused == [
        f"{module}.{kind}" for module in ("decoder", "encoder_of_something_else") for kind in ("bias", "weight")
    ]
    assert set(done.loaded) | set(done.fresh) == set(after.state_dict())
    for name, value in after.state_dict().items():
        source = pretrained if name in done.loaded else before.state_dict()
        assert torch.equal(value, source[name]), name
    assert str(done).startswith("4 tensors loaded (encoder), 4 tensors fresh (encoder_of_something_else, scorer)")


def test_one_layer_or_no_module_can_be_loaded() -> None:
    network, pretrained = Network(1), Network(2).state_dict()
    assert transfer(network, pretrained, ["encoder.graph"], "x").loaded == [
        "encoder.graph.bias",
        "encoder.graph.weight",
    ]
    assert torch.equal(
        network.state_dict()["encoder.attention.weight"], Network(1).state_dict()["encoder.attention.weight"]
    )
    assert transfer(Network(1), {}, [], "x").loaded == []


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "type", "infinite"])
def test_mismatch_is_an_error_and_changes_nothing(change: str) -> None:
    pretrained = Network(2).state_dict()
    if change == "missing":
        del pretrained["encoder.graph.bias"]
    elif change == "unknown":
        pretrained["encoder.extra"] = torch.zeros(1)
    elif change == "shape":
        pretrained["encoder.graph.bias"] = torch.zeros(5)
    elif change == "infinite":
        pretrained["encoder.graph.bias"] = torch.full((4,), float("inf"))
    else:
        pretrained["encoder.graph.bias"] = torch.zeros(4, dtype=torch.float64)
    network = Network(1)
    with pytest.raises(InputError, match=r"checkpoint"):
        transfer(network, pretrained, ["encoder"], "checkpoint")
    assert all(torch.equal(value, Network(1).state_dict()[name]) for name, value in network.state_dict().items())


def test_unknown_module_is_an_error() -> None:
    with pytest.raises(InputError, match="finetune.load_pretrained_weights: encodr"):
        transfer(Network(1), Network(2).state_dict(), ["encoder", "encodr"], "checkpoint")
