"""Tests of scene reconstruction: what is hidden, what the encoder sees, and the frame."""

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
from synthdrive.pretraining.masking import Masking
from synthdrive.pretraining.scene_autoencoder import SceneAutoencoder, lane_poses, pose_to_agent_frame

SCENES = [make_scene(seed, others, lanes) for seed, (others, lanes) in enumerate([(3, 6), (0, 5), (6, 8), (2, 12)])]


def network(**objective) -> SceneAutoencoder:
    torch.manual_seed(0)
    model = paper(ModelParameters, hidden_size=32, sub_graph_layers=1)
    return SceneAutoencoder(model, paper(ObjectiveParameters, objective="scene", **objective), ARGOVERSE1).double()


def test_lanes_and_future_are_hidden_in_the_same_sample():
    autoencoder = network()
    prediction = autoencoder.predict(make_batch(SCENES))
    assert len(prediction.hidden_lanes) == 3 + 3 + 4 + 6
    assert prediction.hidden_agents.shape == (4, 6, 49, 10)
    losses = autoencoder.losses(prediction)
    assert min(float(losses.parts[name]) for name in ("map", "trajectory")) > 0
    losses.total.backward()
    assert all(parameter.grad is not None for parameter in autoencoder.parameters())
    assert all(float(parameter.grad.norm()) > 0 for parameter in autoencoder.encoder.parameters())


@torch.no_grad()
def test_predictions_do_not_depend_on_hidden_inputs():
    """A hidden lane matters only through its start and heading, and no track matters after the last observed step."""
    autoencoder, batch = network(), make_batch(SCENES)
    hidden = autoencoder.predict(batch).masking.lanes
    lane_xy = batch.lane_xy.clone()
    lane_xy[hidden, 2:] += 3.0 * batch.lane_valid[hidden, 2:, None]
    start, end = lane_xy[hidden, 0], lane_xy[hidden, 1]
    lane_xy[hidden, 1] = start + 0.5 * (end - start)
    later = batch.track_xy + 5.0 * (batch.track_valid & (batch.track_step > 19))[..., None]
    ours = autoencoder.predict(batch)
    theirs = autoencoder.predict(replace(batch, lane_xy=lane_xy, track_xy=later))
    torch.testing.assert_close(ours.hidden_lanes, theirs.hidden_lanes, rtol=0, atol=1e-9)
    ahead = (slice(None), slice(None), slice(19, None), slice(2, 4))
    torch.testing.assert_close(ours.hidden_agents[ahead], theirs.hidden_agents[ahead], rtol=0, atol=1e-9)
    assert not torch.allclose(autoencoder.mode_losses(ours), autoencoder.mode_losses(theirs))
    earlier = batch.track_xy + 5.0 * (batch.track_valid & (batch.track_step < 10))[..., None]
    assert not torch.allclose(ours.hidden_lanes, autoencoder.predict(replace(batch, track_xy=earlier)).hidden_lanes)


def test_conversion_from_a_pose_keeps_distances_and_heading():
    angle = torch.tensor([0.3, -1.0, 2.0, 3.0], dtype=torch.float64)
    points = torch.randn(4, 30, 2, dtype=torch.float64)
    pose = torch.stack([angle * 0 + 2.0, angle * 0 - 1.0, angle.cos(), angle.sin()], dim=-1)
    seen = pose_to_agent_frame(pose, points)
    torch.testing.assert_close((seen - pose[:, None, :2]).norm(dim=-1), points.norm(dim=-1))
    ahead = pose_to_agent_frame(pose, torch.tensor([[[1.0, 0.0]]], dtype=torch.float64).expand(4, 1, 2))[:, 0]
    torch.testing.assert_close(ahead - pose[:, :2], pose[:, 2:])


@torch.no_grad()
def test_poses_are_the_starts_and_headings_of_lanes():
    straight = [(np.array([[3.0, 4.0], [3.0, 6.0], [3.0, 8.0]]), 0, False, False)]
    scene = MadeScene(make_scene(0, 0, 0).tracks, straight)
    prediction = network(random_rotation=False).predict(make_batch([scene]))
    pose, vectors = lane_poses(prediction.lanes.vectors)[0], prediction.lanes.vectors[0]
    assert float(pose[2:].norm()) == pytest.approx(1.0)
    torch.testing.assert_close(pose[:2] + 4.0 * pose[2:], vectors[1, [9, 8]])
    assert math.isfinite(float(pose.sum()))


@torch.no_grad()
def test_losses_depend_on_neither_order_nor_city_axes_nor_batch():
    autoencoder = network(random_rotation=False, dead_mode_weight=0.0)

    def losses(scenes: list[MadeScene]) -> torch.Tensor:
        batch = make_batch(scenes)
        everything = Masking(torch.ones(len(scenes)) > 0, torch.ones(int(batch.lane_counts.sum())) > 0)
        key = autoencoder.predict(batch, masking=everything).lanes.vectors[:, 0, 9]
        masking = replace(everything, lanes=torch.floor(key.round(decimals=6) * 1e3) % 2 == 1)
        prediction = autoencoder.predict(batch, masking=masking)
        return torch.cat([autoencoder.lane_losses(prediction), autoencoder.mode_losses(prediction).flatten()])

    expected = losses(SCENES)
    random = np.random.default_rng(1)
    torch.testing.assert_close(losses([scene.reordered(random) for scene in SCENES]), expected)
    torch.testing.assert_close(losses([scene.moved(0.7, (30.0, -4.0)) for scene in SCENES]), expected)
    alone = [losses([scene]) for scene in SCENES]
    torch.testing.assert_close(torch.stack([one[0] for one in alone]), expected[:4])


def test_every_kind_of_scene_gives_finite_losses():
    autoencoder = network()
    standing = make_scene(7, 2, 4).with_agent(lambda points: points[:1] + 0 * points)
    for scenes in (
        [make_scene(0, 0, 0)],
        [make_scene(1, 2, 1)],
        [make_scene(2, 3, 0), make_scene(3, 9, 40)],
        [standing],
    ):
        autoencoder.zero_grad()
        total = autoencoder(make_batch(scenes)).total
        total.backward()
        assert torch.isfinite(total)
        assert all(torch.isfinite(parameter.grad).all() for parameter in autoencoder.parameters())
