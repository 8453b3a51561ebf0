"""Tests of DenseTNT's decoder, losses and gradients against the reference's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_weights import PAPER, gradient_norms, join, load_reference, polylines

from given_parameters import paper
from synthdrive.config.training import ModelParameters
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.densetnt import DenseTNT, most_probable_lanes
from synthdrive.models.encoder import SceneFeatures
from synthdrive.models.goals import sparse_goals
from synthdrive.models.polylines import AgentFrame
from synthdrive.models.ragged import Ragged

pytestmark = pytest.mark.reference

LOG_PROBABILITY = {"rtol": 0, "atol": 1e-3}  # as the reference data states
FRAME = AgentFrame(torch.zeros(1, 2), torch.ones(1), torch.zeros(1))


@pytest.fixture(scope="module", params=["random", "trained"])
def golden(request, reference: Path):
    return np.load(reference / "golden" / f"decoder_{request.param}.npz")


@pytest.fixture(scope="module")
def network(golden) -> DenseTNT:
    # The reference leaves the endpoint encoder without gradient (docs/method.md 8.5).
    network = DenseTNT(paper(ModelParameters, polyline_index=True, detach_endpoint_query=True), ARGOVERSE1)
    load_reference(network, golden)
    return network


def decoder_inputs(golden, keys: list[str]) -> tuple[SceneFeatures, torch.Tensor, torch.Tensor, Ragged]:
    """The reference's decoder inputs of several scenes as one batch."""

    def ragged(name: str) -> tuple[torch.Tensor, Ragged]:
        parts = [torch.from_numpy(golden[f"{key}/in/{name}"]).float() for key in keys]
        return torch.cat(parts), Ragged.from_counts(torch.tensor([len(part) for part in parts]))

    tokens, token_items = ragged("inputs")
    lanes, lane_items = ragged("lane_states")
    goals, goal_items = ragged("goals_2D")
    agent = torch.stack([torch.from_numpy(golden[f"{key}/in/agent"]) for key in keys])
    features = SceneFeatures(token_items.pad(tokens), token_items.valid, lane_items.pad(lanes), lane_items.valid)
    return features, agent, goals, goal_items


def truth(golden, keys: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    future = torch.stack([torch.from_numpy(golden[f"{key}/in/labels"]) for key in keys]).float()
    return future, torch.tensor([int(golden[f"{key}/in/stage_one_label"]) for key in keys])


def by_position(goals: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort by x, y and value, so that sets in different orders can be compared."""
    order = np.lexsort((values, goals[:, 1].round(3), goals[:, 0].round(3)))
    return goals[order], values[order]


@torch.no_grad()
def test_decoder(golden, network):
    keys = [str(scene) for scene in golden["scene_ids"]]
    features, agent, goals, items = decoder_inputs(golden, keys)
    distribution = network.decode(features, agent, goals, items, FRAME)
    index, kept = most_probable_lanes(distribution.lane_log_prob, PAPER.kept_lane_probability)
    future, lane = truth(golden, keys)
    for scene, key in enumerate(keys):
        lanes = features.lane_valid[scene]
        ours = distribution.lane_log_prob[scene]
        np.testing.assert_allclose(ours[lanes].numpy(), golden[f"{key}/lane/log_prob"], **LOG_PROBABILITY)
        assert set(index[scene, kept[scene]].tolist()) == set(golden[f"{key}/lane/kept_ids"].tolist())
        valid = distribution.valid[scene]
        ours = by_position(distribution.goals[scene, valid].numpy(), distribution.log_prob[scene, valid].numpy())
        theirs = by_position(golden[f"{key}/dense/goals"], golden[f"{key}/dense/log_prob"])
        assert len(ours[0]) == len(theirs[0])
        np.testing.assert_allclose(ours[0], theirs[0], rtol=0, atol=1e-3)
        np.testing.assert_allclose(ours[1], theirs[1], **LOG_PROBABILITY)
        sparse = distribution.log_prob[scene, -items.longest :][: items.counts[scene]].log_softmax(0).numpy()
        np.testing.assert_allclose(sparse, golden[f"{key}/sparse/log_prob"], **LOG_PROBABILITY)
        ends = torch.from_numpy(golden[f"{key}/complete/goals"]).float()
        repeated = ends.expand(len(keys), -1, -1)
        ours = network.complete(distribution, repeated)[scene]
        np.testing.assert_allclose(ours.numpy(), golden[f"{key}/complete/traj_raw"], rtol=1e-4, atol=1e-3)
        alone = network.decode(*decoder_inputs(golden, [key]), FRAME)
        losses = network.losses(alone, future[scene : scene + 1], lane[scene : scene + 1])
        found = [float(losses.parts[name]) for name in ("goal", "lane", "completion")]
        np.testing.assert_allclose(found, golden[f"{key}/loss/parts"], rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(float(losses.total), golden[f"{key}/loss/total"], rtol=1e-4)
        np.testing.assert_allclose(float(losses.parts["top1_fde"]), golden[f"{key}/loss/top1_DE"], rtol=1e-4)


def test_loss_and_gradient_norms(golden, network):
    """The loss of one batch of all scenes equals the reference's mean over single scenes."""
    if "grad/clean/norms" not in golden:
        pytest.skip("these weights have no gradients without padding defects")
    keys = [str(scene) for scene in golden["scene_ids"]]
    scenes = [polylines(golden, key) for key in keys]
    actors, lanes = join([scene[0] for scene in scenes]), join([scene[1] for scene in scenes])
    goals = [torch.from_numpy(golden[f"{key}/in/goals_2D"]).float() for key in keys]
    network.zero_grad()
    features = network.encoder(actors, lanes)
    items = Ragged.from_counts(torch.tensor([len(part) for part in goals]))
    distribution = network.decode(features, network.encoder.agent_state(features), torch.cat(goals), items, FRAME)
    total = network.losses(distribution, *truth(golden, keys)).total
    np.testing.assert_allclose(total.item(), golden["grad/clean/loss"], rtol=1e-4)
    endpoint = {id(parameter) for parameter in network.completion.endpoint_encoder.parameters()}
    total.backward()
    for parameter in network.parameters():
        if id(parameter) in endpoint:
            assert parameter.grad is None
            parameter.grad = torch.full_like(parameter, torch.nan)
    ours = gradient_norms(network)
    theirs = dict(zip(map(str, golden["grad/names"]), golden["grad/clean/norms"].tolist(), strict=True))
    for name, norm in ours.items():
        np.testing.assert_allclose(norm, theirs[name], rtol=1e-3, atol=1e-6, equal_nan=True, err_msg=name)
    network.zero_grad()


@torch.no_grad()
def test_sparse_goals_follow_from_the_lanes(golden):
    """Sparse goals computed from the lane vectors of the reference's matrix equal the reference's."""
    for key in map(str, golden["scene_ids"]):
        _, lanes = polylines(golden, key)
        points = torch.cat([lanes.vectors[:, :1, [11, 10]], lanes.vectors[..., [9, 8]]], dim=1)
        valid = torch.cat([lanes.valid[:, :1], lanes.valid], dim=1)
        goals, _ = sparse_goals(points, valid, lanes.items, 1.0)
        np.testing.assert_allclose(goals.numpy(), golden[f"{key}/in/goals_2D"], rtol=0, atol=1e-4)
