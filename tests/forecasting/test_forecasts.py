"""Tests of stored forecasts: writing and reading, refusal of damaged files, and the leaderboard file."""

from __future__ import annotations

import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
from forecasting_scenes import driven, straight_lanes, write_store

from synthdrive.core.errors import InputError
from synthdrive.forecasting.baselines import ConstantVelocity
from synthdrive.forecasting.forecast_scenes import forecast_scenes
from synthdrive.forecasting.forecasts import ARRAYS, Forecasts, check_scenes
from synthdrive.forecasting.leaderboard_files import read_leaderboard_file, write_leaderboard_file


@pytest.fixture
def store(tmp_path):
    random = np.random.default_rng(0)
    agents = np.stack([driven(angle, 8.0, 0.1, (1000.0, -300.0)) for angle in random.uniform(-3, 3, 7)])
    return write_store(tmp_path / "store", agents, straight_lanes([(0, 0), (1, 0)]), [str(n) for n in range(11, 18)])


def test_saved_forecasts_are_loaded_unchanged(tmp_path, store):
    forecasts = ConstantVelocity().forecast(store, range(7))
    (tmp_path / "forecasts").mkdir()
    forecasts.save(tmp_path / "forecasts", {"stage": "evaluate"})
    again = Forecasts.load(tmp_path / "forecasts")
    assert again.scene_ids == forecasts.scene_ids
    for name in ("trajectories", "probabilities", "objective"):
        np.testing.assert_array_equal(getattr(again, name), getattr(forecasts, name))


def test_truncated_file_is_refused_by_name(tmp_path, store):
    (tmp_path / "forecasts").mkdir()
    ConstantVelocity().forecast(store, range(7)).save(tmp_path / "forecasts")
    path = tmp_path / "forecasts" / ARRAYS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=ARRAYS):
        Forecasts.load(tmp_path / "forecasts")


@pytest.mark.parametrize("wrong", ["rising", "sum", "nan", "shape"])
def test_invalid_forecasts_are_refused_with_the_scene_id(store, wrong):
    forecasts = ConstantVelocity().forecast(store, range(7))
    probabilities, trajectories = forecasts.probabilities.copy(), forecasts.trajectories.copy()
    if wrong == "rising":
        probabilities[2] = probabilities[2, ::-1]
    if wrong == "sum":
        probabilities[2] /= 2
    if wrong == "nan":
        trajectories[2, 1, 3, 0] = np.nan
    if wrong == "shape":
        trajectories = trajectories[:, :5]
    with pytest.raises(InputError, match="trajectories" if wrong == "shape" else "scene 13"):
        replace(forecasts, probabilities=probabilities, trajectories=trajectories)


class Interrupted(Exception):
    pass


class CountingForecaster:
    """Constant-velocity forecaster that lists the scenes it has forecast and can fail at a given scene."""

    def __init__(self, fail_at=None):
        self.seen, self.fail_at = [], fail_at

    def forecast(self, store, indices):
        if self.fail_at in indices:
            raise Interrupted
        self.seen += list(indices)
        return ConstantVelocity().forecast(store, indices)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch", [1, 3, 50])
def test_every_scene_is_forecast_in_order(store, threads, batch):
    found = forecast_scenes(CountingForecaster(), store, batch, threads=threads)
    np.testing.assert_array_equal(found.trajectories, ConstantVelocity().forecast(store, range(7)).trajectories)
    check_scenes(found, store)


@pytest.fixture
def interrupted(tmp_path, store, monkeypatch):
    """The folder of a run in blocks of two scenes that stopped at scene 5."""
    monkeypatch.setattr("synthdrive.forecasting.forecast_scenes.BLOCK_SCENES", 2)
    with pytest.raises(Interrupted):
        forecast_scenes(CountingForecaster(fail_at=5), store, 2, tmp_path / "run")
    return tmp_path / "run"


def test_interrupted_run_resumes_after_its_last_block(interrupted, store):
    again = CountingForecaster()
    found = forecast_scenes(again, store, 2, interrupted)
    assert again.seen == [4, 5, 6]
    np.testing.assert_array_equal(found.trajectories, ConstantVelocity().forecast(store, range(7)).trajectories)
    assert sorted(path.name for path in interrupted.iterdir()) == [f"block-{k:05d}" for k in range(4)]


def test_damaged_block_is_forecast_again(interrupted, store):
    (interrupted / "block-00000" / ARRAYS).write_bytes(b"damaged")
    again = CountingForecaster()
    check_scenes(forecast_scenes(again, store, 2, interrupted), store)
    assert again.seen == [0, 1, 4, 5, 6]


def test_store_without_scenes_is_refused(tmp_path):
    store = write_store(tmp_path / "store", np.zeros((0, 50, 2)), straight_lanes([(0, 0), (1, 0)]))
    with pytest.raises(InputError, match="no scene"):
        forecast_scenes(ConstantVelocity(), store, 2)


def test_forecasts_of_other_scenes_are_refused(store):
    with pytest.raises(InputError, match="'12'"):
        check_scenes(ConstantVelocity().forecast(store, [1, 0, 2, 3, 4, 5, 6]), store)
    with pytest.raises(InputError, match="6 scenes"):
        check_scenes(ConstantVelocity().forecast(store, range(6)), store)


def test_leaderboard_file_has_the_official_layout_and_is_read_back(tmp_path, store):
    forecasts = ConstantVelocity().forecast(store, range(7))
    path = tmp_path / "submission.h5"
    write_leaderboard_file(path, forecasts, store.origins)
    with h5py.File(path) as file:
        assert list(file) == ["argoverse_forecasting"]
        rows = file["argoverse_forecasting"][:]
    assert rows.shape == (7 * 6 * 30, 4)
    city = forecasts.trajectories + store.origins[:, None, None]
    for row, (scene, mode, step) in ((0, (0, 0, 0)), (29, (0, 0, 29)), (30, (0, 1, 0)), (180 + 61, (1, 2, 1))):
        assert rows[row, 0] == float(store.scene_ids[scene])
        np.testing.assert_allclose(rows[row, 1:3], city[scene, mode, step], atol=1e-3)
        assert rows[row, 3] == forecasts.probabilities[scene, mode]
    again = read_leaderboard_file(path)
    assert list(again) == store.scene_ids
    for index, (trajectories, probabilities) in enumerate(again.values()):
        np.testing.assert_allclose(trajectories, city[index], atol=1e-3)
        assert probabilities.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((10**12, 4), "f8", "rows of shape"),  # declared but not written: HDF5 would fill them in
        ((180, 3), "f8", "rows of shape"),
        ((181, 4), "f8", "rows of shape"),
        ((), "f8", "rows of shape"),
        ((180, 4), h5py.string_dtype(), "floating point"),
    ],
)
def test_leaderboard_file_with_an_invalid_dataset_is_refused(tmp_path, shape, dtype, words):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("argoverse_forecasting", shape=shape, dtype=dtype, chunks=(90, 3) if shape else None)
    with pytest.raises(InputError, match=words):
        read_leaderboard_file(tmp_path / "a.h5")


@pytest.mark.parametrize("content", [None, b"", b"hello" * 500])
def test_file_that_is_not_a_leaderboard_file_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.h5"):
        read_leaderboard_file(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_group("argoverse_forecasting")
    with pytest.raises(InputError, match="a dataset"):
        read_leaderboard_file(tmp_path / "b.h5")


def test_leaderboard_file_has_the_same_bytes_every_time(tmp_path, store):
    forecasts = ConstantVelocity().forecast(store, range(7))
    for name in ("one.h5", "two.h5"):
        write_leaderboard_file(tmp_path / name, forecasts, store.origins)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_leaderboard_file_needs_numeric_scene_ids(tmp_path, store):
    forecasts = replace(ConstantVelocity().forecast(store, range(7)), scene_ids=["1", "2", "x_3", "4", "5", "6", "7"])
    with pytest.raises(InputError, match="x_3"):
        write_leaderboard_file(tmp_path / "no.h5", forecasts, store.origins)
    assert not (tmp_path / "no.h5").exists()


@pytest.mark.parametrize("wrong", ["interleaved", "twice"])
def test_leaderboard_file_in_another_row_order_is_refused(tmp_path, store, wrong):
    """Rows are read by position, so another order would mix up the trajectories."""
    write_leaderboard_file(tmp_path / "forecasts.h5", ConstantVelocity().forecast(store, range(7)), store.origins)
    with h5py.File(tmp_path / "forecasts.h5", "r+") as file:
        (rows,) = file.values()
        if wrong == "twice":
            rows[180:360, 0] = rows[0, 0]
        else:
            rows[...] = rows[...].reshape(7, 6, 30, 4).transpose(0, 2, 1, 3).reshape(-1, 4)
    with pytest.raises(InputError, match="sequence 11 2 times" if wrong == "twice" else "row 2: probability"):
        read_leaderboard_file(tmp_path / "forecasts.h5")


@pytest.mark.parametrize("number", [11.4, -3.0, np.inf, 1e300])
def test_leaderboard_file_with_an_impossible_sequence_number_is_refused(tmp_path, store, number):
    """Rounded, 11.4 would be the name of another scene."""
    path = tmp_path / "forecasts.h5"
    write_leaderboard_file(path, ConstantVelocity().forecast(store, range(7)), store.origins)
    with h5py.File(path, "r+") as file:
        file["argoverse_forecasting"][180:360, 0] = number
    with pytest.raises(InputError, match=rf"row 181: sequence: found {re.escape(str(number))}; expected .*whole"):
        read_leaderboard_file(path)
