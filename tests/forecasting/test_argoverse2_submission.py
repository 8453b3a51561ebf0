"""Tests of the Argoverse 2 challenge file: frame of the forecasts, round trip, and metrics of the challenge."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from argoverse2_data import scenario_id, scenario_pair, write_split
from given_parameters import committed
from synthdrive.config.data import IngestParameters
from synthdrive.core.errors import InputError
from synthdrive.core.timing import ARGOVERSE2, Timing
from synthdrive.forecasting.baselines import ConstantVelocity, LaneFollowing
from synthdrive.forecasting.evaluate import displacement_errors, scene_errors, strata
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.forecasting.leaderboard_files import read_submission, write_submission
from synthdrive.forecasting.own_forecasts import read_own_forecasts
from synthdrive.ingestion.argoverse2 import ingest_scenarios
from synthdrive.scenes.scene_store import SceneStore

PARAMETERS = committed(IngestParameters, local_maps=3)
KINDS = ["vehicle", "pedestrian", "vehicle"]


def make_stores(folder, timing=ARGOVERSE2):
    complete = [scenario_pair(number, kind=kind) for number, kind in enumerate(KINDS, start=1)]
    observed = [scenario_pair(number, steps=50, kind=kind) for number, kind in enumerate(KINDS, start=1)]
    for split, pairs in (("val", complete), ("test", observed)):
        write_split(folder / f"{split}.tar", {name: content for pair in pairs for name, content in pair.items()})
    outs = {split: folder / split for split in ("val", "test")}
    ingest_scenarios(folder, outs, PARAMETERS, 50.0, timing, workers=1)
    return SceneStore.load(outs["val"]), SceneStore.load(outs["test"])


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return make_stores(tmp_path_factory.mktemp("argoverse2"))


def random_forecasts(store):
    draw = np.random.default_rng(0)
    size = len(store)
    trajectories = draw.normal(0, 5, (size, 6, 60, 2)).cumsum(axis=2)
    return Forecasts.ranked(store.scene_ids, trajectories, draw.random((size, 6)))


def test_submission_is_read_back_unchanged_and_has_fixed_bytes(tmp_path, stores):
    _, test = stores
    forecasts = random_forecasts(test)
    write_submission(tmp_path / "one.parquet", forecasts, test)
    write_submission(tmp_path / "two.parquet", forecasts, test)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    found = read_submission(tmp_path / "one.parquet")
    assert list(found) == [scenario_id(number) for number in (1, 2, 3)]
    for row, (track, xy, probability) in enumerate(found.values()):
        assert track == str(row + 1)
        expected = forecasts.trajectories[row].astype(np.float64) + test.origins[row]
        np.testing.assert_array_equal(xy, expected)
        np.testing.assert_allclose(probability, forecasts.probabilities[row], atol=1e-6)
        assert abs(probability.sum() - 1.0) < 1e-12


def test_submission_can_be_scored(tmp_path, stores):
    val, test = stores
    forecasts = random_forecasts(test)
    forecasts = replace(forecasts, trajectories=forecasts.trajectories / 10)  # no jump at the start
    write_submission(tmp_path / "file.parquet", forecasts, test)
    scores = scene_errors(read_own_forecasts(tmp_path / "file.parquet", val), val, 2.0)
    for name, errors in scene_errors(forecasts, val, 2.0).items():
        np.testing.assert_allclose(scores[name], errors, atol=1e-4)


def test_submission_has_the_columns_of_the_challenge(tmp_path, stores):
    _, test = stores
    write_submission(tmp_path / "file.parquet", random_forecasts(test), test)
    table = pq.read_table(tmp_path / "file.parquet")
    assert table.num_rows == 18
    assert table.schema.names == [
        "scenario_id", "track_id", "probability", "predicted_trajectory_x", "predicted_trajectory_y",
    ]  # fmt: skip
    assert {len(line) for line in table["predicted_trajectory_x"].to_pylist()} == {60}


def test_forecasts_of_another_length_are_refused(tmp_path, stores):
    _, test = stores
    short, _ = make_stores(tmp_path, Timing(20, 30, 0.1))
    with pytest.raises(InputError, match="30 steps; expected 60"):
        write_submission(tmp_path / "file.parquet", ConstantVelocity().forecast(short, range(3)), short)
    assert not (tmp_path / "file.parquet").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["track_id"]), "found columns"),
        (lambda table: table.slice(1), "5 trajectories; expected 6"),
        (lambda table: table.set_column(2, "probability", pa.array(np.ones(len(table)))), "do not sum to 1"),
    ],
)
def test_invalid_submission_is_refused(tmp_path, stores, change, message):
    _, test = stores
    write_submission(tmp_path / "file.parquet", random_forecasts(test), test)
    pq.write_table(change(pq.read_table(tmp_path / "file.parquet")), tmp_path / "file.parquet")
    with pytest.raises(InputError, match=message):
        read_submission(tmp_path / "file.parquet")


@pytest.mark.parametrize("column", ["track_id", "probability", "predicted_trajectory_x", "predicted_trajectory_y"])
@pytest.mark.parametrize("inside", [False, True])
def test_missing_value_is_refused_with_scenario_and_column(tmp_path, stores, column, inside):
    _, test = stores
    path = tmp_path / "file.parquet"
    write_submission(path, random_forecasts(test), test)
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[7] = [None, *values[7][1:]] if inside and isinstance(values[7], list) else None
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, column, pa.array(values, table.schema.field(column).type)), path)
    with pytest.raises(InputError, match=f"scenario {scenario_id(2)}: {column}: found a missing value") as raised:
        read_submission(path)
    assert str(path) in str(raised.value)


def test_baselines_forecast_test_scenes_like_scenes_with_a_future(stores):
    val, test = stores
    for baseline in (ConstantVelocity, LaneFollowing):
        one, other = (baseline().forecast(store, range(3)) for store in (val, test))
        np.testing.assert_array_equal(one.trajectories, other.trajectories)
        assert one.trajectories.shape == (3, 6, 60, 2)


def test_pedestrian_is_forecast_without_lanes_and_has_a_stratum(stores):
    val, _ = stores
    lanes, straight = LaneFollowing().forecast(val, range(3)), ConstantVelocity().forecast(val, range(3))
    same = [np.array_equal(lanes.trajectories[row], straight.trajectories[row]) for row in range(3)]
    assert same == [False, True, False]
    groups = strata(val.manifest, 5.0, 10.0, [40.0])
    assert groups["type_pedestrian"].tolist() == [False, True, False]
    assert groups["type_vehicle"].tolist() == [True, False, True]


def test_errors_cover_six_seconds_and_shorter_horizons(stores):
    val, _ = stores
    errors = scene_errors(random_forecasts(val), val, 2.0)
    assert {f"minFDE1_{second}s" for second in range(1, 6)} <= set(errors)
    assert "minFDE1_6s" not in errors
    assert {"minADE6", "minFDE6", "MR6", "brier_minFDE6", "minADE1", "minFDE1", "MR1"} <= set(errors)


def test_metrics_equal_the_definitions_of_the_challenge():
    """Recomputed here as in av2's eval/metrics.py: the best of K has the smallest endpoint error."""
    draw = np.random.default_rng(1)
    forecasts, truth = draw.normal(0, 1, (200, 6, 60, 2)).cumsum(2), draw.normal(0, 1, (200, 60, 2)).cumsum(1)
    probability = draw.dirichlet(np.ones(6), 200)
    for guesses in (1, 6):
        found = displacement_errors(forecasts, truth, guesses, probability, miss_threshold=2.0)
        for row in range(200):
            likely = np.argsort(-probability[row])[:guesses]
            fraction = probability[row, likely] / probability[row, likely].sum()
            error = np.linalg.norm(forecasts[row, likely] - truth[row], axis=-1)
            best = int(error[:, -1].argmin())
            assert found["minFDE"][row] == pytest.approx(error[best, -1], abs=1e-12)
            assert found["minADE"][row] == pytest.approx(error[best].mean(), abs=1e-12)
            assert found["MR"][row] == float(error[best, -1] > 2.0)
            assert found["brier-minFDE"][row] == pytest.approx(error[best, -1] + (1 - fraction[best]) ** 2, abs=1e-12)
