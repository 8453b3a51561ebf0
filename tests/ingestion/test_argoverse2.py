"""Tests of Argoverse 2: scenarios and maps are stored completely and exactly, from every kind of archive."""

import json
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from argoverse2_data import (
    map_json,
    parquet,
    scenario_columns,
    scenario_id,
    scenario_pair,
    segment,
    street_map,
    write_split,
)
from given_parameters import committed
from repository import PARAMS, REPOSITORY
from synthdrive.checks.tables import scene_table
from synthdrive.config.data import IngestParameters
from synthdrive.core.artifacts import file_hash
from synthdrive.core.errors import InputError
from synthdrive.core.geometry import distance_to_polyline
from synthdrive.core.timing import ARGOVERSE2, Timing
from synthdrive.formats.argoverse2_map_reader import read_vehicle_lanes
from synthdrive.formats.argoverse2_scene_reader import read_scenario
from synthdrive.ingestion import argoverse2
from synthdrive.ingestion.argoverse2 import ingest_local_maps, ingest_scenarios
from synthdrive.ingestion.scene_subsets import hold_out, pool_scenes
from synthdrive.scenes.lane_map import NO_LANE, load_maps
from synthdrive.scenes.scene_store import AGENT, AV, OTHERS, SceneStore, follows_lanes

PARAMETERS = committed(IngestParameters, local_maps=3)
SKIP = replace(PARAMETERS, on_bad_scene="skip")
MAX_DEVIATION = 0.25  # m, of a stored centreline from the line through its ten points


@pytest.fixture
def files():
    return {name: content for number in range(1, 7) for name, content in scenario_pair(number).items()}


def scenario_ids(numbers):
    return {scenario_id(number) for number in numbers}


def ingest(raw, out, parameters=PARAMETERS, timing=ARGOVERSE2, split="train", workers=1):
    return ingest_scenarios(raw, {split: out}, parameters, 50.0, timing, workers)[split]


def read(columns, number=1, timing=ARGOVERSE2, **options):
    return read_scenario(parquet(columns), scenario_id(number), "file", timing, **options)


def test_a_scenario_becomes_a_scene_around_its_focal_track():
    scene = read(scenario_columns(7), 7)
    assert scene.scene_id == scenario_id(7)
    assert scene.track_types.tolist() == [AGENT, AV, OTHERS]
    assert scene.track_lengths.tolist() == [110, 110, 35]
    np.testing.assert_allclose(scene.origin, [1000.0 + 7 + 49, 50.0 + 0.1 * np.sin(49)])
    np.testing.assert_allclose(scene.xy[:110, 0], np.arange(110) - 49.0, atol=1e-5)
    assert scene.step[220:].tolist() == list(range(5, 40))
    np.testing.assert_allclose(scene.times, np.arange(110) * 0.1)
    assert (scene.agent_track_id, scene.agent_type, scene.city) == ("7", "vehicle", "austin")


def test_test_scenario_has_only_the_observed_steps():
    scene = read(scenario_columns(1, steps=50), future=False)
    assert len(scene.times) == scene.track_lengths[0] == 50
    whole = read(scenario_columns(1), future=False)
    np.testing.assert_array_equal(whole.xy, scene.xy)


def test_shorter_timing_cuts_the_scenario_around_the_last_observed_step():
    whole, part = read(scenario_columns(1)), read(scenario_columns(1), timing=Timing(20, 30, 0.1))
    np.testing.assert_array_equal(part.xy[:50], whole.xy[30:80])
    np.testing.assert_array_equal(part.origin, whole.origin)
    assert part.track_lengths.tolist() == [50, 50, 10]  # the cyclist's last ten steps
    assert part.start_time == pytest.approx(whole.start_time + 3.0)


def test_rows_may_be_in_any_order():
    columns = scenario_columns(1)
    order = np.random.default_rng(0).permutation(len(columns["track_id"]))
    shuffled = read({name: [values[row] for row in order] for name, values in columns.items()})
    expected = read(columns)
    np.testing.assert_array_equal(shuffled.xy[:220], expected.xy[:220])
    np.testing.assert_array_equal(shuffled.step[:220], expected.step[:220])


def keep_rows(columns, keep):
    rows = [row for row in range(len(columns["track_id"])) if keep(columns, row)]
    return {name: [values[row] for row in rows] for name, values in columns.items()}


def changed(name, value, row=None):
    def change(columns):
        values = list(columns[name])
        for place in range(len(values)) if row is None else [row]:
            values[place] = value
        return {**columns, name: values}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {k: v for k, v in c.items() if k != "city"}, "a column city"),
        (changed("scenario_id", "another"), "'another'; expected '00000001-"),
        (changed("focal_track_id", "404"), "no row of the focal track '404'"),
        (changed("position_x", float("nan"), 3), "row 4: found position .nan"),
        (changed("position_x", None, 3), "1 rows without position_x"),
        (changed("position_x", 1e6, 3), "m from the focal track"),
        (changed("timestep", 110, 3), "steps 0 to 110"),
        (changed("timestep", 4, 3), "'AV' twice at one step"),
        (changed("num_timestamps", 91), "91 time stamps"),
        (changed("end_timestamp", 1.0), "steps of"),
        (changed("city", "miami", 3), "several values of city"),
        (changed("object_type", "spaceship"), "'spaceship'; expected one of vehicle"),
        (lambda c: keep_rows(c, lambda c, r: (c["track_id"][r], c["timestep"][r]) != ("1", 80)), "without step 80"),
        (lambda c: keep_rows(c, lambda c, r: c["timestep"][r] < 50), "without step 50"),
        (lambda c: {**c, "timestep": [str(v) for v in c["timestep"]]}, "column timestep: found type string"),
    ],
)
def test_invalid_scenario_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        read(change(scenario_columns(1)))


@pytest.mark.parametrize("content", [b"", b"PAR1", parquet(scenario_columns(1))[:-200], b"x" * 1000])
def test_a_damaged_file_is_refused(content):
    with pytest.raises(InputError, match="unreadable Parquet"):
        read_scenario(content, scenario_id(1), "file", ARGOVERSE2)


def test_only_vehicle_lanes_are_read_and_neighbours_have_the_same_direction():
    lanes = read_vehicle_lanes(map_json(street_map(0)), "map")
    assert lanes.ids == [1, 2, 3, 4]  # BIKE is left out
    assert lanes.left == [1, NO_LANE, NO_LANE, NO_LANE]  # 3 is oncoming
    assert lanes.right == [NO_LANE, 0, NO_LANE, NO_LANE]
    assert lanes.successors == [[3], [], [], []]
    assert lanes.left_out == {"lanes of type BIKE": 1, "links beyond the edge": 1}
    lane_map = lanes.lane_map("here")
    assert lane_map.segments.turn.tolist() == [0, 0, 0, -1]
    assert not lane_map.segments.has_traffic_control.any()
    assert lane_map.predecessors.of(3).tolist() == [0]
    assert lane_map.segments.counts.tolist() == [10] * 4


def test_missing_centreline_is_computed_from_the_boundaries():
    record = {**segment(1, [(0.0, 0.0), (30.0, 0.0), (60.0, 0.0)]), "centerline": None}
    (line,) = read_vehicle_lanes(map_json({"1": record}), "map").lines
    np.testing.assert_allclose(line, np.stack([np.linspace(0, 60, 10), np.zeros(10)], axis=1), atol=1e-9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "unreadable JSON"),
        (b"[]", "no lane_segments"),
        (b'{"lane_segments": {"1": {}}}', "id None"),
        (map_json({"1": segment(1, [(0, 0), (1, 0)]), "2": segment(1, [(0, 0), (1, 0)])}), "a second one"),
        (map_json({"1": segment(1, [(5, 5), (5, 5)])}), "all the same"),
        (map_json({"1": segment(1, [(0, 0), (float("inf"), 0)])}), "not all of them numbers"),
        (map_json({"1": segment(1, [(0, 0), (1, 0)], successors=["x"])}), "successors"),
        (map_json({"1": segment(1, [(0, 0), (1, 0)], centerline=[[1, 2]])}), "no list of points"),
    ],
)
def test_invalid_map_is_refused(content, message):
    with pytest.raises(InputError, match=message):
        read_vehicle_lanes(content, "map")


def test_the_same_scenarios_give_the_same_bytes(tmp_path, files):
    write_split(tmp_path / "a" / "train.tar", files)
    order = sorted(files, key=lambda name: name.rpartition("/")[2])  # all maps, then all scenarios
    write_split(tmp_path / "b" / "train.tar", files, order[::-1])
    for name, content in files.items():
        (tmp_path / "c" / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / "train" / name).write_bytes(content)
    hashes = set()
    for raw, workers in (("a", 1), ("b", 2), ("c", 1)):
        ingest(tmp_path / raw, tmp_path / f"{raw}-store", workers=workers)
        ingest_local_maps(tmp_path / raw, tmp_path / f"{raw}-maps", scenario_ids(range(1, 7)), PARAMETERS)
        hashes.add((file_hash(tmp_path / f"{raw}-store"), file_hash(tmp_path / f"{raw}-maps")))
    assert len(hashes) == 1
    store = SceneStore.load(tmp_path / "a-store")
    assert store.scene_ids == [scenario_id(number) for number in range(1, 7)]
    assert (store.timing, store.maps, store.steps) == (ARGOVERSE2, "local", 110)
    assert store.manifest["focal_track_id"].to_pylist() == [str(number) for number in range(1, 7)]
    for number, scene in enumerate((store[index] for index in range(6)), start=1):
        lanes = store.lanes.take(scene.lane_rows)
        assert lanes.lane_ids.tolist() == [1, 2, 3, 4]
        assert lanes.points[0, 0, 0] == 1000.0 + number - 60.0  # the lanes of this scenario
    assert len(store.lanes) == 24
    assert isinstance(store.lanes.points.base, np.memmap)


def test_kept_maps_are_a_sample_of_all_maps(tmp_path, files):
    write_split(tmp_path / "train.tar", files)
    few = ingest_local_maps(tmp_path, tmp_path / "few", scenario_ids(range(1, 7)), PARAMETERS)
    all_of_them = ingest_local_maps(
        tmp_path, tmp_path / "all", scenario_ids(range(1, 7)), replace(PARAMETERS, local_maps=100)
    )
    assert len(few) == 3
    assert len(all_of_them) == 6
    assert {lane_map.city for lane_map in few} <= {lane_map.city for lane_map in all_of_them}
    assert list(load_maps(tmp_path / "few")) == sorted(lane_map.city for lane_map in few)


def test_held_out_scenes_keep_only_their_own_lanes(tmp_path, files):
    write_split(tmp_path / "train.tar", files)
    ingest(tmp_path, tmp_path / "whole")
    halves = replace(PARAMETERS, validation="held_out", folds=2, fold_block=1.0, fold_distance=0.0)
    held, _ = hold_out(tmp_path / "whole", tmp_path / "train", tmp_path / "val", halves)
    train, val = SceneStore.load(tmp_path / "train"), SceneStore.load(tmp_path / "val")
    assert (len(train), len(val)) == (6 - held, held)
    assert (len(train.lanes), len(val.lanes)) == (4 * (6 - held), 4 * held)
    assert train.timing == ARGOVERSE2


@pytest.mark.parametrize("validation", ["official", "held_out", "pooled"])
def test_stage_keeps_no_map_of_a_val_scene(tmp_path, monkeypatch, validation):
    for split, numbers in (("train", range(1, 13)), ("val", range(21, 27))):
        files = {name: content for number in numbers for name, content in scenario_pair(number).items()}
        write_split(tmp_path / "raw" / f"{split}.tar", files)
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    values["data"] |= {"source": "argoverse2", "raw": "raw"}
    values["scene"]["timing"] |= {"history_steps": 50, "future_steps": 60}
    values["ingest"] |= {"validation": validation, "folds": 2, "fold_block": 1.0, "fold_distance": 0.0}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ingest.py", "--workers", "1"])
    runpy.run_path(str(REPOSITORY / "stages" / "ingest.py"))["main"]()

    maps = set(load_maps(Path("data/maps")))
    train, val = (set(SceneStore.load(Path("data/scenes") / split).scene_ids) for split in ("train", "val"))
    assert not maps & val
    assert maps == train  # all of them, as ingest.local_maps is larger
    assert bool(train & scenario_ids(range(21, 27))) == (validation == "pooled")


def test_pooled_scenes_keep_their_own_lanes(tmp_path, files):
    names = list(files)
    for split, chosen in (("train", names[:8]), ("val", names[8:])):
        write_split(tmp_path / f"{split}.tar", {name: files[name] for name in chosen})
        ingest(tmp_path, tmp_path / f"{split}-store", split=split)
    pool_scenes([tmp_path / "val-store", tmp_path / "train-store"], tmp_path / "pooled")
    write_split(tmp_path / "all" / "train.tar", files)
    ingest(tmp_path / "all", tmp_path / "whole")
    assert file_hash(tmp_path / "pooled") == file_hash(tmp_path / "whole")


def test_scenario_without_its_map_is_an_error_or_skipped(tmp_path, files):
    lone = f"{scenario_id(3)}/log_map_archive_{scenario_id(3)}.json"
    write_split(tmp_path / "train.tar", {name: content for name, content in files.items() if name != lone})
    with pytest.raises(InputError, match=f"{scenario_id(3)}: found no log_map_archive_"):
        ingest(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (skipped,) = ingest(tmp_path, tmp_path / "out", SKIP)
    assert skipped.file == scenario_id(3)
    assert len(SceneStore.load(tmp_path / "out")) == 5


def test_list_of_skipped_scenarios_depends_on_neither_path_nor_order_of_the_archive(tmp_path, files):
    del files[f"{scenario_id(3)}/log_map_archive_{scenario_id(3)}.json"]
    for number in (2, 5):
        name = scenario_id(number)
        files[f"{name}/scenario_{name}.parquet"] = parquet(changed("city", "miami", 3)(scenario_columns(number)))
    for place, order in (("one", list(files)), ("another", list(files)[::-1])):
        write_split(tmp_path / place / "train.tar", files, order)
        assert len(ingest(tmp_path / place, tmp_path / place / "out", SKIP)) == 3
    assert file_hash(tmp_path / "one" / "out") == file_hash(tmp_path / "another" / "out")


def test_memory_for_unpaired_files_is_limited(tmp_path, files, monkeypatch):
    from synthdrive.formats import argoverse2_scene_reader

    monkeypatch.setattr(argoverse2_scene_reader, "MOST_WAITING", 3 * len(next(iter(files.values()))))
    write_split(tmp_path / "train.tar", files, sorted(files, key=lambda name: name.rpartition("/")[2]))
    with pytest.raises(InputError, match="of which only one file has been read"):
        ingest(tmp_path, tmp_path / "out")


def test_duplicate_files_and_paths_outside_the_archive_are_refused(tmp_path, files):
    write_split(tmp_path / "train.tar", files, [*files, *list(files)[:1], *list(files)[:1]])
    with pytest.raises(InputError, match="a second file of this name"):
        ingest(tmp_path, tmp_path / "out")
    write_split(tmp_path / "val.tar", {f"../../{name}": content for name, content in files.items()})
    with pytest.raises(InputError, match="leads out of the archive"):
        ingest(tmp_path, tmp_path / "out", split="val")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("local_maps", [3, 100])
def test_second_map_of_a_scenario_is_refused(tmp_path, files, packed, local_maps):
    copies = {f"copy/{name}": content for name, content in files.items()}
    if packed:
        write_split(tmp_path / "train.tar", files | copies)
    else:
        for name, content in (files | copies).items():
            (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "train" / name).write_bytes(content)
    with pytest.raises(InputError, match=r"log_map_archive_.*: found a second file of this name"):
        ingest_local_maps(
            tmp_path, tmp_path / "maps", scenario_ids(range(1, 7)), replace(PARAMETERS, local_maps=local_maps)
        )
    assert not (tmp_path / "maps").exists()


def test_timing_longer_than_the_recording_is_refused(tmp_path, files):
    write_split(tmp_path / "train.tar", files)
    with pytest.raises(InputError, match=r"scene.timing: found 20 observed and 80 future steps.*a part of"):
        ingest(tmp_path, tmp_path / "out", timing=Timing(20, 80, 0.1))


def test_scene_without_vehicle_lanes_is_kept(tmp_path, files):
    name = scenario_id(2)
    bicycles = {"5": segment(5, [(1000.0, 50.0), (1080.0, 50.0)], kind="BIKE")}
    files[f"{name}/log_map_archive_{name}.json"] = map_json(bicycles)
    write_split(tmp_path / "train.tar", files)
    ingest(tmp_path, tmp_path / "out")
    manifest = SceneStore.load(tmp_path / "out").manifest
    assert manifest["n_lanes"].to_pylist() == [4, 0, 4, 4, 4, 4]
    assert np.isnan(manifest["agent_lane_distance"][1].as_py())
    table = scene_table(tmp_path / "out")
    assert table["complete"].all()
    every = replace(PARAMETERS, local_maps=100)
    assert len(ingest_local_maps(tmp_path, tmp_path / "maps", scenario_ids(range(1, 7)), every)) == 5


def test_stage_refuses_another_timing_for_argoverse_1(tmp_path, monkeypatch):
    values = yaml.safe_load(PARAMS.read_text())
    values["scene"]["timing"] |= {"history_steps": 50, "future_steps": 60}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ingest.py"])
    with pytest.raises(InputError, match=r"scene.timing: found 50 observed.*expected 20 observed"):
        runpy.run_path(str(REPOSITORY / "stages" / "ingest.py"))["main"]()


def test_pedestrians_and_cyclists_do_not_follow_lanes(tmp_path):
    kinds = ["vehicle", "pedestrian", "cyclist", "bus"]
    made = [scenario_pair(number, kind=kind) for number, kind in enumerate(kinds, start=1)]
    write_split(tmp_path / "train.tar", {name: content for pair in made for name, content in pair.items()})
    ingest(tmp_path, tmp_path / "out")
    manifest = SceneStore.load(tmp_path / "out").manifest
    assert manifest["agent_type"].to_pylist() == kinds
    assert follows_lanes(manifest).tolist() == [True, False, False, True]


# Real scenarios: all that the reference data contain


def real_scenarios(reference):
    folders = sorted(path.parent for path in (reference / "argoverse2").rglob("scenario_*.parquet"))
    if not folders:
        pytest.skip(f"no Argoverse 2 in {reference}")
    return folders


@pytest.mark.reference
def test_lanes_of_real_maps(reference):
    deviations = []
    for folder in real_scenarios(reference):
        (path,) = folder.glob("log_map_archive_*.json")
        raw = {int(key): record for key, record in json.loads(path.read_bytes())["lane_segments"].items()}
        lanes = read_vehicle_lanes(path.read_bytes(), str(path))
        assert set(lanes.ids) == {number for number, record in raw.items() if record["lane_type"] != "BIKE"}
        lane_map = lanes.lane_map(folder.name)
        for row, number in enumerate(lanes.ids):
            record, ids = raw[number], set(lanes.ids)
            following = {lanes.ids[other] for other in lane_map.successors.of(row)}
            assert following == ids & set(record["successors"])
            for side, other in (("left", "right"), ("right", "left")):
                found = int(getattr(lane_map, side)[row])
                neighbour = record[f"{side}_neighbor_id"]
                same_way = neighbour in ids and raw[neighbour][f"{other}_neighbor_id"] == number
                assert found == (lanes.ids.index(neighbour) if same_way else NO_LANE)
            line = lane_map.segments.points[row, : lane_map.segments.counts[row]]
            stored = np.array([(point["x"], point["y"]) for point in record["centerline"]])
            np.testing.assert_allclose(line[[0, -1]], stored[[0, -1]], atol=1e-6)
            deviations.append(distance_to_polyline(stored, line).max())
        assert not (lane_map.segments.turn[~lane_map.segments.is_intersection] != 0).any()
    assert max(deviations) < MAX_DEVIATION


@pytest.mark.reference
def test_scenes_of_real_scenarios(reference, tmp_path):
    import pandas as pd

    for folder in real_scenarios(reference):
        (tmp_path / "train").mkdir(exist_ok=True)
        (path,) = folder.glob("scenario_*.parquet")
        frame = pd.read_parquet(path)
        future = frame["timestep"].max() == 109
        scene = read_scenario(path.read_bytes(), folder.name, str(path), ARGOVERSE2, future=future)
        focal = frame[frame["track_id"] == frame["focal_track_id"]].sort_values("timestep")
        xy = focal[["position_x", "position_y"]].to_numpy()
        np.testing.assert_allclose(scene.xy[: len(xy)] + scene.origin, xy, atol=1e-3)
        assert len(scene.track_lengths) == frame["track_id"].nunique()
        assert len(scene.xy) == len(frame)
        assert scene.agent_type == focal["object_type"].iloc[0]
        if future:
            shutil.copytree(folder, tmp_path / "train" / folder.name)
    assert ingest(tmp_path, tmp_path / "out") == []
    store = SceneStore.load(tmp_path / "out")
    assert len(store) == len(list((tmp_path / "train").iterdir()))
    assert argoverse2.FOCAL_TRACK in store.manifest.column_names
