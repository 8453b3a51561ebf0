"""Training in bfloat16 on a CPU: attention by products equals the fused kernel, and coordinates stay exact."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from synthdrive.models import attention
from synthdrive.models.completion import TrajectoryCompletion
from synthdrive.models.goal_scorer import GoalEncoder
from synthdrive.models.sub_graph import SubGraph


def masked_scene() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, values (3, 2, 5 or 7, 8) and which keys are valid (3, 7)."""
    torch.manual_seed(0)
    valid = torch.arange(7) < torch.tensor([[7], [4], [1]])
    return torch.randn(3, 2, 5, 8), torch.randn(3, 2, 7, 8), torch.randn(3, 2, 7, 8), valid


@pytest.mark.parametrize("scale", [None, 0.2])
@pytest.mark.parametrize("additive", [False, True])
def test_attention_in_bfloat16_is_that_in_float32_up_to_rounding(scale: float | None, additive: bool) -> None:
    query, key, value, valid = masked_scene()
    exact = attention.attend(query, key, value, valid, scale)
    query, key, value = (part.bfloat16() for part in (query, key, value))
    mask = attention.additive_mask(valid, query) if additive else valid
    rounded = attention.attend(query, key, value, mask, scale)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.03, atol=0.03)


def test_attention_in_bfloat16_does_not_look_at_padding() -> None:
    query, key, value, valid = (part.bfloat16() if part.is_floating_point() else part for part in masked_scene())
    seen = attention.attend(query, key, value, valid)
    key[~valid[:, None, :].expand(3, 2, 7)] = 9.0
    value[~valid[:, None, :].expand(3, 2, 7)] = 9.0
    torch.testing.assert_close(attention.attend(query, key, value, valid), seen, rtol=0.0, atol=0.0)


def sub_graph(points: Tensor) -> Tensor:
    return SubGraph(32, 1, 2).forward(points, torch.ones(1, 2, dtype=torch.bool), (0, 1))


def goal_encoder(points: Tensor) -> Tensor:
    return GoalEncoder(32).forward(points, torch.zeros(1, 32), torch.zeros(1, dtype=torch.long))


def completion(points: Tensor) -> Tensor:
    valid = torch.ones(1, 3, dtype=torch.bool)
    return TrajectoryCompletion(32, False).forward(points, torch.zeros(1, 32), torch.zeros(1, 3, 32), valid)


@pytest.mark.parametrize("module", [sub_graph, goal_encoder, completion])
def test_ten_centimetres_at_fifty_metres_are_seen_in_bfloat16(module: Callable[[Tensor], Tensor]) -> None:
    points = torch.tensor([[[50.0, 20.0], [50.0, -20.0]]])
    further = points + torch.tensor([0.1, 0.0])
    assert torch.equal(points.bfloat16(), further.bfloat16())
    seen = []
    for shown in (points, further):
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen.append(module(shown))
    assert not torch.equal(*seen)
