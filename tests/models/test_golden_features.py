"""Tests of vectors, frame, goals and labels against the reference's own pre-processing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from raw_scenes import Maps, RawScene, parse_scene, scenes_from_tar

from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.batch import Batch, collate, pack
from synthdrive.models.goals import nearest_lane, sparse_goals
from synthdrive.models.polylines import ACTOR_COLUMNS, LANE_COLUMNS, AgentFrame, actor_polylines, lane_polylines
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.scenes.scene_store_writer import SceneStoreWriter

OBSERVED_STEPS = ARGOVERSE1.history_steps

pytestmark = pytest.mark.reference

EXACT = 1e-6  # m, the tolerance that the reference data states
STORED = 2e-4  # m; the store has float32 relative to the origin, and a goal sums up to 50 of them


@pytest.fixture(scope="module")
def maps(reference: Path) -> Maps:
    return Maps(reference / "argoverse1" / "hd_maps.tar.gz")


@pytest.fixture(scope="module")
def real(reference: Path):
    golden = np.load(reference / "golden" / "features.npz")
    ids = [str(scene) for scene in golden["scene_ids"]]
    raw = scenes_from_tar(reference / "argoverse1" / "forecasting_train_v1.1.tar.gz", ids)
    return golden, {scene: raw[scene] for scene in ids}


@pytest.fixture(scope="module")
def released(reference: Path):
    golden = np.load(reference / "golden" / "features_released_samples.npz")
    folder = reference / "released_samples"
    return golden, {
        str(index): parse_scene((folder / str(name)).read_text()) for index, name in enumerate(golden["file_names"])
    }


def pack_raw(scenes: list[RawScene], lanes: list[LaneSegments], dtype: torch.dtype) -> Batch:
    return pack(
        xy=np.concatenate([scene.xy for scene in scenes]),
        step=np.concatenate([scene.step for scene in scenes]),
        track_lengths=np.concatenate([scene.lengths for scene in scenes]),
        track_types=np.concatenate([scene.types for scene in scenes]),
        track_counts=np.array([len(scene.lengths) for scene in scenes]),
        times=np.stack([scene.times for scene in scenes]),
        lanes=LaneSegments.concatenate(lanes),
        lane_counts=np.array([len(part) for part in lanes]),
        sample_seeds=np.arange(len(scenes)),
        timing=ARGOVERSE1,
        dtype=dtype,
    )


def stored(scenes: dict[str, RawScene], lanes: list[LaneSegments], folder: Path) -> Batch:
    """The same scenes, written to a scene store and read back."""
    writer = SceneStoreWriter(folder, ARGOVERSE1)
    first = 0
    absolute = []
    for scene, part in zip(scenes.values(), lanes, strict=True):
        rows = np.arange(first, first + len(part), dtype=np.int32)
        writer.append(scene.xy, scene.step, scene.lengths, scene.types, scene.times, rows)
        absolute.append(part.with_points(part.points + scene.origin))
        first += len(part)
    origins = np.stack([scene.origin for scene in scenes.values()])
    cities = [scene.city for scene in scenes.values()]
    columns = {"scene_id": list(scenes), "city": cities, "origin_x": origins[:, 0], "origin_y": origins[:, 1]}
    writer.close(pa.table(columns), LaneSegments.concatenate(absolute))
    return collate(SceneStore.load(folder), range(len(scenes)))


def compare(batch: Batch, golden, keys: list[str], observed_only: bool, tolerance: float) -> None:
    frame = AgentFrame.of(batch.agent, batch.timing)
    actors = actor_polylines(batch, frame, observed_only)
    lanes = lane_polylines(batch, frame, actors.items.counts)
    points = frame[batch.lanes.scene].to_agent(batch.lane_xy)
    goals, items = sparse_goals(points, batch.lane_valid, batch.lanes, 1.0)
    future = frame.to_agent(batch.agent[:, OBSERVED_STEPS:])
    nearest = nearest_lane(points, batch.lane_valid, batch.lanes, future[:, -1])
    stored_columns = golden["columns"].tolist()
    for scene, key in enumerate(keys):
        matrix, spans = golden[f"{key}/matrix"], golden[f"{key}/polyline_spans"]
        ours = [part.vectors[part.items.scene == scene] for part in (actors, lanes)]
        masks = [part.valid[part.items.scene == scene] for part in (actors, lanes)]
        assert [int(count) for mask in masks for count in mask.sum(1)] == np.diff(spans, axis=1).ravel().tolist()
        assert f"{key}/map_start_polyline_idx" not in golden or golden[f"{key}/map_start_polyline_idx"] == len(ours[0])
        first_lane = spans[len(ours[0]), 0]
        for part, mask, columns, rows in zip(
            ours, masks, (ACTOR_COLUMNS, LANE_COLUMNS), (matrix[:first_lane], matrix[first_lane:]), strict=True
        ):
            theirs = rows[:, [stored_columns.index(column % 128) for column in columns]]
            np.testing.assert_allclose(part[mask].numpy(), theirs, rtol=0, atol=tolerance)
            assert np.count_nonzero(rows) == np.count_nonzero(theirs)  # nothing in the other columns
        theirs = golden[f"{key}/goals_2D"]
        np.testing.assert_allclose(goals[items.scene == scene].numpy(), theirs, rtol=0, atol=tolerance)
        np.testing.assert_allclose(future[scene].numpy(), golden[f"{key}/labels"], rtol=0, atol=tolerance)
        assert nearest[scene] == golden[f"{key}/stage_one_label"]
        distance = torch.linalg.vector_norm(goals[items.scene == scene] - future[scene, -1], dim=-1)
        label = int(golden[f"{key}/goals_2D_labels"])
        assert distance[label] <= distance.min() + tolerance
        angle = float(golden[f"{key}/angle"])
        np.testing.assert_allclose([frame.cos[scene], frame.sin[scene]], [np.cos(angle), np.sin(angle)], atol=tolerance)


@pytest.mark.parametrize("which", ["real", "released"])
def test_features_from_raw_points(which, request, maps):
    golden, scenes = request.getfixturevalue(which)
    lanes = [maps.lanes(scene, golden[f"{key}/lane_ids"]) for key, scene in scenes.items()]
    batch = pack_raw(list(scenes.values()), lanes, torch.float64)
    compare(batch, golden, list(scenes), which == "real", EXACT)


@pytest.mark.parametrize("which", ["real", "released"])
def test_features_from_a_scene_store(which, request, maps, tmp_path):
    golden, scenes = request.getfixturevalue(which)
    lanes = [maps.lanes(scene, golden[f"{key}/lane_ids"]) for key, scene in scenes.items()]
    compare(stored(scenes, lanes, tmp_path), golden, list(scenes), which == "real", STORED)


@pytest.mark.parametrize("which", ["real", "released"])
def test_crop_contains_exactly_the_reference_lanes(which, request, maps):
    golden, scenes = request.getfixturevalue(which)
    for key, scene in scenes.items():
        assert maps.crop_ids(scene, 50.0) == set(golden[f"{key}/lane_ids"].tolist()), key
