"""Tests of data validation: valid data pass, invalid data fail with a clear message, and the result has fixed bytes."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raw_data import scene_rows, straight_map, write_raw
from repository import PARAMS, REPOSITORY
from synthdrive.checks.run import check_raw, check_synthetic
from synthdrive.checks.suites import permitted_outliers
from synthdrive.checks.tables import scene_table
from synthdrive.config.data import CheckRawParameters, CheckSyntheticParameters, IngestParameters
from synthdrive.core.artifacts import read_json, read_table, write_table
from synthdrive.core.errors import InputError
from synthdrive.core.parameters import load_section
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.formats.argoverse1_writers import scene_csv
from synthdrive.ingestion.argoverse1 import ingest_maps, ingest_scenes
from synthdrive.ingestion.statistics import map_manifest
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.scenes.scene_store_writer import SceneStoreWriter

STEPS = ARGOVERSE1.steps

RAW = load_section(CheckRawParameters, "check_raw", PARAMS)
STRICT = dataclasses.replace(  # no outlier permitted
    RAW,
    maps=dataclasses.replace(RAW.maps, outlier_fraction=0.0, neighbours_link_back_fraction=1.0, connected_fraction=1.0),
    scenes=dataclasses.replace(
        RAW.scenes, outlier_fraction=0.0, mean_interval_fraction=1.0, lane_distance_fraction=1.0, lanes_fraction=1.0
    ),
)
SYNTHETIC = load_section(CheckSyntheticParameters, "check_synthetic", PARAMS)


@pytest.fixture(scope="module")
def valid_data(tmp_path_factory):
    """A folder of maps and scenes that pass the checks."""
    folder = tmp_path_factory.mktemp("checks")
    return ingest(write_raw(folder / "raw"), folder / "data")


def ingest(raw, out):
    parameters = IngestParameters("error", "error", 30.0, "official", 0, 5, 400.0, 0.0, 64, 64, 10)
    ingest_maps(raw, out / "maps", parameters)
    ingest_scenes(raw, {"train": out / "train", "val": out / "val"}, out / "maps", parameters, 30.0, 1)
    return out


def raw_outcome(data, out, maps=None, docs=True, limits=RAW):
    html = out / "docs" if docs else None
    return check_raw(maps or data / "maps", data / "train", data / "val", limits, out / "raw.json", html)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_valid_data_passes(valid_data, tmp_path):
    outcome = raw_outcome(valid_data, tmp_path, docs=False)
    assert outcome.success
    assert (outcome.failures, outcome.outliers) == ([], [])
    result = read_json(tmp_path / "raw.json")
    assert result["success"] is True
    assert result["outliers"] == []
    assert [table["table"] for table in result["validation_results"]] == ["maps", "train scenes", "val scenes"]
    for table in result["validation_results"]:
        assert all(entry["success"] and entry["description"] for entry in table["expectations"])
    assert sum(len(table["expectations"]) for table in result["validation_results"]) == outcome.evaluated


def test_result_and_data_docs_do_not_depend_on_time_zone_or_folder(valid_data, tmp_path):
    """By default, Great Expectations writes local times and random names into its Data Docs."""
    for name, zone in (("a", "UTC"), ("é b", "Asia/Tokyo")):
        stage = [sys.executable, str(REPOSITORY / "stages" / "check_raw.py"), "--docs", str(tmp_path / name / "docs")]
        for option, folder in (("--maps", "maps"), ("--train", "train"), ("--val", "val")):
            stage += [option, str(valid_data / folder)]
        stage += ["--out", str(tmp_path / name / "raw.json")]
        environment = {**os.environ, "TZ": zone, "LC_ALL": "C", "PYTHONPATH": str(REPOSITORY / "src")}
        subprocess.run(stage, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    found = files_of(tmp_path / "a")
    assert Path("docs/index.html") in found
    assert found == files_of(tmp_path / "é b")


BAD_LANES = [  # changed columns of one lane, and part of the expected message
    ({"lane_id": 1001}, "a lane's id stands once in its city"),
    ({"finite": False}, "centrelines are finite"),
    ({"length": float("nan")}, "every value is there and finite"),
    ({"length": None}, "every value is there and finite"),
    ({"min_spacing": 0.0}, "at least 0.01 m apart"),
    ({"max_spacing": 99.0}, "at most 30 m apart"),
    ({"length": 999.0}, "at most 300 m long"),
    ({"successor_gap": 3.0}, "starts at most 0.2 m from"),
    ({"successors_link_back": False}, "has it as predecessor"),
    ({"n_successors": 50}, "at most 12 successors"),
    ({"n_predecessors": 50}, "at most 12 predecessors"),
    ({"n_points": 1}, "2 to 10 points"),
    ({"turn": 2}, "turns left"),
    ({"neighbours_link_back": False}, "has it as neighbour"),
    ({"neighbours_link_back": False}, "has it as neighbour"),
    ({"n_successors": 0, "n_predecessors": 0}, "has a successor or predecessor"),
    ({"n_successors": 0, "n_predecessors": 0}, "has a successor or predecessor"),
]


def failure_with(outcome, words):
    """Return the only failure that contains these words."""
    found = [text for text in outcome.failures if words in text]
    assert len(found) == 1, (words, outcome.failures)
    return found[0]


def test_every_invalid_lane_is_reported(valid_data, tmp_path):
    table = map_manifest([straight_map()]).to_pydict()
    for row, (columns, _) in enumerate(BAD_LANES):
        for name, value in columns.items():
            table[name][row] = value
    (tmp_path / "maps").mkdir()
    write_table(tmp_path / "maps" / "manifest.parquet", pa.table(table))
    outcome = raw_outcome(valid_data, tmp_path, tmp_path / "maps", docs=False, limits=STRICT)
    assert not outcome.success
    for row, (columns, words) in enumerate(BAD_LANES):
        failure = failure_with(outcome, words)
        assert failure.startswith("maps: ")
        assert f"TST {table['lane_id'][row]}" in failure or "lane_id" in columns
    assert len(outcome.failures) == len({words for _, words in BAD_LANES})
    assert read_json(tmp_path / "raw.json")["success"] is False


def straight(speed, offset=0.0):
    return np.stack([10 + speed * np.arange(STEPS) * 0.1, np.full(STEPS, offset)], axis=1)


def jumping():
    agent = straight(5.0)
    agent[30:] += [15.0, 0.0]
    return agent


def slower(rows, factor):
    return dataclasses.replace(rows, timestamps=rows.timestamps[0] + (rows.timestamps - rows.timestamps[0]) * factor)


BAD_SCENES = {  # scene number: its rows, and part of the expected message
    50: (scene_rows(50, agent=straight(50.0)), "mean speed is at most 35 m/s"),
    51: (scene_rows(51, agent=jumping()), "moves at most 10 m in one step"),
    52: (scene_rows(52, agent=straight(5.0, offset=-6.0)), "at most 3 m from a centreline"),
    53: (scene_rows(53, agent=straight(5.0, offset=900.0)), "at least 1 lane"),
    54: (slower(scene_rows(54), 3.5), "0.09 to 0.3 s apart on average"),
    55: (slower(scene_rows(55), 7.0), "at most 0.6 s apart"),
    56: (slower(scene_rows(56), 0.01), "at least 0.005 s apart"),
    57: (scene_rows(1), "no val scene is a train scene"),
    58: (scene_rows(58, agent=straight(50.0)), "over half a second is at most 45 m/s"),
}


def test_every_invalid_scene_is_reported(tmp_path):
    changes = {number: scene_csv(rows) for number, (rows, _) in BAD_SCENES.items()}
    data = ingest(write_raw(tmp_path / "raw", val=tuple(BAD_SCENES), changes=changes), tmp_path / "data")
    outcome = raw_outcome(data, tmp_path, docs=False, limits=STRICT)
    for number, (_, words) in BAD_SCENES.items():
        failure = failure_with(outcome, words)
        assert failure.startswith("val scenes: ")
        assert f"e.g. {number} (" in failure or f", {number} (" in failure


def with_interval(number, gap, at=30):
    """Return a scene in which one interval between sweeps is `gap` seconds."""
    rows = scene_rows(number)
    times = np.unique(rows.timestamps)
    return dataclasses.replace(rows, timestamps=rows.timestamps + (gap - 0.1) * (rows.timestamps >= times[at]))


def with_jump(number, metres=12.0):
    agent = straight(5.0)
    agent[30:] += [metres, 0.0]
    return scene_rows(number, agent=agent)


OUTLIERS = {  # an outlier that a user's data may contain, and part of the expectation that is then listed
    "gap": (lambda number: with_interval(number, 0.7), "at most 0.6 s apart"),
    "step": (with_jump, "at most 10 m in one step"),
    "no lanes": (lambda number: scene_rows(number, agent=straight(5.0, offset=900.0), others=0), "at least 1 lane"),
    "off the lanes": (lambda number: scene_rows(number, agent=straight(5.0, offset=-6.0)), "3 m from a centreline"),
    "slow": (lambda number: slower(scene_rows(number), 3.5), "0.09 to 0.3 s apart on average"),
}


def data_with_outliers(folder, outliers, scenes, others=scene_rows):
    numbers = tuple(range(1, scenes + 1))
    changes = {number: scene_csv(others(number)) for number in numbers}
    changes |= {number: scene_csv(make(number)) for number, make in outliers.items()}
    return ingest(write_raw(folder / "raw", train=numbers, val=(900,), changes=changes), folder / "data")


@pytest.mark.parametrize("name", OUTLIERS)
@pytest.mark.parametrize("scenes", [4, 20])
def test_single_outlier_scene_passes_and_is_listed(tmp_path, name, scenes):
    make, words = OUTLIERS[name]
    outcome = raw_outcome(data_with_outliers(tmp_path, {3: make}, scenes), tmp_path, docs=False)
    assert outcome.failures == []
    (listed,) = read_json(tmp_path / "raw.json")["outliers"]
    assert (listed["table"], listed["row"]) == ("train scenes", "3")
    assert words in listed["expected"]


@pytest.mark.parametrize("name", OUTLIERS)
def test_three_outlier_scenes_of_ten_fail_the_check(tmp_path, name):
    make, words = OUTLIERS[name]
    outcome = raw_outcome(data_with_outliers(tmp_path, dict.fromkeys((2, 3, 4), make), 10), tmp_path, docs=False)
    assert "Found 3 of 10 rows otherwise" in failure_with(outcome, words)


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.3, 0.5, 0.6])
def test_scenes_with_missing_sweeps_pass(tmp_path, missing):
    """As in Argoverse 1: a scene has 50 time stamps, but some sweeps of the 10 Hz recording are missing."""

    def with_gaps(number):
        rows = scene_rows(number)
        draw, kept = np.random.default_rng(number), [0]
        while len(kept) < STEPS:
            gap = 1 + min(4, int((draw.random(4) < missing).cumprod().sum()))
            kept.append(kept[-1] + gap)
        step = np.searchsorted(np.unique(rows.timestamps), rows.timestamps)
        return dataclasses.replace(rows, timestamps=rows.timestamps[0] + np.array(kept)[step] * 0.1)

    outcome = raw_outcome(data_with_outliers(tmp_path, {}, 12, with_gaps), tmp_path, docs=False)
    assert (outcome.failures, outcome.outliers) == ([], [])


@pytest.mark.parametrize(("outliers", "passes"), [(131, True), (2059, True), (2060, False)])
def test_permitted_outliers_cover_the_estimate_for_the_official_scenes(outliers, passes):
    """Of 205,942 train scenes, 58 to 131 are estimated (by fits of the tail) to have an interval above 0.6 s."""
    rows = 205_942
    assert (outliers <= permitted_outliers(rows, RAW.scenes.outlier_fraction)) is passes


@pytest.mark.parametrize(
    ("rows", "fraction", "permitted"), [(0, 0.1, 0), (3, 0.01, 0), (4, 0.01, 1), (30, 0.0, 0), (300, 0.01, 3)]
)
def test_number_of_permitted_outliers(rows, fraction, permitted):
    assert permitted_outliers(rows, fraction) == permitted


def test_duplicate_of_a_scene_under_another_name_is_listed(tmp_path):
    outcome = raw_outcome(data_with_outliers(tmp_path, {4: lambda _: scene_rows(2)}, 6), tmp_path, docs=False)
    assert outcome.failures == []
    assert [(outlier.row, "stands before it" in outlier.expected) for outlier in outcome.outliers] == [("4", True)]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_scene_without_tracks_fails_the_check(tmp_path, number):
    """At every position in the store: an empty last scene must not cause an IndexError."""
    store = windows(tmp_path / "store", empty=number)
    assert scene_table(store)["agent_rows"].tolist() == [0 if row == number else STEPS for row in range(3)]
    outcome = synthetic_outcome(store, tmp_path)
    assert f"e.g. w{number}" in failure_with(outcome, "exactly one AGENT")


def windows(directory, faults=(), empty=None):
    """Write a store of straight synthetic windows; each item of `faults` adds one with changed manifest columns."""
    size, lanes = 3 + len(faults), straight_map().segments
    directory.mkdir(parents=True)
    writer = SceneStoreWriter(directory, ARGOVERSE1)
    steps = np.arange(STEPS, dtype=np.float32)
    track = np.stack([steps * 0.8, 0 * steps], axis=1)
    for row in range(size):
        steps_of_track = np.arange(STEPS if row != empty else 0)
        tracks = int(row != empty)
        writer.append(
            xy=track[steps_of_track], step=steps[steps_of_track].astype(np.uint8), track_lengths=np.full(tracks, STEPS),
            track_types=np.zeros(tracks, np.uint8), times=steps / 10, lane_rows=np.array([1, 2], np.int32),
        )  # fmt: skip
    constants = {
        "city": "TST", "origin_x": 0.0, "origin_y": 0.0, "source": "original", "n_lanes": 2, "max_step": 0.8,
        "min_speed": 8.0, "max_speed": 8.0, "min_acceleration": 0.0, "max_acceleration": 0.0,
        "max_lateral_acceleration": 0.0, "max_jerk": 0.0, "max_curvature": 0.0, "max_heading_step": 0.0,
        "max_lane_distance": 0.0,
    }  # fmt: skip
    manifest = {"scene_id": [f"w{k}" for k in range(size)]}
    manifest |= {name: [value] * size for name, value in constants.items()}
    for row, columns in enumerate(faults, start=3):
        for name, value in columns.items():
            manifest[name][row] = value
    writer.close(pa.table(manifest), lanes)
    return directory


def synthetic_outcome(store, out):
    return check_synthetic(store, SYNTHETIC, out / "synthetic.json", None)


def test_plausible_windows_pass(tmp_path):
    assert synthetic_outcome(windows(tmp_path / "store"), tmp_path).failures == []


BAD_WINDOWS = [
    ({"scene_id": "w0"}, "a scene's id stands once"),
    ({"source": "elsewhere"}, "original or an augmented"),
    ({"min_speed": -0.1}, "never drives backwards"),
    ({"max_speed": 31.0}, "speed is at most 20 m/s"),
    ({"min_acceleration": -3.1}, "brakes with at most 3 m/s2"),
    ({"max_acceleration": 3.1}, "accelerates with at most 3 m/s2"),
    ({"max_lateral_acceleration": 4.1}, "lateral acceleration is at most 4 m/s2"),
    ({"max_jerk": 99.0}, "jerk is at most"),
    ({"max_curvature": 0.9}, "curvature is at most"),
    ({"max_heading_step": 1.0}, "heading changes by at most"),
    ({"max_step": 5.0}, "moves at most 2 m in one step"),
    ({"max_step": 0.7}, "as far as the manifest says"),
    ({"max_lane_distance": 1.6}, "at most 1.5 m from a centreline"),
    ({"max_lane_distance": float("nan")}, "every value is there and finite"),
    ({"max_jerk": float("inf")}, "every value is there and finite"),
    ({"n_lanes": 0}, "at least 1 lane"),
]


def test_every_implausible_window_is_reported(tmp_path):
    outcome = synthetic_outcome(windows(tmp_path / "store", [columns for columns, _ in BAD_WINDOWS]), tmp_path)
    for row, (columns, words) in enumerate(BAD_WINDOWS, start=3):
        assert columns.get("scene_id", f"w{row}") in failure_with(outcome, words)
    assert len(outcome.failures) == len({words for _, words in BAD_WINDOWS})


@pytest.mark.parametrize(
    ("array", "change", "words"),
    [
        ("track_types", lambda a: np.where(np.arange(len(a)) == 1, 2, a), "exactly one AGENT"),
        ("step", lambda a: a[::-1], "steps of every track rise"),
        ("xy", lambda a: np.where(np.arange(len(a))[:, None] == 60, np.nan, a), "every value is there and finite"),
        ("xy", lambda a: a * 2, "as far as the manifest says"),
    ],
)
def test_invalid_arrays_fail_the_check(tmp_path, array, change, words):
    path = windows(tmp_path / "store") / f"{array}.npy"
    content = np.load(path)
    np.save(path, np.ascontiguousarray(change(content).astype(content.dtype)))
    failure_with(synthetic_outcome(tmp_path / "store", tmp_path), words)


def test_step_noise_parameter_permits_longer_steps(tmp_path):
    store = windows(tmp_path / "store", [{"max_step": 0.7}])
    for allowed, passes in ((0.05, False), (0.15, True)):
        limits = dataclasses.replace(SYNTHETIC, step_noise=allowed)
        assert check_synthetic(store, limits, tmp_path / "out.json", None).success == passes


def test_missing_manifest_column_is_reported(tmp_path):
    store = windows(tmp_path / "store")
    table = read_table(store / "manifest.parquet")
    write_table(store / "manifest.parquet", table.drop_columns(["max_step"]))
    with pytest.raises(InputError, match="'max_step'"):
        synthetic_outcome(store, tmp_path)
    write_table(store / "manifest.parquet", table.drop_columns(["max_jerk"]))
    outcome = synthetic_outcome(store, tmp_path)
    assert any("jerk" in failure and "max_jerk" in failure for failure in outcome.failures), outcome.failures
    assert len(SceneStore.load(store)) == 3


def test_stage_exits_with_status_1_and_prints_the_failure(tmp_path):
    windows(tmp_path / "store", [{"max_jerk": 99.0}])
    command = [sys.executable, "stages/check_synthetic.py", "--synthetic", str(tmp_path / "store")]
    command += ["--out", str(tmp_path / "synthetic.json"), "--docs", str(tmp_path / "docs")]
    failed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "check_synthetic: 1 of" in failed.stderr
    assert "jerk is at most" in failed.stderr
    assert "w3 (max_jerk 99)" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.reference
@pytest.mark.slow
def test_real_data_passes(reference, tmp_path):
    data = ingest(reference / "argoverse1", tmp_path / "data")
    assert raw_outcome(data, tmp_path).failures == []
