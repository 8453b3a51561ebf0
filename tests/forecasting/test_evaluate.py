"""Tests of evaluation: metrics equal to Argoverse 1's, strata, files, and the commands that write the files."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from forecasting_scenes import driven, straight_lanes, write_store

from commands import run, run_stage
from repository import PARAMS, REPOSITORY
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.config.training import ModelParameters
from synthdrive.core.artifacts import atomic_directory, file_hash, read_json
from synthdrive.core.errors import InputError, ParameterError
from synthdrive.core.parameters import load_section
from synthdrive.core.schema import from_values
from synthdrive.core.seeding import item_seed
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.forecasting import evaluate
from synthdrive.forecasting.baselines import ConstantVelocity
from synthdrive.forecasting.evaluate import (
    load_scene_errors,
    scene_errors,
    score,
    strata,
    write_evaluation,
)
from synthdrive.forecasting.forecast_scenes import GoalForecaster
from synthdrive.models.batch import collate
from synthdrive.models.densetnt import DenseTNT
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.synthesis.motion import agent_tracks
from synthdrive.training.checkpoints import save_checkpoint

PARAMETERS = load_section(EvaluateParameters, "evaluate", PARAMS)

displacement_errors = partial(evaluate.displacement_errors, miss_threshold=2.0)


@pytest.fixture
def store(tmp_path):
    random = np.random.default_rng(0)
    agents = np.stack([driven(angle, 8.0, 0.2, (50.0, 20.0)) for angle in random.uniform(-3, 3, 12)])
    columns = {
        "turn": pa.array(["left", "right", "straight"] * 4),
        "agent_mean_speed": pa.array(np.linspace(1.0, 23.0, 12)),
        "at_intersection": pa.array([True, False, False] * 4),
        "agent_displacement": pa.array(np.linspace(0.0, 99.0, 12)),
    }
    road = [(0.0, 0.0), (30.0, 10.0), (60.0, 20.0), (90.0, 30.0)]
    return write_store(tmp_path / "store", agents, straight_lanes(road), columns=columns)


def test_strata_partition_the_scenes(store):
    groups = strata(store.manifest, 5.0, 10.0, [20.0, 40.0])
    assert groups["all"].all()
    for parts in (
        ("left", "right", "straight"),
        ("slow", "medium", "fast"),
        ("intersection", "no_intersection"),
        ("displacement_0_20", "displacement_20_40", "displacement_from_40"),
    ):
        np.testing.assert_array_equal(sum(groups[part].astype(int) for part in parts), np.ones(12))
    assert groups["slow"].sum() == 2
    assert groups["fast"].sum() == 7
    assert groups["left"][0]
    assert groups["displacement_20_40"].sum() == 2


def test_strata_are_absent_if_the_manifest_lacks_their_columns(store):
    assert set(strata(store.manifest.select(["scene_id"]), 5.0, 10.0, [20.0])) == {"all"}


def test_errors_are_measured_against_the_future_of_each_scene(store):
    forecasts = ConstantVelocity().forecast(store, range(12))
    exact = forecasts.trajectories.copy()
    exact[:, 3] = agent_tracks(store, range(12))[:, 20:]
    found = scene_errors(replace(forecasts, trajectories=exact), store, 2.0)
    np.testing.assert_allclose(found["minFDE6"], 0, atol=1e-5)
    np.testing.assert_allclose(found["brier_minFDE6"], (1 - forecasts.probabilities[:, 3]) ** 2, atol=1e-5)
    truth = agent_tracks(store, range(12))[:, 20:]
    first = np.linalg.norm(exact[:, 0] - truth, axis=-1)
    np.testing.assert_allclose(found["minFDE1"], first[:, 29], rtol=1e-6)
    np.testing.assert_allclose(found["minFDE1_1s"], first[:, 9], rtol=1e-6)
    np.testing.assert_allclose(found["minADE1_2s"], first[:, :20].mean(axis=1), rtol=1e-6)


def test_files_contain_every_metric_with_count_and_interval(tmp_path, store):
    forecasts = ConstantVelocity().forecast(store, range(12))
    headline = write_evaluation(forecasts, store, PARAMETERS, {}, tmp_path / "out", tmp_path / "m.json")
    assert read_json(tmp_path / "m.json") == headline
    assert all(isinstance(value, (int, float)) for value in headline.values())
    assert headline["scenes"] == 12
    table = read_json(tmp_path / "out" / "strata.json")
    names, errors = load_scene_errors(tmp_path / "out")
    assert names == store.scene_ids
    edges = PARAMETERS.displacement_edges
    groups = strata(store.manifest, PARAMETERS.slow_below, PARAMETERS.fast_above, edges)
    for group, inside in groups.items():
        assert table[group]["scenes"] == inside.sum()
        for name, values in errors.items():
            if inside.any():
                assert table[group][name]["mean"] == pytest.approx(values[inside].mean(), abs=1e-6)
                assert table[group][name]["low"] <= table[group][name]["mean"] <= table[group][name]["high"]
            else:
                assert name not in table[group]
    assert headline["minFDE6"] == table["all"]["minFDE6"]["mean"]
    rows = pq.read_table(tmp_path / "out" / "errors.parquet")
    assert rows["in_left"].to_pylist() == [True, False, False] * 4


def test_scoring_stored_forecasts_again_writes_the_same_bytes(tmp_path, store):
    forecasts = ConstantVelocity().forecast(store, range(12))
    write_evaluation(forecasts, store, PARAMETERS, {}, tmp_path / "out", tmp_path / "m.json")
    run_stage(
        "score_forecasts", tmp_path, "--forecasts", "out", "--scenes", "store", "--out", "again", "--metrics", "n.json"
    )
    assert (tmp_path / "n.json").read_bytes() == (tmp_path / "m.json").read_bytes()
    for name in ("errors.parquet", "strata.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_baselines_command_writes_metrics_and_forecasts_that_can_be_exported(tmp_path, store):
    run_stage("evaluate_baselines", tmp_path, "--scenes", "store")
    for name in ("constant_velocity", "lane_following"):
        assert read_json(tmp_path / "metrics" / f"{name}.json")["scenes"] == 12
        metadata = read_json(tmp_path / "forecasts" / name / "metadata.json")
        assert (metadata["variant"], metadata["seed"]) == (name, None)
        assert metadata["parameters"]["evaluate"]["miss_threshold"] == 2.0
    export = [sys.executable, str(REPOSITORY / "stages" / "export_leaderboard.py")]  # needs no params.yaml here
    run(tmp_path, *export, "--forecasts", "forecasts/lane_following", "--scenes", "store", "--out", "l.h5")
    assert (tmp_path / "l.h5").stat().st_size > 0


def network(seed=0):
    """Return a small DenseTNT with random weights, and its parameters."""
    torch.manual_seed(seed)
    values = {
        **json.loads(json.dumps(load_section(ModelParameters, "model", PARAMS).__dict__)),
        "hidden_size": 32,
    }
    return DenseTNT(from_values(ModelParameters, values, "model"), ARGOVERSE1), values


def checkpoint(folder):
    """Save the network as fine-tuning does."""
    model, values = network()
    card = {"stage": "finetune", "variant": "map", "seed": 1, "model": values, "timing": ARGOVERSE1.plain()}
    save_checkpoint(folder, model, card, [])


def test_evaluate_command_forecasts_with_a_checkpoint(tmp_path, store):
    checkpoint(tmp_path / "map-1")
    for out, workers in (("one", 1), ("two", 2)):
        arguments = ("--scenes", "store", "--out", out, "--metrics", f"{out}.json", "--workers", workers)
        run_stage("evaluate", tmp_path, "--checkpoint", "map-1", "--device", "cpu", *arguments)
    for name in ("forecasts.safetensors", "manifest.parquet", "errors.parquet", "strata.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    metadata = read_json(tmp_path / "one" / "metadata.json")
    assert (metadata["variant"], metadata["seed"]) == ("map", 1)
    record = read_json(tmp_path / "provenance" / "evaluate" / "map-1.json")
    assert record["made_by"]["inputs"]["checkpoint"] == file_hash(tmp_path / "map-1")
    assert not list((tmp_path / ".run").rglob("*.safetensors"))


def test_evaluate_command_names_a_missing_checkpoint(tmp_path, store):
    assert "nowhere" in run_stage("evaluate", tmp_path, "--checkpoint", "nowhere", "--scenes", "store", status=2)


@pytest.mark.parametrize("selection", ["goal_sets", "nms"])
def test_trajectories_end_at_the_chosen_goals_and_ignore_the_future(tmp_path, store, selection):
    model, _ = network()
    forecaster = GoalForecaster(model, replace(PARAMETERS, selection=selection, num_restarts=4), torch.device("cpu"))
    found = forecaster.forecast(store, range(12))
    changed = agent_tracks(store, range(12)) + store.origins[:, None]
    changed[:, 20:] += 30.0
    other = write_store(tmp_path / "changed", changed, store.lanes)
    changed_future = forecaster.forecast(other, range(12))
    np.testing.assert_allclose(changed_future.trajectories, found.trajectories, atol=1e-4)
    with torch.no_grad():
        distribution = model.goal_distribution(collate(store, range(12)))
    seeds = torch.tensor([item_seed(PARAMETERS.seed, name) for name in store.scene_ids])
    chosen = forecaster.choose(distribution.goals, distribution.log_prob, distribution.valid, seeds)
    goals = distribution.frame.to_city(chosen.goals.float())
    np.testing.assert_allclose(found.trajectories[:, :, -1], goals, atol=1e-3)
    np.testing.assert_allclose(found.probabilities, chosen.probabilities, atol=1e-6)


def test_forecast_of_a_scene_does_not_depend_on_its_batch(store):
    model, _ = network()
    forecaster = GoalForecaster(model, replace(PARAMETERS, num_restarts=4), torch.device("cpu"))
    together = forecaster.forecast(store, range(12))
    for index in (0, 7):
        alone = forecaster.forecast(store, [index])
        np.testing.assert_allclose(alone.trajectories[0], together.trajectories[index], atol=2e-3)
        np.testing.assert_allclose(alone.probabilities[0], together.probabilities[index], atol=1e-3)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("selection", "best"),
        ("miss_rate_weight", 1.5),
        ("min_probability", 0.0),
        ("nms_distance", -1.0),
        ("temperature", 0.0),
        ("num_restarts", 0),
        ("fast_above", 1.0),
        ("displacement_edges", [40.0, 20.0]),
        ("bootstrap_samples", 0),
        ("batch_size", 0),
        ("unknown", 1),
        ("num_restarts", "many"),
    ],
)
def test_invalid_parameters_are_refused_by_name(key, value):
    values = {**PARAMETERS.__dict__, key: value}
    with pytest.raises(ParameterError, match=key):
        from_values(EvaluateParameters, values, "params.yaml: evaluate")


def test_failed_scoring_leaves_no_metrics_folder(tmp_path, store):
    other = SceneStore.load(tmp_path / "store")
    forecasts = ConstantVelocity().forecast(other, range(11))
    with pytest.raises(Exception, match="11 scenes"), atomic_directory(tmp_path / "out") as partial:
        score(forecasts, store, PARAMETERS, partial)
    assert not (tmp_path / "out").exists()


@pytest.mark.reference
def test_every_metric_equals_the_reference(reference):
    arrays = np.load(reference / "golden" / "metrics.npz")
    expected = json.loads((reference / "golden" / "metrics.json").read_text())
    compared = 0
    for case, metrics in expected.items():
        guesses, horizon, weighted = case.split("_")
        errors = displacement_errors(
            arrays["forecasts"],
            arrays["gt"],
            int(guesses.removeprefix("K")),
            arrays["probabilities"] if weighted == "prob" else None,
            arrays["n_forecasts"],
            int(horizon.removeprefix("H")),
        )
        assert set(errors) == set(metrics)
        for name, value in metrics.items():
            assert errors[name].mean() == pytest.approx(value, abs=1e-9)
            compared += 1
    assert compared


@pytest.mark.reference
def test_errors_of_every_scene_equal_the_reference(reference):
    arrays = np.load(reference / "golden" / "metrics.npz")
    errors = displacement_errors(
        arrays["forecasts"], arrays["gt"], 6, arrays["probabilities"], arrays["n_forecasts"], 30
    )
    for name, column in zip(arrays["per_scene_columns"], arrays["per_scene_K6_H30_prob"].T, strict=True):
        np.testing.assert_allclose(errors[str(name)], column, atol=1e-9, rtol=0)


def straight_forecasts(*endpoints, steps=30):
    """Return (1, M, T, 2) straight trajectories from the origin to these points."""
    fraction = np.arange(1, steps + 1)[:, None] / steps
    return np.stack([fraction * np.array(end, dtype=float) for end in endpoints])[None]


def test_minade_is_the_ade_of_the_trajectory_with_the_smallest_endpoint_error():
    truth = straight_forecasts((30.0, 0.0))[0]
    forecasts = straight_forecasts((29.0, 0.0), (30.0, 0.0))
    forecasts[0, 1, :-1] += (0.0, 5.0)  # far away except at the endpoint, which is exact
    errors = displacement_errors(forecasts, truth, 6)
    assert errors["minFDE"][0] == 0
    assert errors["minADE"][0] == pytest.approx(5.0 * 29 / 30)


def test_most_likely_trajectories_are_scored_with_renormalised_probabilities():
    truth = straight_forecasts((10.0, 0.0))[0]
    forecasts = straight_forecasts((10.0, 0.0), (14.0, 0.0), (11.0, 0.0))
    probabilities = np.array([[0.2, 0.5, 0.3]])
    assert displacement_errors(forecasts, truth, 1, probabilities)["minFDE"][0] == pytest.approx(4.0)
    two = displacement_errors(forecasts, truth, 2, probabilities)
    assert two["minFDE"][0] == pytest.approx(1.0)
    assert two["brier-minFDE"][0] == pytest.approx(1.0 + (1 - 0.3 / 0.8) ** 2)
    assert two["p-minFDE"][0] == pytest.approx(1.0 - np.log(0.3 / 0.8))
    assert two["p-MR"][0] == pytest.approx(1 - 0.3 / 0.8)
    assert displacement_errors(forecasts, truth, 1)["minFDE"][0] == 0  # without probabilities the first one counts


def test_only_an_endpoint_error_above_the_threshold_is_a_miss():
    truth = straight_forecasts((10.0, 0.0))[0]
    forecasts = straight_forecasts((12.0, 0.0))
    assert displacement_errors(forecasts, truth, 6)["MR"][0] == 0
    assert displacement_errors(forecasts, truth, 6, miss_threshold=1.99)["MR"][0] == 1


def test_penalty_for_an_improbable_best_trajectory_is_limited():
    truth = straight_forecasts((10.0, 0.0))[0]
    forecasts = straight_forecasts((20.0, 0.0), (10.0, 0.0))
    errors = displacement_errors(forecasts, truth, 6, np.array([[1.0, 0.0]]))
    assert errors["p-minFDE"][0] == pytest.approx(-np.log(0.05))


@pytest.mark.parametrize(
    ("forecasts", "truth", "guesses"),
    [
        ((2, 6, 30, 3), (2, 30, 2), 6),
        ((2, 6, 30, 2), (3, 30, 2), 6),
        ((2, 6, 20, 2), (2, 30, 2), 6),
        ((2, 6, 30, 2), (2, 30, 2), 0),
    ],
)
def test_inconsistent_shapes_are_refused(forecasts, truth, guesses):
    with pytest.raises(InputError):
        displacement_errors(np.zeros(forecasts), np.zeros(truth), guesses)
