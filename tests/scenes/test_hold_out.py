"""Folds by place: whole blocks, the same for a scene whatever else the store holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from synthdrive.core.artifacts import atomic_directory
from synthdrive.core.errors import InputError
from synthdrive.ingestion.hold_out import fold_of_scenes, write_scenes
from synthdrive.scenes.lane_segments import LaneSegments
from synthdrive.scenes.scene_store import SceneStore, SceneStoreWriter

SCENES = 120


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    """Scenes of one track and one lane, spread over 3 km x 3 km of two cities."""
    random = np.random.default_rng(1)
    lane = LaneSegments(
        lane_ids=np.zeros(1, dtype=np.int64),
        points=np.zeros((1, 10, 2)) + np.arange(10.0)[:, None],
        counts=np.full(1, 10),
        turn=np.zeros(1, dtype=np.int8),
        is_intersection=np.zeros(1, dtype=np.bool_),
        has_traffic_control=np.zeros(1, dtype=np.bool_),
    )
    directory = tmp_path_factory.mktemp("hold_out") / "store"
    with atomic_directory(directory) as partial:
        writer = SceneStoreWriter(partial)
        for scene in range(SCENES):
            xy = np.full((50, 2), scene, dtype=np.float32)
            step, times = np.arange(50, dtype=np.uint8), np.arange(50, dtype=np.float32)
            writer.append(xy, step, np.array([50]), np.zeros(1, np.uint8), times, np.zeros(1, dtype=np.int32))
        places = random.uniform(-1500.0, 1500.0, (2, SCENES))
        manifest = pa.table(
            {
                "scene_id": [f"s{scene}" for scene in range(SCENES)],
                "city": ["MIA" if scene % 2 else "PIT" for scene in range(SCENES)],
                "origin_x": places[0],
                "origin_y": places[1],
            }
        )
        writer.close(manifest, lane)
    return SceneStore.load(directory)


def test_a_block_is_whole_and_the_folds_are_alike(store: SceneStore) -> None:
    folds = fold_of_scenes(store, 4, 400.0)
    blocks: dict[tuple[str, int, int], set[int]] = {}
    for city, (x, y), fold in zip(store.cities, store.origins, folds, strict=True):
        blocks.setdefault((city, int(x // 400.0), int(y // 400.0)), set()).add(int(fold))
    assert all(len(found) == 1 for found in blocks.values())
    assert np.bincount(folds, minlength=4).min() > SCENES / 10


def test_a_part_of_a_store_holds_the_scenes_whole_and_in_the_same_fold(store: SceneStore, tmp_path: Path) -> None:
    folds = fold_of_scenes(store, 4, 400.0)
    rows = np.flatnonzero(folds != 1)
    with atomic_directory(tmp_path / "train") as partial:
        write_scenes(store, rows, partial)
    part = SceneStore.load(tmp_path / "train")
    assert part.scene_ids == [store.scene_ids[row] for row in rows]
    assert all(np.array_equal(part[place].xy, store[int(row)].xy) for place, row in enumerate(rows))
    assert np.array_equal(fold_of_scenes(part, 4, 400.0), folds[rows])


def test_an_empty_part_is_refused(store: SceneStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scenes for it"), atomic_directory(tmp_path / "none") as partial:
        write_scenes(store, np.empty(0, dtype=np.int64), partial)
