"""Tests of invariance: a scene's result does not depend on its batch, padding, order or the city's axes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_scenes import MadeScene, make_batch, make_scene

from given_parameters import paper
from synthdrive.config.training import ModelParameters, ObjectiveParameters
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.densetnt import DenseTNT, GoalDistribution
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.pretraining.masking import Masking

SMALL = paper(ModelParameters, hidden_size=32, dense_from_goals=20)
# others, lanes: an ordinary scene, one without others, one with a single lane, one without lanes, and a large one
SCENES = [
    make_scene(seed, others, lanes) for seed, (others, lanes) in enumerate([(3, 6), (0, 5), (4, 1), (2, 0), (40, 150)])
]
SEEDS = [11, 12, 13, 14, 15]


def densetnt(model: ModelParameters = SMALL) -> DenseTNT:
    torch.manual_seed(0)
    return DenseTNT(model, ARGOVERSE1).double()


def autoencoder(model: ModelParameters = SMALL, **objective) -> MaskedAutoencoder:
    torch.manual_seed(0)
    return MaskedAutoencoder(model, paper(ObjectiveParameters, **objective), ARGOVERSE1).double()


def forecast(network: DenseTNT, distribution: GoalDistribution, scene: int) -> tuple[np.ndarray, np.ndarray]:
    """Goals with their log-probabilities, sorted, and a completion."""
    valid = distribution.valid[scene]
    rows = torch.cat([distribution.goals[scene, valid], distribution.log_prob[scene, valid, None]], dim=1).numpy()
    rows = rows[np.lexsort(rows.round(6).T[::-1])]
    end = torch.tensor([[3.0, 20.0]], dtype=torch.float64).expand(len(distribution.goals), 1, 2)
    return rows, network.complete(distribution, end)[scene].numpy()


@torch.no_grad()
def assert_same_forecasts(network: DenseTNT, first: list[MadeScene], second: list[MadeScene]) -> None:
    ours, theirs = (network.goal_distribution(make_batch(scenes)) for scenes in (first, second))
    for scene in range(len(first)):
        for one, other in zip(forecast(network, ours, scene), forecast(network, theirs, scene), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@torch.no_grad()
def test_forecast_does_not_depend_on_the_batch():
    network = densetnt()
    together = network.goal_distribution(make_batch(SCENES))
    total = network(make_batch(SCENES)).total
    alone = []
    for scene, made in enumerate(SCENES):
        single = network.goal_distribution(make_batch([made]))
        for one, other in zip(forecast(network, together, scene), forecast(network, single, 0), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
        alone.append(network(make_batch([made])).total)
    torch.testing.assert_close(total, torch.stack(alone).mean())


def test_forecast_does_not_depend_on_order():
    random = np.random.default_rng(1)
    reordered = [scene.reordered(random) for scene in SCENES]
    assert_same_forecasts(densetnt(), SCENES, reordered)
    with pytest.raises(AssertionError):  # in the paper, the polyline's index is a feature
        assert_same_forecasts(densetnt(paper(ModelParameters, hidden_size=32, polyline_index=True)), SCENES, reordered)


def test_forecast_does_not_depend_on_the_city_axes():
    assert_same_forecasts(densetnt(), SCENES, [scene.moved(0.7 + i, (30.0, -4.0)) for i, scene in enumerate(SCENES)])


def test_forecast_does_not_depend_on_the_future():
    def swerve(points: np.ndarray) -> np.ndarray:
        points[20:] += np.random.default_rng(0).normal(0, 5, (30, 2))
        return points

    changed = []
    for scene in SCENES:
        tracks = [(kind, steps[steps < 20], points[steps < 20]) for kind, steps, points in scene.tracks[1:]]
        late = MadeScene([scene.tracks[0], *[track for track in tracks if len(track[1])]], scene.lanes)
        changed.append(late.with_agent(swerve))
    assert_same_forecasts(densetnt(), SCENES, changed)


@torch.no_grad()
def test_reconstruction_does_not_depend_on_the_batch():
    network = autoencoder(dead_mode_weight=0.0)
    together = network.reconstruct(make_batch(SCENES, SEEDS))
    assert together.is_map.any()
    assert not together.is_map.all()
    totals = []
    for scene, made in enumerate(SCENES):
        batch = make_batch([made], [SEEDS[scene]])
        single = network.reconstruct(batch)
        assert single.is_map[0] == together.is_map[scene]
        lanes = together.lane_scene == scene
        torch.testing.assert_close(together.lane_predicted[lanes], single.lane_predicted, equal_nan=True)
        torch.testing.assert_close(together.agent_predicted[scene], single.agent_predicted[0], equal_nan=True)
        totals.append(network(batch).total)
    torch.testing.assert_close(network(make_batch(SCENES, SEEDS)).total, torch.stack(totals).mean())


@pytest.mark.parametrize(
    ("model", "objective", "same"),
    [
        (SMALL, {"queries": "place"}, True),
        (SMALL, {"queries": "index"}, True),  # numbers belong to lanes, whatever their order
        (replace(SMALL, polyline_index=True), {"queries": "index"}, False),  # the paper uses the given order
    ],
)
@torch.no_grad()
def test_reconstruction_does_not_depend_on_order(model, objective, same):
    def lanes_and_losses(scenes: list[MadeScene]) -> tuple[torch.Tensor, torch.Tensor]:
        """True and predicted points of hidden lanes, in an order independent of the input, and the scenes' losses."""
        batch = make_batch(scenes, SEEDS)
        everything = Masking(torch.ones(len(scenes)) > 0, torch.ones(int(batch.lane_counts.sum())) > 0)
        lanes = network.predict(batch, masking=everything).lanes
        key = lanes.vectors[:, 0, 9]  # independent of the order
        hidden = torch.floor(key * 1e3) % 2 == 1
        numbers = torch.stack(
            [
                ((lanes.items.scene == scene) & (key < own_key)).sum()
                for scene, own_key in zip(lanes.items.scene, key, strict=True)
            ]
        )
        masking = Masking(everything.is_map, hidden, numbers)
        found = network.reconstruct(batch, masking)
        both = torch.cat([found.lane_points, found.lane_predicted], dim=-1)[hidden]
        order = torch.from_numpy(np.lexsort((key[hidden].numpy(), found.lane_scene[hidden].numpy())))
        return both[order], network.lane_losses(network.predict(batch, masking=masking))

    network = autoencoder(model, **objective)
    reordered = [scene.reordered(np.random.default_rng(1)) for scene in SCENES]
    ours, theirs = lanes_and_losses(SCENES), lanes_and_losses(reordered)
    assert len(ours[0]) > 20
    spread = torch.stack([points.std(dim=0) for points in ours[0][:, 1:, 2:].split(4) if len(points) > 1])
    assert spread.min() > 1e-4  # otherwise another order would not change the result
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-6, equal_nan=True) == same


@torch.no_grad()
def test_reconstruction_does_not_depend_on_the_city_axes():
    network = autoencoder()
    moved = [scene.moved(2.0, (100.0, 50.0)) for scene in SCENES]
    ours, theirs = (network(make_batch(scenes, SEEDS)) for scenes in (SCENES, moved))
    torch.testing.assert_close(ours.total, theirs.total)


@torch.no_grad()
def test_random_rotation_turns_every_sample_by_its_own_angle():
    with_rotation = autoencoder().reconstruct(make_batch(SCENES, SEEDS)).agent_points
    without = autoencoder(random_rotation=False).reconstruct(make_batch(SCENES, SEEDS)).agent_points
    torch.testing.assert_close(with_rotation.norm(dim=-1), without.norm(dim=-1))
    angles = [torch.atan2(points[:, -1, 1], points[:, -1, 0]) for points in (with_rotation, without)]
    turned = torch.remainder(angles[0] - angles[1], 2 * math.pi)
    assert turned.unique().numel() == len(SCENES)


@pytest.mark.parametrize("network", [densetnt(), autoencoder()], ids=["densetnt", "autoencoder"])
@pytest.mark.parametrize("which", [[0], [1], [2], [3], [4], [3, 3], [0, 1, 2, 3, 4]])
def test_every_kind_of_scene_gives_finite_losses_and_gradients(network, which):
    network.zero_grad(set_to_none=True)
    for seed in range(3):
        losses = network(make_batch([SCENES[i] for i in which], [seed + i for i in which]))
        assert torch.isfinite(losses.total)
        losses.total.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("network", [densetnt().float(), autoencoder().float()], ids=["densetnt", "autoencoder"])
def test_bfloat16_is_close_to_float32(network):
    batch = make_batch(SCENES, SEEDS, torch.float32)
    expected = network(batch).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = network(batch)
    losses.total.backward()
    assert losses.total.dtype == torch.float32
    assert float(losses.total.detach()) == pytest.approx(float(expected.detach()), rel=0.05)
    for parameter in network.parameters():
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.slow
@pytest.mark.parametrize("network", [densetnt().float(), autoencoder().float()], ids=["densetnt", "autoencoder"])
def test_compiled_network_gives_the_same_losses(network):
    compiled = torch.compile(network, backend="eager", dynamic=True)
    for scenes in (SCENES[:2], SCENES[:3]):
        batch = make_batch(scenes, SEEDS[: len(scenes)], torch.float32)
        prepared = replace(batch, prepared=network.prepare(batch))  # as in the training stages
        expected, found = network(batch).total, compiled(prepared).total
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        found.backward()
