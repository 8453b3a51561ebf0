"""Tests of the masked autoencoder's options."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_scenes import MadeScene, make_batch, make_scene

from given_parameters import paper
from synthdrive.config.training import ModelParameters, ObjectiveParameters
from synthdrive.core.errors import ParameterError
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.batch import Batch
from synthdrive.models.ragged import Ragged
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.pretraining.masking import draw_masking
from synthdrive.pretraining.reconstruction_floors import lane_floors
from synthdrive.pretraining.reconstructor import dead_mode_losses

SMALL = paper(ModelParameters, hidden_size=32)
SCENES = [make_scene(seed, others, lanes) for seed, (others, lanes) in enumerate([(3, 6), (0, 5), (6, 8), (2, 12)])]
MAP, TRAJECTORY = {"map_probability": 1.0}, {"map_probability": 0.0}


def autoencoder(**objective) -> MaskedAutoencoder:
    torch.manual_seed(0)
    return MaskedAutoencoder(SMALL, paper(ObjectiveParameters, random_rotation=False, **objective), ARGOVERSE1).double()


@pytest.mark.parametrize("kind", [MAP, TRAJECTORY, {"map_probability": 0.5}])
@pytest.mark.parametrize("sees_encoder", [False, True])
def test_released_mask_leaves_the_encoder_without_gradient(kind, sees_encoder):
    """With the decoder mask of the paper's release, no gradient reaches any encoder tensor (docs/method.md 4.6)."""
    network = autoencoder(decoder_sees_encoder=sees_encoder, **kind)
    network(make_batch(SCENES, [1, 2, 3, 4])).total.backward()
    norms = {name: float(parameter.grad.norm()) for name, parameter in network.encoder.named_parameters()}
    assert len(norms) == 2 * 4 + 3 * 5 + 6
    for name, norm in norms.items():
        assert (norm > 0) == sees_encoder, name
    assert all(parameter.grad is not None for parameter in network.parameters())  # as data parallelism requires


def test_masking_follows_map_probability_and_mask_ratio():
    lanes = Ragged.from_counts(torch.arange(4000) % 13)
    masking = draw_masking(torch.arange(4000), lanes, 0.7, 0.5)
    assert masking.is_map.double().mean() == pytest.approx(0.7, abs=0.03)
    hidden = torch.zeros(4000, dtype=torch.int64).index_add_(0, lanes.scene, masking.lanes.long())
    expected = lanes.counts - (lanes.counts * 0.5).floor().long()
    assert torch.equal(hidden, torch.where(masking.is_map, expected, 0))
    fraction = (
        masking.lanes[(lanes.counts[lanes.scene] == 12) & masking.is_map[lanes.scene]].view(-1, 12).double().mean(0)
    )
    assert fraction.min() > 0.4
    assert fraction.max() < 0.6
    assert torch.equal(draw_masking(torch.arange(4000), lanes, 0.7, 0.5).lanes, masking.lanes)


@torch.no_grad()
def test_map_samples_hide_lanes_and_never_actors():
    prediction = autoencoder(**MAP).predict(make_batch(SCENES))
    assert prediction.hidden_agents.shape[0] == 0
    assert len(prediction.hidden_lanes) == int(prediction.masking.lanes.sum()) == 3 + 3 + 4 + 6
    changed = [scene.reordered(np.random.default_rng(0)) for scene in SCENES]
    assert len(autoencoder(**MAP).predict(make_batch(changed)).hidden_lanes) == 3 + 3 + 4 + 6


@torch.no_grad()
def test_predictions_do_not_depend_on_hidden_inputs():
    """A hidden lane matters only through its first vector, a hidden agent only through steps that define the frame."""
    lanes = autoencoder(**MAP)
    batch = make_batch(SCENES)
    hidden = lanes.predict(batch).masking.lanes
    moved = batch.lane_xy.clone()
    moved[hidden, 2:] += 3.0 * batch.lane_valid[hidden, 2:, None]
    ours, theirs = (lanes.predict(replace(batch, lane_xy=xy)).hidden_lanes for xy in (moved, batch.lane_xy))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    agents = autoencoder(**TRAJECTORY)
    swerved = [
        scene.with_agent(lambda points: np.where(np.arange(50)[:, None] < 20, points, points + 4)) for scene in SCENES
    ]
    ours, theirs = (agents.predict(make_batch(scenes)) for scenes in (SCENES, swerved))
    torch.testing.assert_close(ours.hidden_agents, theirs.hidden_agents, rtol=0, atol=1e-9)
    assert not torch.allclose(agents.mode_losses(ours), agents.mode_losses(theirs))


@pytest.mark.parametrize("kind", [MAP, TRAJECTORY])
@torch.no_grad()
def test_predictions_depend_on_other_actors(kind):
    network = autoencoder(**kind)
    others = make_batch([SCENES[2]])
    moved = others.track_xy.clone()
    moved[1:] += 5.0 * others.track_valid[1:, :, None]
    ours, theirs = (network.reconstruct(replace(others, track_xy=xy)) for xy in (others.track_xy, moved))
    name = "lane_predicted" if kind is MAP else "agent_predicted"
    ours, theirs = getattr(ours, name).nan_to_num(), getattr(theirs, name).nan_to_num()
    assert not torch.allclose(ours, theirs)


@pytest.mark.parametrize("history_only", [False, True])
@torch.no_grad()
def test_history_only_hides_the_future_from_the_encoder(history_only):
    network = autoencoder(history_only=history_only, **MAP)
    batch = make_batch(SCENES)
    later = batch.track_xy + 5.0 * (batch.track_valid & (batch.track_step > 19))[..., None]
    ours, theirs = (network.predict(replace(batch, track_xy=xy)) for xy in (batch.track_xy, later))
    assert torch.allclose(ours.hidden_lanes, theirs.hidden_lanes, rtol=0, atol=1e-9) == history_only
    full = autoencoder(history_only=history_only, **TRAJECTORY).predict(batch)
    assert full.hidden_agents.shape[2] == 49  # the target is still the whole trajectory


@torch.no_grad()
def test_losses_follow_the_options_for_targets_and_padding():
    batch = make_batch(SCENES)
    for kind in (MAP, TRAJECTORY):
        prediction = autoencoder(targets="xy", **kind).predict(batch)
        all_columns = autoencoder(**kind)
        xy_only = autoencoder(targets="xy", **kind)
        truth = prediction.lanes.take(prediction.masking.hidden)
        agents = prediction.agents.vectors[:, None].expand(-1, 6, -1, -1)
        changed = replace(
            prediction,
            hidden_lanes=truth.vectors + torch.tensor([0.0] * 11 + [1.0]),  # wrong only in the previous x
            hidden_agents=agents + torch.tensor([0.0] * 4 + [1.0] + [0.0] * 5),
        )
        if kind is TRAJECTORY:
            assert float(xy_only.mode_losses(changed).max()) == 0
            assert all_columns.mode_losses(changed).flatten().tolist() == pytest.approx([1 / 9] * 24)
        else:
            assert float(xy_only.lane_losses(changed).max()) == 0
            assert all_columns.lane_losses(changed).tolist() == pytest.approx([1 / 11] * 4)
    short = make_batch([SCENES[0]])
    with_padding = autoencoder(lane_padding_in_loss=True, **MAP)
    prediction = with_padding.predict(short)
    zeros = replace(prediction, hidden_lanes=prediction.hidden_lanes * 0)
    assert float(with_padding.lane_losses(zeros)) < float(autoencoder(**MAP).lane_losses(zeros))


def curved_scene(seed: int) -> MadeScene:
    """The focal agent and four lanes of 27 m that bend by about a quarter circle."""
    random, lanes = np.random.default_rng(seed), []
    for _ in range(4):
        heading = random.uniform(0, 2 * np.pi) + np.linspace(0, random.choice([-1, 1]) * random.uniform(1.0, 1.6), 9)
        steps = 3.0 * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        points = random.normal(0, 15, 2) + np.cumsum(np.concatenate([np.zeros((1, 2)), steps]), axis=0)
        lanes.append((points, int(random.integers(-1, 2)), bool(random.random() < 0.5), bool(random.random() < 0.5)))
    return replace(make_scene(seed, 0, 0), lanes=lanes)


@torch.no_grad()
def spread_between_lanes(network: MaskedAutoencoder, batch: Batch) -> list[float]:
    """For each point along the lane, the smallest standard deviation of a coordinate over a scene's hidden lanes."""
    prediction = network.predict(batch)
    scene = prediction.lanes.items.scene[prediction.masking.lanes]
    lanes = [prediction.hidden_lanes[scene == number][..., 8:10] for number in range(len(batch))]
    return torch.stack([points.std(dim=0).amin(dim=-1) for points in lanes]).amin(dim=0).tolist()


@pytest.mark.parametrize("query", ["place", "index"])
def test_predictions_differ_between_the_hidden_lanes_of_a_scene(query):
    """They differ at every point, before training and after a few steps, so every query identifies its lane."""
    network = autoencoder(queries=query, **MAP)
    batch = make_batch(SCENES)
    assert min(spread_between_lanes(network, batch)) > 1e-3
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(10):
        optimiser.zero_grad()
        network(batch).total.backward()
        optimiser.step()
    assert min(spread_between_lanes(network, batch)) > 1e-2


@pytest.mark.parametrize(("queries", "containing"), [("place", 49), ("index", 1)])
@torch.no_grad()
def test_queries_of_a_trajectory_contain_its_first_vector(queries, containing):
    """In all queries or in the first one alone; only these differ between scenes."""
    network, asked = autoencoder(queries=queries, **TRAJECTORY), []
    network.agent_decoder.register_forward_pre_hook(lambda _, given: asked.append(given[0]))
    network.predict(make_batch(SCENES))
    differing = (asked[0][1:] != asked[0][:1]).any(dim=2)
    assert differing.sum(dim=1).tolist() == [containing] * 3


def test_lane_numbers_are_drawn_anew_for_each_sample():
    lanes = Ragged.from_counts(torch.full((2000,), 5))
    numbers = draw_masking(torch.arange(2000), lanes, 0.7, 0.5).numbers.view(2000, 5)
    assert torch.equal(numbers.sort(dim=1).values, torch.arange(5).expand(2000, -1))
    frequency = torch.nn.functional.one_hot(numbers, 5).double().mean(dim=0)
    assert (frequency - 0.2).abs().max() < 0.04


def test_a_small_network_can_overfit_a_few_windows():
    """Its loss on 32 windows falls below that of extrapolating each lane's first vector."""
    batch = make_batch([curved_scene(seed) for seed in range(32)], dtype=torch.float32)
    torch.manual_seed(0)
    model = paper(ModelParameters, hidden_size=32, sub_graph_layers=1, coordinate_scale=10.0)
    objective = paper(ObjectiveParameters, queries="place", random_rotation=False, **MAP)
    network = MaskedAutoencoder(model, objective, ARGOVERSE1)
    prediction = network.predict(batch)
    hidden = prediction.lanes.take(prediction.masking.hidden).vectors
    extrapolated = replace(prediction, hidden_lanes=lane_floors(hidden)["straight"])
    optimiser = torch.optim.Adam(network.parameters())
    for step in range(steps := 200):
        optimiser.param_groups[0]["lr"] = 5e-3 * min(1.0, (step + 1) / 30) * (1.0 - step / steps)
        optimiser.zero_grad()
        network(batch).total.backward()
        optimiser.step()
    with torch.no_grad():
        assert float(network(batch).total) < float(network.lane_losses(extrapolated).mean())


def test_dead_mode_loss_is_that_of_the_first_mode_that_has_not_won():
    random = np.random.default_rng(0)
    for _ in range(20):
        losses = torch.from_numpy(random.random((12, 4)))
        winner = losses.argmin(1)
        wins, expected = [0] * 4, []
        for sample in range(12):
            wins[winner[sample]] += 1
            dead = [mode for mode in range(4) if wins[mode] == 0]
            expected.append(float(losses[sample, dead[0]]) if dead else 0.0)
        assert dead_mode_losses(losses, winner).tolist() == expected


@pytest.mark.parametrize(("key", "value"), [("hidden_size", 36), ("sub_graph_heads", 3)])
def test_an_indivisible_hidden_size_is_refused(key, value):
    with pytest.raises(ParameterError, match=key):
        paper(ModelParameters, **{key: value})
