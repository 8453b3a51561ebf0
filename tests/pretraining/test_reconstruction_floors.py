"""Tests of held-out windows and of the simple predictors with which reconstruction losses are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import write_store

from given_parameters import paper
from synthdrive.config.training import ModelParameters, PretrainParameters
from synthdrive.core.errors import InputError
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.batch import Batch, collate
from synthdrive.models.polylines import AgentFrame, actor_polylines, lane_polylines
from synthdrive.pretraining.pretrain import held_out_windows, pretraining_model
from synthdrive.pretraining.reconstruction_floors import (
    WindowSelection,
    future_floors,
    lane_floors,
    measure_reconstruction,
    train_blind_decoder,
    trajectory_floors,
)
from synthdrive.pretraining.reconstructor import Reconstructor
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.devices import make_accelerator
from synthdrive.training.training_run import seed_model

LAST_OBSERVED = ARGOVERSE1.last_observed

MODEL = paper(ModelParameters, hidden_size=32, sub_graph_layers=1)
PARAMETERS = paper(
    PretrainParameters,
    epochs=1,
    global_batch_size=8,
    micro_batch_size=4,
    learning_rate=1e-3,
    held_out_fraction=0.2,
    modes=2,
)


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("floors") / "store", 20)


def test_whole_routes_are_held_out(windows: Path) -> None:
    store = SceneStore.load(windows)
    held_out = held_out_windows(store, 0.2, windows)
    routes = np.array(store.manifest["route"].to_pylist())
    assert len(set(routes)) == 10
    assert len(set(routes[held_out])) == 2
    assert not set(routes[held_out]) & set(routes[~held_out])
    assert not held_out_windows(store, 0.0, windows).any()
    assert 0 < held_out_windows(store, 0.999, windows).sum() < 20
    without = replace(store, manifest=store.manifest.drop_columns(["route"]))
    with pytest.raises(InputError, match="route"):
        held_out_windows(without, 0.2, windows)


def _with_constant_acceleration(batch: Batch) -> Batch:
    """The batch with focal agents that drive with constant acceleration; the lanes of the tiny store are straight."""
    time = torch.arange(50.0) - LAST_OBSERVED
    xy = batch.track_xy.clone()
    agents = batch.track_counts.cumsum(0) - batch.track_counts
    xy[agents] = torch.stack([0.9 * time + 0.01 * time**2, 0.1 * time], dim=-1)
    return replace(batch, track_xy=xy)


def test_floors_are_exact_if_their_assumption_is_true(windows: Path) -> None:
    batch = _with_constant_acceleration(collate(SceneStore.load(windows), range(6)))
    frame = AgentFrame.of(batch.agent, batch.timing)
    lanes = lane_polylines(batch, frame, batch.track_counts, with_index=False).vectors
    floors = lane_floors(lanes)
    torch.testing.assert_close(floors["straight"], lanes, rtol=0, atol=1e-3)
    assert torch.equal(floors["repeat"][:, 3], lanes[:, 0])
    agents = actor_polylines(batch, frame, False, with_index=False)
    vectors = agents.take(agents.items.starts).vectors
    tracks = trajectory_floors(vectors, LAST_OBSERVED)
    torch.testing.assert_close(tracks["quadratic"], vectors, rtol=0, atol=1e-2)
    steady = tracks["constant_velocity"][..., 2:4]
    torch.testing.assert_close(steady[:, 1:] - steady[:, :-1], (steady[:, 1:2] - steady[:, :1]).expand(-1, 48, -1))
    assert not torch.allclose(tracks["constant_velocity"], vectors, atol=1.0)
    ahead = (slice(None), slice(LAST_OBSERVED, None), slice(2, 4))
    torch.testing.assert_close(
        future_floors(vectors, LAST_OBSERVED)["quadratic"][ahead], vectors[ahead], rtol=0, atol=1e-2
    )


def _untrained(parameters: PretrainParameters) -> Reconstructor:
    seed_model("pretrain", 0)
    return pretraining_model(MODEL, parameters, ARGOVERSE1)


def _measured(windows: Path, network: Reconstructor, parameters: PretrainParameters) -> dict:
    trained, held_out = (WindowSelection(windows, rows) for rows in (np.arange(16), np.arange(16, 20)))
    accelerator = make_accelerator(parameters)
    return measure_reconstruction(
        network, lambda: _untrained(parameters), parameters, trained, held_out, 0, accelerator
    )


@pytest.mark.parametrize("objective", ["masked", "scene"])
def test_measurements_are_repeatable_and_change_no_weights(windows: Path, objective: str) -> None:
    parameters = replace(PARAMETERS, objective=objective)
    network = _untrained(parameters)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second = (_measured(windows, network, parameters) for _ in range(2))
    assert first == second
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert list(first["lanes"]) == ["loss", "zero", "repeat", "straight", "blind", "gain"]
    assert list(first["trajectory"]) == ["loss", "zero", "constant_velocity", "quadratic", "blind", "gain"]
    for kind in first.values():
        assert kind["gain"] == pytest.approx(1 - kind["loss"] / kind["blind"])
        assert kind["zero"] > 5
    assert first["lanes"]["straight"] == pytest.approx(0.0, abs=1e-3)


def test_losses_of_parts_that_are_not_reconstructed_are_none(windows: Path) -> None:
    for fraction, missing in ((1.0, "trajectory"), (0.0, "lanes")):
        parameters = replace(PARAMETERS, map_probability=fraction)
        found = _measured(windows, _untrained(parameters), parameters)
        assert [kind for kind, values in found.items() if values is None] == [missing]


def test_the_blind_decoder_is_the_moving_average_of_its_weights_too(windows: Path) -> None:
    """Otherwise the gain would compare an average with the weights after the last step."""
    accelerator, seen = make_accelerator(PARAMETERS), WindowSelection(windows, np.arange(16))
    last, average = (
        train_blind_decoder(
            _untrained(replace(PARAMETERS, ema_decay=decay)), replace(PARAMETERS, ema_decay=decay), seen, 0, accelerator
        ).state_dict()
        for decay in (0.0, 0.999)
    )
    start = _untrained(PARAMETERS).state_dict()
    moved = [name for name in start if not torch.equal(last[name], start[name])]
    assert moved
    for name in moved:
        assert (average[name] - start[name]).norm() < 0.01 * (last[name] - start[name]).norm()


def test_a_network_whose_decoder_does_not_see_the_encoder_has_no_gain(windows: Path) -> None:
    """The blind decoder equals the one that the variant `as_released` trains on the same samples in the same steps."""
    parameters = replace(PARAMETERS, decoder_sees_encoder=False)
    accelerator = make_accelerator(parameters)
    seen = WindowSelection(windows, np.arange(16))
    blind = train_blind_decoder(_untrained(parameters), parameters, seen, 0, accelerator)
    fresh, trained = _untrained(parameters).state_dict(), blind.state_dict()
    moved = {name for name, value in fresh.items() if not torch.equal(value, trained[name])}
    assert moved == {name for name in fresh if not name.startswith("encoder.")}
    for kind in _measured(windows, blind, parameters).values():
        assert kind["gain"] == pytest.approx(0.0, abs=1e-6)
