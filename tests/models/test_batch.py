"""Tests of batches: gathering from a store, frames, random draws and ragged rows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from made_scenes import lane_segments, make_batch, make_scene

from synthdrive.core.errors import InputError
from synthdrive.core.seeding import splitmix64
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.batch import collate, uniform
from synthdrive.models.goals import dense_goals, reachable_goals, sparse_goals
from synthdrive.models.polylines import AgentFrame
from synthdrive.models.ragged import Blocks, Ragged
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.scenes.scene_store_writer import SceneStoreWriter

LAST_OBSERVED, STEPS = ARGOVERSE1.last_observed, ARGOVERSE1.steps

SCENES = [make_scene(seed, others, lanes) for seed, (others, lanes) in enumerate([(3, 6), (0, 1), (5, 0), (1, 9)])]
ORIGINS = np.array([[1000.0, -500.0], [0.0, 0.0], [250.0, 7.0], [-3000.0, 4000.0]])


@pytest.fixture
def store(tmp_path: Path) -> SceneStore:
    writer = SceneStoreWriter(tmp_path, ARGOVERSE1)
    first = 0
    for scene in SCENES:
        writer.append(
            np.concatenate([points for _, _, points in scene.tracks]),
            np.concatenate([steps for _, steps, _ in scene.tracks]),
            np.array([len(steps) for _, steps, _ in scene.tracks]),
            np.array([kind for kind, _, _ in scene.tracks]),
            np.arange(STEPS) * 0.1,
            np.arange(first, first + len(scene.lanes)),
        )
        first += len(scene.lanes)
    segments = lane_segments(SCENES)
    shift = np.repeat(ORIGINS, [len(scene.lanes) for scene in SCENES], axis=0)[:, None]
    segments = segments.with_points(np.where(segments.valid[..., None], segments.points + shift, 0.0))
    names = [f"scene-{i}" for i in range(len(SCENES))]
    columns = {"scene_id": names, "city": ["X"] * 4, "origin_x": ORIGINS[:, 0], "origin_y": ORIGINS[:, 1]}
    writer.close(pa.table(columns), segments)
    return SceneStore.load(tmp_path)


def test_collate_gathers_the_stored_scenes(store):
    order = [3, 0, 0, 2, 1]
    batch, expected = collate(store, order, [7] * 5), make_batch([SCENES[i] for i in order], [7] * 5, torch.float32)
    for name in vars(expected):
        found, expected_value = getattr(batch, name), getattr(expected, name)
        if name in ("timing", "prepared"):
            assert found == expected_value
            continue
        assert found.dtype == expected_value.dtype, name
        torch.testing.assert_close(found, expected_value, rtol=0, atol=1e-5)
    assert collate(store, [2]).sample_seeds.tolist() == [2]
    assert len(batch.to("cpu")) == 5
    torch.testing.assert_close(batch.agent[1], batch.agent[2])


def test_a_batch_of_no_scenes_is_refused(store):
    with pytest.raises(InputError, match="no scene"):
        collate(store, [])


def test_a_scene_with_an_incomplete_focal_agent_is_refused(store):
    short = make_scene(0)
    kind, steps, points = short.tracks[0]
    short.tracks[0] = (kind, steps[1:], points[1:])
    with pytest.raises(InputError, match="AGENT"):
        make_batch([short])


def test_agent_frame_points_along_the_heading_and_can_be_inverted():
    batch = make_batch([scene.moved(1.3, (5.0, -2.0)) for scene in SCENES])
    frame = AgentFrame.of(batch.agent, batch.timing)
    agent = frame.to_agent(batch.agent)
    assert agent[:, LAST_OBSERVED].abs().max() < 1e-12
    heading = (agent[:, 16:20] - agent[:, 14:18]).mean(1)
    assert heading[:, 0].abs().max() < 1e-12
    assert heading[:, 1].min() > 0
    torch.testing.assert_close(frame.to_city(agent), batch.agent)
    standing = AgentFrame.of(torch.ones(1, STEPS, 2), ARGOVERSE1)
    assert (standing.cos.item(), standing.sin.item()) == (0.0, 1.0)
    quarter = AgentFrame.of(batch.agent, batch.timing, torch.full((4,), math.pi / 2))
    torch.testing.assert_close(quarter.to_agent(batch.agent)[..., 0], -agent[..., 1])


def test_draws_are_splitmix64_and_uniform():
    # First outputs of splitmix64 seeded with 0 and 1234567 (Steele, Lea, Flood; the reference C code).
    seeds = torch.tensor([0, 1234567])
    expected = [16294208416658607535, 6457827717110365317]
    assert [value % (1 << 64) for value in splitmix64(seeds).tolist()] == expected
    draws = uniform(torch.arange(20000), 1)
    assert 0 <= draws.min() < draws.max() < 1
    counts = torch.histc(draws, 20, 0, 1)
    assert (counts - 1000).abs().max() < 5 * math.sqrt(1000)
    other = uniform(torch.arange(20000), 2)
    further = uniform(torch.arange(20000), 1, torch.ones(20000, dtype=torch.int64))
    for pair in (other, further):
        assert abs(float(torch.corrcoef(torch.stack([draws, pair]))[0, 1])) < 0.03
    assert torch.equal(uniform(torch.tensor([5, 9]), 1)[1:], uniform(torch.tensor([9]), 1))


def test_ragged_round_trip():
    items = Ragged.from_counts(torch.tensor([2, 0, 3]))
    packed = torch.arange(5.0)
    padded = items.pad(packed, -1.0)
    assert padded.tolist() == [[0, 1, -1], [-1, -1, -1], [2, 3, 4]]
    assert torch.equal(items.pack(padded), packed)
    assert items.take(torch.tensor([0, 3, 4])).counts.tolist() == [1, 0, 2]
    blocks = Blocks.of(items, 2)
    assert blocks.scene.tolist() == [0, 2, 2]
    assert torch.equal(blocks.pack(packed[blocks.index]), packed)


def test_reachable_goals_need_at_most_the_given_acceleration():
    observed = torch.zeros(2, 20, 2)
    observed[0, :, 1] = torch.arange(-19.0, 1.0)  # 10 m/s along +y; the second agent stands still
    goals = torch.tensor([[0.0, 30.0], [8.9, 30.0], [0.0, 20.9], [0.0, 0.0], [0.0, 8.9], [6.5, 6.5]])
    items = Ragged.from_counts(torch.tensor([4, 2]))
    kept, kept_items = reachable_goals(goals, items, observed, acceleration=2.0, timing=ARGOVERSE1)  # 9 m in 3 s
    assert kept.tolist() == goals[[0, 1, 4]].tolist()
    assert kept_items.counts.tolist() == [2, 1]


def test_dense_goals_are_the_grid_around_the_best_sparse_goals():
    random = np.random.default_rng(0)
    best = torch.from_numpy(random.normal(0, 30, (3, 20, 2)))
    valid = torch.from_numpy(random.random((3, 20)) < 0.7)
    valid[2] = False
    goals, items = dense_goals(best, valid, 2)
    for scene in range(3):
        centres = best[scene, valid[scene]].round().long().tolist()
        expected = {(x + i, y + j) for x, y in centres for i in range(-2, 3) for j in range(-2, 3)}
        found = [tuple(map(int, goal)) for goal in goals[items.scene == scene].tolist()]
        assert len(found) == len(set(found))
        assert set(found) == expected
        assert items.counts[scene] == len(expected)


@pytest.mark.parametrize("spacing", [0.7, 1.0, 3.0])
def test_sparse_goals_respect_the_spacing_and_have_no_duplicates(spacing):
    line = np.stack([np.linspace(0, 20, 10), np.zeros(10)], axis=1)
    scene = make_scene(0, lanes=0)
    scene.lanes.extend([(line, 0, False, False), (line + line[-1], 0, False, False)])  # the second continues the first
    batch = make_batch([scene])
    goals, items = sparse_goals(batch.lane_xy, batch.lane_valid, batch.lanes, spacing)
    extra = math.ceil(20 / 9 / spacing) - 1
    assert int(items.counts) == 19 + 2 * 9 * extra
    gaps = np.diff(np.sort(goals[:, 0].numpy()))
    assert gaps.max() <= spacing + 1e-9
    assert gaps.min() > 0.01
