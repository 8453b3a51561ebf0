"""Tests of a user's own forecasts: equal results from every file format, and errors that name the cause."""

from __future__ import annotations

import runpy
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forecasting_scenes import driven, straight_lanes, write_store

from repository import PARAMS, REPOSITORY
from synthdrive.config.whole_file import changed_parameters
from synthdrive.core.artifacts import file_hash, read_json
from synthdrive.core.errors import InputError
from synthdrive.forecasting.evaluate import displacement_errors, scene_errors
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.forecasting.leaderboard_files import write_leaderboard_file
from synthdrive.forecasting.own_forecasts import read_own_forecasts

NAMES = [str(number) for number in range(11, 16)]


@pytest.fixture
def store(tmp_path):
    random = np.random.default_rng(0)
    agents = np.stack([driven(angle, 8.0, 0.1, (1000.0, -300.0)) for angle in random.uniform(-3, 3, 5)])
    return write_store(tmp_path / "store", agents, straight_lanes([(0, 0), (1, 0)]), NAMES)


def random_forecasts(store, modes=6, seed=0):
    """Return trajectories (S, K, 30, 2), city frame, and their probabilities (S, K)."""
    random = np.random.default_rng(seed)
    truth = np.stack([store[index].agent[20:] for index in range(len(store))]) + store.origins[:, None]
    noise = random.normal(0, 2, (len(store), modes, 1, 2)) * np.linspace(0, 1, 30)[:, None]
    return truth[:, None] + noise, random.dirichlet(np.ones(modes), len(store))


def table(trajectories, probabilities, names=NAMES):
    scenes, modes, steps, _ = trajectories.shape
    scene, mode, step = (index.ravel() for index in np.indices((scenes, modes, steps)))
    return pd.DataFrame({
        "scene_id": np.array(names)[scene], "trajectory": mode, "step": step + 1,
        "x": trajectories[..., 0].ravel(), "y": trajectories[..., 1].ravel(),
        "probability": probabilities[scene, mode],
    })  # fmt: skip


def write(path, trajectories, probabilities, store=None):
    if path.suffix == ".npz":
        np.savez(path, scene_ids=NAMES, trajectories=trajectories, probabilities=probabilities)
    elif path.suffix == ".csv":
        table(trajectories, probabilities).to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table(trajectories, probabilities).to_parquet(path)
    else:
        relative = trajectories - store.origins[:, None, None]
        write_leaderboard_file(path, Forecasts.ranked(NAMES, relative, probabilities), store.origins)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet", ".h5"])
def test_every_file_format_gives_the_same_forecasts(store, tmp_path, suffix):
    trajectories, probabilities = random_forecasts(store)
    found = read_own_forecasts(write(tmp_path / f"mine{suffix}", trajectories, probabilities, store), store)
    expected = Forecasts.ranked(NAMES, trajectories - store.origins[:, None, None], probabilities)
    assert list(found.scene_ids) == NAMES
    np.testing.assert_allclose(found.trajectories, expected.trajectories, atol=1e-3)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)


def test_rows_and_columns_may_be_in_any_order(store, tmp_path):
    trajectories, probabilities = random_forecasts(store)
    rows = table(trajectories, probabilities)
    rows.to_csv(tmp_path / "ordered.csv", index=False)
    rows.sample(frac=1, random_state=0)[["y", "x", "step", "scene_id", "probability", "trajectory"]].to_csv(
        tmp_path / "shuffled.csv", index=False
    )
    ordered, shuffled = (read_own_forecasts(tmp_path / f"{name}.csv", store) for name in ("ordered", "shuffled"))
    np.testing.assert_array_equal(shuffled.trajectories, ordered.trajectories)
    np.testing.assert_array_equal(shuffled.probabilities, ordered.probabilities)


@pytest.mark.parametrize("modes", [1, 3, 9])
def test_metrics_for_any_number_of_trajectories_equal_the_benchmark(store, tmp_path, modes):
    trajectories, probabilities = random_forecasts(store, modes)
    found = scene_errors(
        read_own_forecasts(write(tmp_path / "mine.npz", trajectories, probabilities), store), store, 2.0
    )
    truth = np.stack([store[index].agent[20:] for index in range(len(store))])
    relative = trajectories - store.origins[:, None, None]
    for guesses in (1, 6):
        expected = displacement_errors(relative, truth, guesses, probabilities, miss_threshold=2.0)
        for name in ("minADE", "minFDE", "MR", *(("brier-minFDE", "p-minADE") if guesses == 6 else ())):
            np.testing.assert_allclose(found[f"{name.replace('-', '_')}{guesses}"], expected[name], atol=1e-4)


def invalid_tables():
    def change(row, column, value):
        def apply(rows):
            rows[column] = rows[column].astype(object)
            rows.loc[row, column] = value
            return rows

        return apply

    yield "no-column", lambda rows: rows.drop(columns="y"), "a column 'y'"
    yield "text", change(7, "x", "fast"), r"(?i)row #?9.*fast|fast"
    yield "empty", change(7, "x", None), "row 8: x: found no value"
    yield "step", change(7, "step", 31), "row 8: step: found 31; expected 1 to 30"
    yield "step-twice", change(7, "step", 7), "scene 11, trajectory 0, row 8: found step 7 again"
    yield "short", lambda rows: rows.drop(index=7), "scene 11, trajectory 0: found 29 rows; expected 30"
    yield "probability", change(7, "probability", 0.5), "scene 11, trajectory 0: found more than one probability"
    yield "negative", lambda rows: rows.assign(probability=-1.0), "scene 11, trajectory 1 of 6: found -1.0"
    yield "zero", lambda rows: rows.assign(probability=0.0), "scene 11.*no probability above 0"
    yield "absent", lambda rows: rows[rows.scene_id != "13"], "4 of the store's 5 scenes, without scene 13"
    yield "unknown", lambda rows: pd.concat([rows, rows[rows.scene_id == "11"].assign(scene_id="99")]), "scene 99"
    yield "frame", lambda rows: rows.assign(x=rows.x - 1000), r"scene 11, trajectory 1 of 6: found a first step .*city"
    yield "infinite", change(7, "x", np.inf), "scene 11, trajectory 1 of 6: found infinity or NaN"


@pytest.mark.parametrize(
    ("change", "message"), [case[1:] for case in invalid_tables()], ids=[c[0] for c in invalid_tables()]
)
def test_error_in_a_table_is_named(store, tmp_path, change, message):
    path = tmp_path / "mine.csv"
    change(table(*random_forecasts(store))).to_csv(path, index=False)
    with pytest.raises(InputError, match=message) as raised:
        read_own_forecasts(path, store)
    assert str(path) in str(raised.value)


def test_nan_as_probability_in_a_parquet_file_is_named(store, tmp_path):
    """Unlike a CSV file, Parquet distinguishes NaN from a missing value."""
    rows = table(*random_forecasts(store))
    rows.loc[(rows.scene_id == "12") & (rows.trajectory == 2), "probability"] = np.nan
    pq.write_table(pa.table({name: pa.array(rows[name].to_numpy()) for name in rows}), tmp_path / "mine.parquet")
    with pytest.raises(InputError, match="scene 12, trajectory 3 of 6: found nan; expected probabilities of 0 or more"):
        read_own_forecasts(tmp_path / "mine.parquet", store)


def invalid_arrays():
    yield "pickle", lambda a: a | {"scene_ids": np.array(NAMES, dtype=object)}, "scene_ids as text"
    yield "absent", lambda a: {k: v for k, v in a.items() if k != "probabilities"}, "an array 'probabilities'"
    yield "shape", lambda a: a | {"trajectories": a["trajectories"][:, :, :29]}, r"\(5, 6, 29, 2\).*30"
    yield "text", lambda a: a | {"trajectories": a["trajectories"].astype(str)}, "trajectories: found type <U"
    yield "twice", lambda a: a | {"scene_ids": ["11", "12", "13", "14", "11"]}, "row 5 of scene_ids: found scene 11"


@pytest.mark.parametrize(
    ("change", "message"), [case[1:] for case in invalid_arrays()], ids=[c[0] for c in invalid_arrays()]
)
def test_error_in_arrays_is_named(store, tmp_path, change, message):
    trajectories, probabilities = random_forecasts(store)
    path = tmp_path / "mine.npz"
    np.savez(path, **change({"scene_ids": NAMES, "trajectories": trajectories, "probabilities": probabilities}))
    with pytest.raises(InputError, match=message) as raised:
        read_own_forecasts(path, store)
    assert str(path) in str(raised.value)


def npy(descr="<f8", shape="(5, 6, 30, 2)", body=b""):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


def with_trajectories(content, compression=zipfile.ZIP_STORED):
    def damage(path):
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, kept in members.items():
                archive.writestr(name, content if name == "trajectories.npy" else kept)

    return damage


def unknown_compression(path):
    """Change the compression method of every member in the table of contents."""
    first, *entries = path.read_bytes().split(b"PK\x01\x02")
    path.write_bytes(b"PK\x01\x02".join([first, *(entry[:6] + b"\x63\x00" + entry[8:] for entry in entries)]))


def cut_stream(path):
    """Overwrite the compressed numbers."""
    with_trajectories(npy(body=np.random.default_rng(0).bytes(14400)), zipfile.ZIP_DEFLATED)(path)
    content = path.read_bytes()
    start = content.index(b"trajectories.npy") + 16
    path.write_bytes(content[:start] + b"\xff" * 100 + content[start + 100 :])


def claims_four_gigabytes(path):
    """Let both the array's header and the archive's table of contents claim that the trajectories have 4 GB."""
    modes = (1 << 32) // 300 - 1
    content = npy(descr="|i1", shape=f"(5, {modes}, 30, 2)")
    with_trajectories(content)(path)
    sizes = [(len(content) + extra).to_bytes(4, "little") for extra in (0, 300 * modes)]
    path.write_bytes(path.read_bytes().replace(*sizes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(cut_stream, r"unreadable \(error: ", id="zlib.error"),
        pytest.param(unknown_compression, "unreadable", id="unknown-compression"),
        pytest.param(with_trajectories(npy(shape="(5, 6, 30, 2")), "unreadable", id="header-without-bracket"),
        pytest.param(with_trajectories(npy(shape="(5, '''6")), "unreadable", id="header-with-open-text"),
        pytest.param(with_trajectories(npy(shape="(5, 10**12, 30, 2)")), "unreadable", id="header-with-a-power"),
        pytest.param(
            with_trajectories(npy(shape="(5, 1000000000000, 30, 2)")), r"trajectories\.npy: .* but 0 bytes", id="claim"
        ),
        pytest.param(claims_four_gigabytes, r"trajectories\.npy: .*in an archive of", id="claim-of-archive"),
        pytest.param(with_trajectories(b"\x93NUMPY\x07\x00"), "version", id="version"),
        pytest.param(with_trajectories(b""), "unreadable", id="empty"),
        pytest.param(lambda path: path.write_bytes(npy(body=bytes(14400))), "not a zip", id="npy-named-npz"),
    ],
)
def test_damaged_arrays_are_refused_without_reserving_memory(store, tmp_path, damage, message):
    path = write(tmp_path / "mine.npz", *random_forecasts(store))
    damage(path)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message) as raised:
            read_own_forecasts(path, store)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_in_any_order_of_memory_and_compressed_are_read(store, tmp_path, save):
    trajectories, probabilities = random_forecasts(store)
    expected = read_own_forecasts(write(tmp_path / "mine.npz", trajectories, probabilities), store)
    save(
        tmp_path / "other.npz",
        scene_ids=NAMES,
        trajectories=np.asfortranarray(trajectories),
        probabilities=probabilities.astype(">f8"),
    )
    found = read_own_forecasts(tmp_path / "other.npz", store)
    np.testing.assert_array_equal(found.trajectories, expected.trajectories)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


@pytest.mark.parametrize("name", ["mine.npz", "mine.parquet", "mine.csv", "mine.h5", "mine.txt", "absent.csv"])
def test_unreadable_or_missing_file_is_refused(store, tmp_path, name):
    if name != "absent.csv":
        (tmp_path / name).write_bytes(b"\x00\x01 no forecasts")
    with pytest.raises(InputError, match=name):
        read_own_forecasts(tmp_path / name, store)


def test_score_command_writes_the_files_that_the_report_reads(store, tmp_path):
    trajectories, probabilities = random_forecasts(store)
    write(tmp_path / "mine.parquet", trajectories, probabilities)
    command = [
        sys.executable, REPOSITORY / "stages/score_forecasts.py", "--params", PARAMS,
        "--forecasts", tmp_path / "mine.parquet", "--scenes", tmp_path / "store",
        "--out", tmp_path / "forecasts/mine", "--metrics", tmp_path / "metrics/mine.json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (tmp_path / "forecasts/mine").iterdir()}
    assert written >= {"forecasts.safetensors", "errors.parquet", "strata.json", "metadata.json"}
    expected = scene_errors(Forecasts.load(tmp_path / "forecasts/mine"), store, 2.0)["minFDE6"].mean()
    assert read_json(tmp_path / "metrics/mine.json")["minFDE6"] == pytest.approx(expected, abs=1e-6)
    assert done.stdout.startswith("mine: minADE6")
    metadata = read_json(tmp_path / "forecasts/mine/metadata.json")  # as make verify-spot compares them
    assert list(changed_parameters(metadata, PARAMS)) == []
    metadata["parameters"]["evaluate"]["miss_threshold"] = 3.0
    assert list(changed_parameters(metadata, PARAMS)) == [("evaluate", "miss_threshold", 3.0, 2.0)]


@pytest.mark.parametrize("out", ["forecasts/mine", "forecasts/../forecasts/mine", "forecasts", ".", ".."])
def test_score_command_does_not_replace_a_folder_that_contains_the_forecasts(store, tmp_path, monkeypatch, capsys, out):
    folder = tmp_path / "forecasts" / "mine"
    folder.mkdir(parents=True)
    trajectories, probabilities = random_forecasts(store)
    Forecasts.ranked(NAMES, trajectories - store.origins[:, None, None], probabilities).save(folder)
    before = file_hash(folder)
    monkeypatch.chdir(tmp_path)
    given = ["--forecasts", "forecasts/mine", "--scenes", "store", "--out", out, "--params", str(PARAMS)]
    monkeypatch.setattr(sys, "argv", ["score_forecasts.py", *given])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(REPOSITORY / "stages/score_forecasts.py"), run_name="__main__")
    assert stopped.value.code == 2
    assert f"--out: found {out}; expected another folder" in capsys.readouterr().err
    assert file_hash(folder) == before
