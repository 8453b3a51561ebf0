"""Tests of the encoder against the reference's, scene by scene and in one batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_weights import NETWORK_TOLERANCE, PAPER, join, load_reference, polylines
from torch import nn

from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.encoder import VectorEncoder
from synthdrive.models.polylines import ACTOR_COLUMNS, LANE_COLUMNS

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def golden(reference: Path):
    return np.load(reference / "golden" / "encoder.npz")


@pytest.fixture(scope="module")
def encoder(golden) -> VectorEncoder:
    holder = nn.Module()
    holder.encoder = VectorEncoder(PAPER, ARGOVERSE1)
    load_reference(holder, golden)
    return holder.encoder


@pytest.mark.parametrize("together", [False, True], ids=["each_alone", "one_batch"])
@torch.no_grad()
def test_encoder(golden, encoder, together):
    keys = [str(scene) for scene in golden["scene_ids"]]
    scenes = [polylines(golden, key) for key in keys]
    batches = [(scenes, keys)] if together else [([scene], [key]) for scene, key in zip(scenes, keys, strict=True)]
    for parts, names in batches:
        actors, lanes = join([part[0] for part in parts]), join([part[1] for part in parts])
        sub = encoder.sub_graph(actors.vectors, actors.valid, ACTOR_COLUMNS)
        sub_lanes = encoder.sub_graph(lanes.vectors, lanes.valid, LANE_COLUMNS)
        features = encoder(actors, lanes)
        states, agent = encoder.global_states(features), encoder.agent_state(features)
        for scene, key in enumerate(names):
            clean = {name: golden[f"{key}/clean/{name}"] for name in ("sub", "lane_states", "inputs", "global")}
            both = torch.cat([sub[actors.items.scene == scene], sub_lanes[lanes.items.scene == scene]])
            tokens = features.valid[scene]
            assert int(tokens.sum()) == len(clean["inputs"])
            for ours, theirs in (
                (both, clean["sub"]),
                (features.lanes[scene, features.lane_valid[scene]], clean["lane_states"]),
                (features.tokens[scene, tokens], clean["inputs"]),
                (states[scene, tokens], clean["global"]),
                (agent[scene], clean["global"][0]),
            ):
                np.testing.assert_allclose(ours.numpy(), theirs, **NETWORK_TOLERANCE)
