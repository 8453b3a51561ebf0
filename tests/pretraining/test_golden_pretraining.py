"""Tests of the masked autoencoder against the reference's, with its decoder mask corrected and as released."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_weights import NETWORK_TOLERANCE, PAPER, gradient_norms, join, load_reference, polylines

from given_parameters import paper
from synthdrive.config.training import ObjectiveParameters
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder, position_code
from synthdrive.pretraining.masking import MaskedScenes, Masking
from synthdrive.pretraining.reconstructor import dead_mode_losses

pytestmark = pytest.mark.reference

LOSS = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def golden(reference: Path):
    return np.load(reference / "golden" / "pretrain.npz")


def network(golden, variant: str) -> MaskedAutoencoder:
    objective = paper(
        ObjectiveParameters, queries="index", decoder_sees_encoder=variant == "fixed", lane_padding_in_loss=True
    )
    network = MaskedAutoencoder(PAPER, objective, ARGOVERSE1)
    load_reference(network, golden)
    return network


def samples(golden) -> list[str]:
    return sorted({name.split("/")[1] for name in golden.files if name.startswith("in/")}, key=int)


def predict(network: MaskedAutoencoder, golden):
    keys = samples(golden)
    scenes = [polylines(golden, f"in/{key}", actors=1, theta=float(golden[f"in/{key}/theta"])) for key in keys]
    actors, lanes = join([scene[0] for scene in scenes]), join([scene[1] for scene in scenes])
    is_map = torch.tensor([str(golden[f"in/{key}/option"]) == "map" for key in keys])
    hidden = torch.zeros(len(lanes), dtype=torch.bool)
    for scene, key in enumerate(keys):
        if is_map[scene]:
            hidden[lanes.items.starts[scene] + torch.from_numpy(golden[f"in/{key}/masked_ids"]).long() - 1] = True
    in_order = lanes.items.position  # the reference's queries number lanes in their given order
    return network.reconstruct_hidden(MaskedScenes(actors, lanes, actors, Masking(is_map, hidden, in_order)))


@pytest.mark.parametrize("variant", ["fixed", "released", "blockdiag"])
def test_predictions_losses_and_gradients(golden, variant):
    """`blockdiag` is another interpretation of the released mask; in both, the decoder does not see the encoder."""
    model = network(golden, variant)
    prediction = predict(model, golden)
    lane_losses, modes = model.lane_losses(prediction).detach(), model.mode_losses(prediction).detach()
    dead = dead_mode_losses(modes, modes.argmin(1)) * model.objective.dead_mode_weight
    lanes = prediction.lanes.take(prediction.masking.hidden).items
    trajectory = 0
    for scene, key in enumerate(samples(golden)):
        root = f"clean/{variant}/{key}"
        is_map = bool(prediction.masking.is_map[scene])
        ours = prediction.hidden_lanes[lanes.scene == scene] if is_map else prediction.hidden_agents[trajectory]
        np.testing.assert_allclose(ours.detach().numpy(), golden[f"{root}/pred"], rtol=1e-4, atol=1e-3)
        per_sample = golden[f"clean/{variant}/per_sample_loss"][scene]
        if is_map:
            targets = prediction.lanes.take(prediction.masking.hidden).vectors[lanes.scene == scene]
            np.testing.assert_allclose(targets.numpy(), golden[f"in/{key}/targets"], rtol=1e-5, atol=1e-4)
            np.testing.assert_allclose(float(lane_losses[scene]), per_sample, **LOSS)
        else:
            np.testing.assert_allclose(modes[trajectory].numpy(), golden[f"{root}/mode_losses"], **LOSS)
            np.testing.assert_allclose(float(modes[trajectory].min() + dead[trajectory]), per_sample, **LOSS)
            trajectory += 1
    losses = model.losses(prediction)
    np.testing.assert_allclose(losses.total.item(), golden[f"clean/{variant}/loss"], **LOSS)
    fractions = [float(losses.parts[name]) for name in ("map", "trajectory", "dead_mode")]
    np.testing.assert_allclose(sum(fractions), losses.total.item(), rtol=1e-6)
    losses.total.backward()
    ours = gradient_norms(model)
    theirs = golden[f"clean/{variant}/grad_norms"]
    for name, norm in zip(map(str, golden["grad_names"]), theirs.tolist(), strict=True):
        np.testing.assert_allclose(ours[name], norm, rtol=1e-3, atol=1e-6, err_msg=name)


@torch.no_grad()
def test_encoder_of_the_polylines_that_are_not_hidden(golden):
    model = network(golden, "fixed")
    prediction = predict(model, golden)
    masking = prediction.masking
    actors = prediction.agents.take(masking.map_rows)
    features = model.encoder(actors, prediction.lanes.take(masking.shown), masking.is_map)
    states = model.encoder.global_states(features)
    for scene, key in enumerate(samples(golden)):
        for ours, name in ((features.tokens, "inputs"), (states, "hidden")):
            theirs = golden[f"clean/fixed/{key}/{name}"]
            np.testing.assert_allclose(ours[scene, features.valid[scene]].numpy(), theirs, **NETWORK_TOLERANCE)


def test_trajectory_position_code(golden):
    theirs = golden["traj_pos_enc"]
    ours = position_code(torch.arange(len(theirs)), theirs.shape[1])
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-5)
