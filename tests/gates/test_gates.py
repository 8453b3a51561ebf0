"""The gates: sound data passes, each kind of unsound data fails with plain words, and the result has fixed bytes."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raw_data import scene_rows, straight_map, write_raw
from synthdrive.config.checks import CheckRawParameters, CheckSyntheticParameters
from synthdrive.config.data import IngestParameters
from synthdrive.config.loading import load_section
from synthdrive.core.artifacts import read_json, read_table, write_table
from synthdrive.core.errors import InputError
from synthdrive.formats.argoverse1_writers import scene_csv
from synthdrive.gates.checks import check_raw, check_synthetic
from synthdrive.ingestion.ingest import ingest_maps, ingest_scenes
from synthdrive.ingestion.statistics import map_manifest
from synthdrive.scenes.scene_store import STEPS, SceneStore, SceneStoreWriter

REPOSITORY = Path(__file__).resolve().parents[2]
RAW = load_section(CheckRawParameters, "check_raw", REPOSITORY / "params.yaml")
SYNTHETIC = load_section(CheckSyntheticParameters, "check_synthetic", REPOSITORY / "params.yaml")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Maps and scenes that pass."""
    folder = tmp_path_factory.mktemp("gates")
    return ingest(write_raw(folder / "raw"), folder / "data")


def ingest(raw, out):
    parameters = IngestParameters("error", "error", 30.0, "official", 0, 5, 400.0, 64, 64)
    ingest_maps(raw, out / "maps", parameters)
    ingest_scenes(raw, {"train": out / "train", "val": out / "val"}, out / "maps", parameters, 30.0, 1)
    return out


def raw_verdict(data, out, maps=None, docs=True):
    html = out / "docs" if docs else None
    return check_raw(maps or data / "maps", data / "train", data / "val", RAW, out / "raw.json", html)


def test_sound_data_passes_and_the_result_has_the_same_bytes_twice(sound, tmp_path):
    verdicts = [raw_verdict(sound, tmp_path / name) for name in ("a", "b")]
    assert [verdict.failures for verdict in verdicts] == [[], []]
    assert verdicts[0].success
    assert (tmp_path / "a" / "raw.json").read_bytes() == (tmp_path / "b" / "raw.json").read_bytes()
    assert (tmp_path / "a" / "docs" / "index.html").is_file()
    result = read_json(tmp_path / "a" / "raw.json")
    assert result["success"] is True
    assert [table["table"] for table in result["validation_results"]] == ["maps", "train scenes", "val scenes"]
    for table in result["validation_results"]:
        assert all(entry["success"] and entry["description"] for entry in table["expectations"])
    assert sum(len(table["expectations"]) for table in result["validation_results"]) == verdicts[0].evaluated


BAD_LANES = [  # what is wrong with one lane, and what the gate says
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


def failure_with(verdict, words):
    """The one failure that says this."""
    found = [text for text in verdict.failures if words in text]
    assert len(found) == 1, (words, verdict.failures)
    return found[0]


def test_unsound_maps_fail_in_plain_words(sound, tmp_path):
    table = map_manifest([straight_map()]).to_pydict()
    for row, (columns, _) in enumerate(BAD_LANES):
        for name, value in columns.items():
            table[name][row] = value
    (tmp_path / "maps").mkdir()
    write_table(tmp_path / "maps" / "manifest.parquet", pa.table(table))
    verdict = raw_verdict(sound, tmp_path, tmp_path / "maps", docs=False)
    assert not verdict.success
    for row, (columns, words) in enumerate(BAD_LANES):
        failure = failure_with(verdict, words)
        assert failure.startswith("maps: ")
        assert f"TST {table['lane_id'][row]}" in failure or "lane_id" in columns
    assert len(verdict.failures) == len({words for _, words in BAD_LANES})
    assert read_json(tmp_path / "raw.json")["success"] is False


def straight(speed, offset=0.0):
    return np.stack([10 + speed * np.arange(STEPS) * 0.1, np.full(STEPS, offset)], axis=1)


def jumping():
    agent = straight(5.0)
    agent[30:] += [15.0, 0.0]
    return agent


def slower(rows, factor):
    return dataclasses.replace(rows, timestamps=rows.timestamps[0] + (rows.timestamps - rows.timestamps[0]) * factor)


BAD_SCENES = {  # number: rows of the scene, and what the gate says
    50: (scene_rows(50, agent=straight(50.0)), "mean speed is at most 35 m/s"),
    51: (scene_rows(51, agent=jumping()), "moves at most 10 m in one step"),
    52: (scene_rows(52, agent=straight(5.0, offset=-6.0)), "at most 3 m from a centreline"),
    53: (scene_rows(53, agent=straight(5.0, offset=900.0)), "at least 1 lane"),
    54: (slower(scene_rows(54), 3.0), "0.09 to 0.11 s apart on average"),
    55: (slower(scene_rows(55), 7.0), "at most 0.6 s apart"),
    56: (slower(scene_rows(56), 0.01), "at least 0.005 s apart"),
    57: (scene_rows(1), "no val scene is a train scene"),
    58: (scene_rows(58, agent=straight(50.0)), "over half a second is at most 45 m/s"),
}


def test_unsound_scenes_fail_in_plain_words(tmp_path):
    changes = {number: scene_csv(rows) for number, (rows, _) in BAD_SCENES.items()}
    data = ingest(write_raw(tmp_path / "raw", val=tuple(BAD_SCENES), changes=changes), tmp_path / "data")
    verdict = raw_verdict(data, tmp_path, docs=False)
    for number, (_, words) in BAD_SCENES.items():
        failure = failure_with(verdict, words)
        assert failure.startswith("val scenes: ")
        assert f"e.g. {number} (" in failure or f", {number} (" in failure


def windows(directory, faults=()):
    """A synthetic store of windows straight on; each fault changes columns of the manifest in a window of its own."""
    size, lanes = 3 + len(faults), straight_map().segments
    directory.mkdir(parents=True)
    writer = SceneStoreWriter(directory)
    steps = np.arange(STEPS, dtype=np.float32)
    track = np.stack([steps * 0.8, 0 * steps], axis=1)
    for _ in range(size):
        writer.append(
            xy=track, step=steps.astype(np.uint8), track_lengths=np.array([STEPS]),
            track_types=np.zeros(1, np.uint8), times=steps / 10, lane_rows=np.array([1, 2], np.int32),
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


def synthetic_verdict(store, out):
    return check_synthetic(store, SYNTHETIC, out / "synthetic.json", None)


def test_plausible_windows_pass(tmp_path):
    assert synthetic_verdict(windows(tmp_path / "store"), tmp_path).failures == []


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


def test_one_implausible_window_is_enough_to_fail(tmp_path):
    verdict = synthetic_verdict(windows(tmp_path / "store", [columns for columns, _ in BAD_WINDOWS]), tmp_path)
    for row, (columns, words) in enumerate(BAD_WINDOWS, start=3):
        assert columns.get("scene_id", f"w{row}") in failure_with(verdict, words)
    assert len(verdict.failures) == len({words for _, words in BAD_WINDOWS})


@pytest.mark.parametrize(
    ("array", "change", "words"),
    [
        ("track_types", lambda a: np.where(np.arange(len(a)) == 1, 2, a), "exactly one AGENT"),
        ("step", lambda a: a[::-1], "steps of every track rise"),
        ("xy", lambda a: np.where(np.arange(len(a))[:, None] == 60, np.nan, a), "every value is there and finite"),
        ("xy", lambda a: a * 2, "as far as the manifest says"),
    ],
)
def test_arrays_are_looked_at_too(tmp_path, array, change, words):
    path = windows(tmp_path / "store") / f"{array}.npy"
    content = np.load(path)
    np.save(path, np.ascontiguousarray(change(content).astype(content.dtype)))
    failure_with(synthetic_verdict(tmp_path / "store", tmp_path), words)


def test_tracking_noise_may_lengthen_a_step_by_what_the_parameters_allow(tmp_path):
    store = windows(tmp_path / "store", [{"max_step": 0.7}])
    for allowed, met in ((0.05, False), (0.15, True)):
        limits = dataclasses.replace(SYNTHETIC, step_noise=allowed)
        assert check_synthetic(store, limits, tmp_path / "out.json", None).success == met


def test_a_manifest_without_a_column_is_an_error(tmp_path):
    store = windows(tmp_path / "store")
    table = read_table(store / "manifest.parquet")
    write_table(store / "manifest.parquet", table.drop_columns(["max_step"]))
    with pytest.raises(InputError, match="'max_step'"):
        synthetic_verdict(store, tmp_path)
    write_table(store / "manifest.parquet", table.drop_columns(["max_jerk"]))
    verdict = synthetic_verdict(store, tmp_path)
    assert any("jerk" in failure and "max_jerk" in failure for failure in verdict.failures), verdict.failures
    assert len(SceneStore.load(store)) == 3


def test_the_stage_stops_with_1_and_says_why(tmp_path):
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
def test_the_real_data_passes(reference, tmp_path):
    data = ingest(reference / "argoverse1", tmp_path / "data")
    assert raw_verdict(data, tmp_path).failures == []
