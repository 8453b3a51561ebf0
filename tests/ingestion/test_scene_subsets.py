"""Tests of selecting listed scenes from a tarball, and of spatial folds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from repository import PARAMS, REPOSITORY
from synthdrive.config.data import IngestParameters
from synthdrive.core.artifacts import atomic_directory, write_json
from synthdrive.core.errors import InputError
from synthdrive.core.parameters import load_section
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.formats.archives import Limits, add_member, read_files, reproducible_tar
from synthdrive.ingestion.packing import SKIPPED
from synthdrive.ingestion.scene_subsets import (
    balanced_folds,
    blocks_of_scenes,
    fold_of_scenes,
    hold_out,
    pool_scenes,
    read_ids,
    select_scenes,
    write_scenes,
)
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.scenes.scene_store_writer import SceneStoreWriter

LIMITS = Limits(10**6, 10**8)


@pytest.fixture
def train_tarball(tmp_path: Path) -> Path:
    """A train tarball with twelve scenes and a text file."""
    path = tmp_path / "forecasting_train_v1.1.tar.gz"
    with path.open("wb") as stream, reproducible_tar(stream) as archive:
        add_member(archive, "train/Argoverse-Terms_of_Use.txt", b"3")
        for number in range(1, 13):
            add_member(archive, f"train/data/{number}.csv", f"scene {number}".encode())
    return path


def test_selected_scenes_are_copied_unchanged(train_tarball: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "forecasting_val_v1.1.tar.gz"
    (tmp_path / "ids.txt").write_text("11\n3\n")
    command = [sys.executable, REPOSITORY / "stages" / "select_scenes.py", "--source", train_tarball, "--split", "val"]
    command += ["--ids", tmp_path / "ids.txt", "--out", out, "--params", PARAMS]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    done = subprocess.run([*map(str, command)], check=True, env=environment, capture_output=True, text=True)
    assert "2 scenes" in done.stdout
    found = list(read_files(out, lambda name: True, LIMITS))
    assert found == [("val/data/3.csv", b"scene 3"), ("val/data/11.csv", b"scene 11")]
    for name, content in read_files(train_tarball, lambda name: True, LIMITS):
        (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "unpacked" / name).write_bytes(content)
    select_scenes(tmp_path / "unpacked", ["3", "11"], "val", tmp_path / "again.tar.gz", LIMITS)
    assert (tmp_path / "again.tar.gz").read_bytes() == out.read_bytes()


def test_missing_scene_is_named_and_nothing_is_written(train_tarball: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no scene 13 \(1 missing\); expected all 2"):
        select_scenes(train_tarball, ["3", "13"], "val", tmp_path / "out.tar.gz", LIMITS)
    assert not (tmp_path / "out.tar.gz").exists()


@pytest.mark.parametrize(
    ("text", "message"), [("", "no id"), ("1\n2\n1\n", "1 twice"), ("\xe4", "characters that are not ASCII")]
)
def test_invalid_lists_of_ids_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_ids(tmp_path / "ids.txt")


def test_a_folder_instead_of_a_list_of_ids_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found a file that cannot be read"):
        read_ids(tmp_path)


@pytest.mark.parametrize(("split", "count"), [("train", 2399), ("val", 336)])
def test_scene_lists_of_the_study_can_be_read(split: str, count: int) -> None:
    assert len(read_ids(REPOSITORY / "studies" / "argoverse1_small" / "scenes" / f"{split}.txt")) == count


def test_csv_suffix_in_capitals_is_accepted_and_a_duplicate_scene_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "train" / "data"
    data.mkdir(parents=True)
    (data / "7.CSV").write_bytes(b"scene 7")
    select_scenes(tmp_path / "train", ["7"], "val", tmp_path / "out.tar.gz", LIMITS)
    assert list(read_files(tmp_path / "out.tar.gz", lambda name: True, LIMITS)) == [("val/data/7.csv", b"scene 7")]
    (data / "again").mkdir()
    (data / "again" / "7.csv").write_bytes(b"another scene 7")
    (data / "last").mkdir()
    (data / "last" / "8.csv").write_bytes(b"scene 8")
    with pytest.raises(InputError, match="scene 7 again"):
        select_scenes(tmp_path / "train", ["7", "8"], "val", tmp_path / "out.tar.gz", LIMITS)


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
        writer = SceneStoreWriter(partial, ARGOVERSE1)
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


def test_folds_keep_blocks_whole_and_have_similar_sizes(store: SceneStore) -> None:
    folds = fold_of_scenes(store, 4, 400.0)
    blocks: dict[tuple[str, int, int], set[int]] = {}
    for city, (x, y), fold in zip(store.cities, store.origins, folds, strict=True):
        blocks.setdefault((city, int(x // 400.0), int(y // 400.0)), set()).add(int(fold))
    assert all(len(found) == 1 for found in blocks.values())
    assert np.bincount(folds, minlength=4).min() > SCENES / 10


def test_subset_of_a_store_keeps_scenes_and_their_folds(store: SceneStore, tmp_path: Path) -> None:
    folds = fold_of_scenes(store, 4, 400.0)
    rows = np.flatnonzero(folds != 1)
    with atomic_directory(tmp_path / "train") as partial:
        write_scenes(store, rows, partial)
    part = SceneStore.load(tmp_path / "train")
    assert part.scene_ids == [store.scene_ids[row] for row in rows]
    assert all(np.array_equal(part[place].xy, store[int(row)].xy) for place, row in enumerate(rows))
    assert np.array_equal(fold_of_scenes(part, 4, 400.0), folds[rows])


def test_empty_subset_is_refused(store: SceneStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scenes for it"), atomic_directory(tmp_path / "none") as partial:
        write_scenes(store, np.empty(0, dtype=np.int64), partial)


def test_balanced_folds_keep_blocks_whole_and_contain_both_cities(store: SceneStore) -> None:
    folds = balanced_folds(store, 5, 400.0)
    fold_of_block = dict(zip(blocks_of_scenes(store, 400.0), folds, strict=True))
    assert [fold_of_block[block] for block in blocks_of_scenes(store, 400.0)] == folds.tolist()
    for city in ("MIA", "PIT"):
        sizes = np.bincount(folds[np.array(store.cities) == city], minlength=5)
        assert sizes.min() >= 11  # of 60 scenes of each city
    assert np.ptp(np.bincount(folds)) <= 2


def test_pooled_folds_validate_every_scene_once_and_train_at_a_distance(store: SceneStore, tmp_path: Path) -> None:
    for name, rows in (("train", np.arange(1, SCENES, 2)), ("val", np.arange(0, SCENES, 2))):
        with atomic_directory(tmp_path / name) as partial:
            write_scenes(store, rows, partial)
            write_json(partial / SKIPPED, [])
    pool_scenes([tmp_path / "train", tmp_path / "val"], tmp_path / "all")
    pooled = SceneStore.load(tmp_path / "all")
    assert pooled.scene_ids == sorted(store.scene_ids)  # s0, s1, s10, ...
    row = pooled.scene_ids.index("s7")
    assert np.array_equal(pooled[row].xy, store[7].xy)
    assert pooled[row].city == store[7].city
    val_ids: list[str] = []
    for fold in range(5):
        parameters = load_section(IngestParameters, "ingest", PARAMS)
        parameters.validation, parameters.fold, parameters.fold_distance = "pooled", fold, 150.0
        held, near = hold_out(tmp_path / "all", tmp_path / "out" / "train", tmp_path / "out" / "val", parameters)
        train, val = SceneStore.load(tmp_path / "out" / "train"), SceneStore.load(tmp_path / "out" / "val")
        assert len(val) == held
        assert len(train) + len(val) + near == SCENES
        assert near > 0
        for city in ("MIA", "PIT"):
            here, there = (part.origins[np.array(part.cities) == city] for part in (train, val))
            assert np.hypot(*(here[:, None] - there[None]).T).min() >= 150.0
        val_ids += val.scene_ids
    assert sorted(val_ids) == sorted(store.scene_ids)


def test_a_scene_in_both_stores_is_refused(store: SceneStore, tmp_path: Path) -> None:
    for name in ("train", "val"):
        with atomic_directory(tmp_path / name) as partial:
            write_scenes(store, np.arange(3), partial)
            write_json(partial / SKIPPED, [])
    with pytest.raises(InputError, match="scene s0 and 2 others in both"):
        pool_scenes([tmp_path / "train", tmp_path / "val"], tmp_path / "all")
