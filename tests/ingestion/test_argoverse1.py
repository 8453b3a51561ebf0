"""Tests of ingest: the same bytes for every kind of source and number of workers, no partial files after an error."""

import gzip
import json
import re
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from raw_data import scene_rows, straight_map, write_raw
from repository import PARAMS, REPOSITORY
from synthdrive.config.data import IngestParameters
from synthdrive.core.artifacts import file_hash, read_table
from synthdrive.core.errors import InputError
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.formats.archives import add_member, reproducible_tar
from synthdrive.formats.argoverse1_writers import scene_csv
from synthdrive.ingestion.argoverse1 import ingest_maps, ingest_scenes
from synthdrive.ingestion.packing import BATCH_SCENES, find_source, scene_order
from synthdrive.ingestion.scene_subsets import fold_of_scenes
from synthdrive.scenes.lane_map import load_maps
from synthdrive.scenes.scene_store import SceneStore

STEPS = ARGOVERSE1.steps

PARAMETERS = IngestParameters("error", "error", 30.0, "official", 0, 5, 400.0, 0.0, 64, 64, 10)
SKIP = IngestParameters("skip", "error", 30.0, "official", 0, 5, 400.0, 0.0, 64, 64, 10)
FLOATS = (
    "origin_x", "origin_y", "start_time", "agent_mean_speed", "agent_max_speed", "agent_displacement",
    "agent_heading_change", "agent_lane_distance", "min_interval", "max_interval", "max_step",
)  # fmt: skip
NO_AGENT = scene_csv(scene_rows(7)).replace(b",AGENT,", b",OTHERS,")


def ingest(raw, out, parameters=PARAMETERS, workers=1, half_width=30.0):
    ingest_maps(raw, out / "maps", parameters)
    outs = {"train": out / "train", "val": out / "val"}
    return ingest_scenes(raw, outs, out / "maps", parameters, half_width, workers)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ingest")
    ingest(write_raw(folder / "raw"), folder / "out")
    return folder


def test_scenes_are_complete_and_ordered_by_id(ingested):
    store = SceneStore.load(ingested / "out" / "train")
    assert store.scene_ids == ["1", "2", "3", "10"]
    for scene in (store[k] for k in range(len(store))):
        rows = scene_rows(int(scene.scene_id))
        own = rows.track_types == 0
        np.testing.assert_allclose(scene.agent + scene.origin, rows.xy[own], atol=6e-4)  # the CSV has 1 mm
        assert len(scene.xy) == len(rows.timestamps)
    assert SceneStore.load(ingested / "out" / "val").scene_ids == ["5"]


def test_crops_contain_the_lanes_around_the_agent_in_its_city(ingested):
    store, maps = SceneStore.load(ingested / "out" / "train"), load_maps(ingested / "out" / "maps")
    for index in range(len(store)):
        scene = store[index]
        expected = maps["TST"].lanes_near(*scene.origin, 30.0)
        assert len(expected)
        np.testing.assert_array_equal(scene.lane_rows, expected + len(maps["ABC"]))
        points = store.lanes.take(scene.lane_rows).points
        np.testing.assert_array_equal(points, maps["TST"].segments.take(expected).points)


def test_manifest_has_the_expected_columns_and_types(ingested):
    table = read_table(ingested / "out" / "train" / "manifest.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    expected = {"scene_id": "string", "city": "string", "turn": "string", "at_intersection": "bool"}
    expected |= dict.fromkeys(("n_tracks", "n_rows", "n_lanes"), "int64") | dict.fromkeys(FLOATS, "double")
    assert types == expected
    (row,) = [row for row in table.to_pylist() if row["scene_id"] == "2"]
    rows = scene_rows(2)
    agent = rows.xy[rows.track_types == 0].round(3)
    assert row["n_rows"] == len(rows.timestamps)
    assert row["n_tracks"] == len(set(rows.track_ids))
    assert row["agent_displacement"] == pytest.approx(np.linalg.norm(agent[-1] - agent[0]), abs=1e-4)
    assert row["agent_lane_distance"] == pytest.approx(np.abs(agent[:, 1]).mean(), abs=1e-4)
    assert row["start_time"] == pytest.approx(2000.0)
    assert not row["at_intersection"]


def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path):
    raw = write_raw(tmp_path / "raw", train=tuple(range(2 * BATCH_SCENES + 5, 0, -1)))
    ingest(raw, tmp_path / "one")
    ingest(raw, tmp_path / "many", workers=3)
    assert file_hash(tmp_path / "one") == file_hash(tmp_path / "many")


def test_an_unpacked_folder_gives_the_same_bytes(ingested, tmp_path):
    for path in (ingested / "raw").glob("*.tar.gz"):
        with tarfile.open(path) as archive:
            archive.extractall(tmp_path / "raw")
    assert {path.name for path in (tmp_path / "raw").iterdir()} == {"map_files", "train", "val"}
    (tmp_path / "raw" / "train" / "data" / "._1.csv").write_bytes(b"junk")
    ingest(tmp_path / "raw", tmp_path / "out")
    assert file_hash(tmp_path / "out") == file_hash(ingested / "out")


def test_invalid_scene_stops_ingest_and_keeps_the_previous_output(ingested, tmp_path):
    ingest(ingested / "raw", tmp_path / "out")
    before = file_hash(tmp_path / "out" / "train")
    raw = write_raw(tmp_path / "raw", changes={10: NO_AGENT})
    with pytest.raises(InputError, match=r"train_v1\.1\.tar\.gz: train/data/10\.csv: found 0 tracks of type AGENT"):
        ingest(raw, tmp_path / "out")
    assert file_hash(tmp_path / "out" / "train") == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["maps", "train", "val"]


def test_invalid_scenes_can_be_skipped_and_are_listed(tmp_path):
    unknown = scene_csv(scene_rows(2, city="XYZ"))
    raw = write_raw(tmp_path / "raw", changes={10: NO_AGENT, 2: unknown})
    skipped = ingest(raw, tmp_path / "out", SKIP)
    assert [item.file for item in skipped["train"]] == ["train/data/2.csv", "train/data/10.csv"]
    assert SceneStore.load(tmp_path / "out" / "train").scene_ids == ["1", "3"]
    listed = json.loads((tmp_path / "out" / "train" / "skipped.json").read_text())
    assert [item["file"] for item in listed] == ["train/data/2.csv", "train/data/10.csv"]
    assert "0 tracks of type AGENT" in listed[1]["reason"]
    assert json.loads((tmp_path / "out" / "val" / "skipped.json").read_text()) == []


def test_ingest_without_a_valid_scene_is_an_error_even_when_skipping(tmp_path):
    raw = write_raw(tmp_path / "raw", train=(7,), changes={7: NO_AGENT})
    with pytest.raises(InputError, match="no usable scene"):
        ingest(raw, tmp_path / "out", SKIP)
    assert not (tmp_path / "out" / "train").exists()


def test_an_unknown_city_is_an_error(tmp_path):
    raw = write_raw(tmp_path / "raw", changes={2: scene_csv(scene_rows(2, city="XYZ"))})
    with pytest.raises(InputError, match=r"2\.csv: found city 'XYZ'; expected a city with a map: ABC, TST"):
        ingest(raw, tmp_path / "out")


def test_scene_far_from_every_lane_is_kept_with_lane_distance_nan(tmp_path):
    away = scene_rows(2, agent=np.linspace([5000.0, 0.0], [5040.0, 0.0], STEPS))
    raw = write_raw(tmp_path / "raw", changes={2: scene_csv(away)})
    ingest(raw, tmp_path / "out")
    (row,) = [row for row in SceneStore.load(tmp_path / "out" / "train").manifest.to_pylist() if row["n_lanes"] == 0]
    assert row["scene_id"] == "2"
    assert np.isnan(row["agent_lane_distance"])


def test_duplicate_scene_id_is_an_error(tmp_path):
    raw = write_raw(tmp_path / "raw")
    archive = raw / "forecasting_train_v1.1.tar.gz"
    with tarfile.open(archive) as packed:
        packed.extractall(raw)
    (raw / "train" / "again").mkdir()
    (raw / "train" / "again" / "3.csv").write_bytes((raw / "train" / "data" / "3.csv").read_bytes())
    archive.unlink()
    with pytest.raises(InputError, match="two scenes '3'"):
        ingest(raw, tmp_path / "out")


def test_error_for_missing_raw_data_lists_the_expected_names(tmp_path):
    with pytest.raises(InputError, match=r"expected one of hd_maps\.tar\.gz, .*hd_maps, map_files\. data\.raw"):
        find_source(tmp_path, "hd_maps", "map_files")


@pytest.mark.parametrize("ending", [".tar", ".tgz"])
def test_tarballs_under_other_names_give_the_same_bytes(ingested, tmp_path, ending):
    """Some browsers unpack a download and leave a .tar file."""
    raw = write_raw(tmp_path / "raw")
    for path in sorted(raw.iterdir()):
        content = path.read_bytes()
        (raw / path.name.replace(".tar.gz", ending)).write_bytes(
            gzip.decompress(content) if ending == ".tar" else content
        )
        path.unlink()
    ingest(raw, tmp_path / "out")
    assert file_hash(tmp_path / "out" / "train") == file_hash(ingested / "out" / "train")


def test_error_for_missing_raw_data_lists_similar_names(tmp_path):
    (tmp_path / "hd_maps(1).tar.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"found hd_maps\(1\)\.tar\.gz; expected one of hd_maps\.tar\.gz"):
        find_source(tmp_path, "hd_maps", "map_files")


def unpacked(raw):
    for archive in sorted(raw.glob("*.tar.gz")):
        with tarfile.open(archive) as packed:
            packed.extractall(raw)
        archive.unlink()
    return raw / "train" / "data"


@pytest.mark.parametrize("name", ["2 (1)", "2 - Copy", "2 copy"])
def test_second_copy_of_a_scene_is_refused_or_skipped_by_name(ingested, tmp_path, name):
    raw = tmp_path / "raw"
    folder = unpacked(write_raw(raw))
    (folder / f"{name}.csv").write_bytes((folder / "2.csv").read_bytes())
    with pytest.raises(InputError, match=re.escape(f"{name}.csv: found what looks like a second copy of 2.csv")):
        ingest(raw, tmp_path / "out")
    (skipped,) = ingest(raw, tmp_path / "out", SKIP)["train"]
    assert skipped.file == f"{name}.csv"
    assert SceneStore.load(tmp_path / "out" / "train").scene_ids == ["1", "2", "3", "10"]
    (tmp_path / "out" / "train" / "skipped.json").write_bytes((ingested / "out/train/skipped.json").read_bytes())
    assert file_hash(tmp_path / "out" / "train") == file_hash(ingested / "out" / "train")


def test_list_of_skipped_scenes_depends_on_neither_path_nor_order_of_the_raw_data(tmp_path):
    scene = scene_csv(scene_rows(2))
    scenes = {"2": scene, "2 (1)": scene, "10": NO_AGENT, "2 copy": scene, "3": NO_AGENT}
    for place, order in (("one", list(scenes)), ("another", list(scenes)[::-1])):
        raw = write_raw(tmp_path / place / "raw")
        with (raw / "forecasting_train_v1.1.tar.gz").open("wb") as stream, reproducible_tar(stream) as archive:
            for name in order:
                add_member(archive, f"train/data/{name}.csv", scenes[name])
        assert len(ingest(raw, tmp_path / place / "out", SKIP)["train"]) == 4
    assert file_hash(tmp_path / "one" / "out") == file_hash(tmp_path / "another" / "out")


def test_file_named_like_a_copy_is_read_if_there_is_no_original(tmp_path):
    raw = tmp_path / "raw"
    folder = unpacked(write_raw(raw))
    (folder / "2.csv").rename(folder / "2 (1).csv")
    ingest(raw, tmp_path / "out")
    assert "2 (1)" in SceneStore.load(tmp_path / "out" / "train").scene_ids


def test_csv_suffix_in_capitals_is_accepted(ingested, tmp_path):
    raw = tmp_path / "raw"
    folder = unpacked(write_raw(raw))
    (folder / "2.csv").rename(folder / "2.CSV")
    ingest(raw, tmp_path / "out")
    assert file_hash(tmp_path / "out" / "train") == file_hash(ingested / "out" / "train")


def test_scene_order_is_numbers_then_names():
    names = ["10", "9", "b", "007", "7", "a10", "a9", "0"]
    assert sorted(names, key=scene_order) == ["0", "007", "7", "9", "10", "a10", "a9", "b"]
    assert len({scene_order(name) for name in names}) == len(names)


def run_stage(raw, out, *options):
    command = [sys.executable, "stages/ingest.py", "--raw", str(raw), "--workers", "1", *options]
    command += ["--maps-out", str(out / "maps"), "--train-out", str(out / "train"), "--val-out", str(out / "val")]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_stage_writes_maps_and_both_splits_and_prints_an_error_in_one_line(tmp_path):
    raw = write_raw(tmp_path / "raw")
    done = run_stage(raw, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(SceneStore.load(tmp_path / "out" / "val")) == 1
    assert f"TST {len(straight_map())} lanes" in done.stdout
    archive = raw / "forecasting_val_v1.1.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-100])
    failed = run_stage(raw, tmp_path / "failed")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
    assert "forecasting_val_v1.1.tar.gz: found a damaged or truncated" in failed.stderr
    assert not (tmp_path / "failed" / "val").exists()


def test_stage_holds_out_a_fold_of_the_train_scenes(tmp_path):
    raw = write_raw(tmp_path / "raw", train=range(1, 9))
    (raw / "forecasting_val_v1.1.tar.gz").unlink()
    text = PARAMS.read_text()
    for name, value in (("validation", "held_out"), ("folds", 3), ("fold_block", 5.0)):
        text, changed = re.subn(rf"^  {name}: .*$", f"  {name}: {value}", text, flags=re.MULTILINE)
        assert changed == 1
    (tmp_path / "held_out.yaml").write_text(text)
    ingest(write_raw(tmp_path / "whole", train=range(1, 9)), tmp_path / "official", half_width=50.0)
    whole = SceneStore.load(tmp_path / "official" / "train")
    done = run_stage(raw, tmp_path / "out", "--params", str(tmp_path / "held_out.yaml"))
    assert done.returncode == 0, done.stderr
    train, val = (SceneStore.load(tmp_path / "out" / name) for name in ("train", "val"))
    inside = fold_of_scenes(whole, 3, 5.0) == 0
    assert val.scene_ids == [name for name, out in zip(whole.scene_ids, inside, strict=True) if out]
    assert train.scene_ids == [name for name, out in zip(whole.scene_ids, inside, strict=True) if not out]
    assert all(np.array_equal(val[i].xy, whole[int(row)].xy) for i, row in enumerate(np.flatnonzero(inside)))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["maps", "train", "val"]


def test_stage_holds_out_a_fold_of_all_scenes(tmp_path):
    raw = write_raw(tmp_path / "raw", train=range(1, 7), val=range(7, 11))
    text = PARAMS.read_text()
    for name, value in (("validation", "pooled"), ("folds", 2), ("fold_block", 5.0)):
        text, changed = re.subn(rf"^  {name}: .*$", f"  {name}: {value}", text, flags=re.MULTILINE)
        assert changed == 1
    val_ids = []
    for fold in range(2):
        (tmp_path / "pooled.yaml").write_text(re.sub(r"^  fold: .*$", f"  fold: {fold}", text, flags=re.MULTILINE))
        done = run_stage(raw, tmp_path / f"{fold}", "--params", str(tmp_path / "pooled.yaml"))
        assert done.returncode == 0, done.stderr
        train, val = (SceneStore.load(tmp_path / f"{fold}" / name) for name in ("train", "val"))
        assert sorted([*train.scene_ids, *val.scene_ids], key=int) == [str(scene) for scene in range(1, 11)]
        val_ids += val.scene_ids
    assert sorted(val_ids, key=int) == [str(scene) for scene in range(1, 11)]


@pytest.mark.reference
def test_real_crops_equal_the_official_query(reference, tmp_path):
    raw = reference / "argoverse1"
    ingest_maps(raw, tmp_path / "maps", PARAMETERS)
    outs = {"train": tmp_path / "train"}
    ingest_scenes(raw, outs, tmp_path / "maps", PARAMETERS, 50.0)
    store, golden = SceneStore.load(outs["train"]), np.load(reference / "golden" / "features.npz")
    rows = {scene_id: row for row, scene_id in enumerate(store.scene_ids)}
    for scene_id in map(str, golden["scene_ids"]):
        scene = store[rows[scene_id]]
        np.testing.assert_array_equal(store.lanes.lane_ids[scene.lane_rows], golden[f"{scene_id}/lane_ids"])
