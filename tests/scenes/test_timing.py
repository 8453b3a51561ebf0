"""Tests of scenes of different lengths: three timings in one process, each with its own network, never mixed."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from given_parameters import paper
from synthdrive.config.data import SceneParameters
from synthdrive.config.training import ModelParameters, PretrainParameters
from synthdrive.core.errors import InputError, ParameterError
from synthdrive.core.schema import from_values
from synthdrive.core.timing import ARGOVERSE1, ARGOVERSE2, Timing, read_timing
from synthdrive.forecasting.baselines import BASELINES
from synthdrive.forecasting.evaluate import scene_errors
from synthdrive.models.batch import collate
from synthdrive.models.densetnt import DenseTNT
from synthdrive.pretraining.pretrain import pretraining_model
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import AGENT, OTHERS, SceneStore
from synthdrive.scenes.scene_store_writer import SceneStoreWriter

LONG = Timing(20, 80, 0.1)
TIMINGS = [ARGOVERSE1, ARGOVERSE2, LONG]
MODEL = paper(ModelParameters, hidden_size=32, sub_graph_layers=1, dense_from_goals=4, max_goal_acceleration=5.0)


def street(count=3):
    """Parallel straight lanes."""
    points = np.zeros((count, 10, 2))
    points[:, :, 0] = np.linspace(-50, 150, 10)
    points[:, :, 1] = 4.0 * np.arange(count)[:, None]
    flags = np.zeros(count, dtype=bool)
    numbers = np.arange(count, dtype=np.int64)
    return LaneSegments(numbers, points, np.full(count, 10), np.zeros(count, np.int8), flags, flags.copy())


def write_store(directory, timing, scenes=2):
    """Write scenes with a focal agent at 10 m/s and one other agent."""
    import pyarrow as pa

    directory.mkdir(parents=True)
    writer = SceneStoreWriter(directory, timing)
    lanes = street()
    for _ in range(scenes):
        step = np.arange(timing.steps)
        track = np.stack([step - timing.last_observed, np.zeros(timing.steps)], axis=1)
        writer.append(
            xy=np.concatenate([track, track[:15] + [0.0, 4.0]]).astype(np.float32),
            step=np.concatenate([step, step[:15]]).astype(np.uint8),
            track_lengths=np.array([timing.steps, 15]),
            track_types=np.array([AGENT, OTHERS], dtype=np.uint8),
            times=(step * timing.step_seconds).astype(np.float32),
            lane_rows=np.arange(3, dtype=np.int32),
        )
    zeros = pa.array(np.zeros(scenes))
    ids = [f"s{row}" for row in range(scenes)]
    manifest = pa.table({"scene_id": ids, "city": ["X"] * scenes, "origin_x": zeros, "origin_y": zeros})
    writer.close(manifest, lanes)
    return SceneStore.load(directory)


@pytest.mark.parametrize("timing", TIMINGS, ids=str)
def test_every_network_and_baseline_works_at_any_timing(tmp_path, timing):
    store = write_store(tmp_path / "store", timing)
    assert store.timing == timing
    batch = collate(store, [0, 1])
    assert batch.timing == batch.to("cpu").timing == timing
    network = DenseTNT(MODEL, timing)
    network(batch).total.backward()
    distribution = network.goal_distribution(batch)
    trajectories = network.complete(distribution, distribution.goals[:, :6])
    assert trajectories.shape == (2, 6, timing.future_steps, 2)
    for objective in ("masked", "scene"):
        parameters = paper(PretrainParameters, objective=objective)
        pretraining_model(MODEL, parameters, timing)(batch).total.backward()
    for baseline in BASELINES.values():
        forecasts = baseline().forecast(store, [0, 1])
        errors = scene_errors(forecasts, store, 2.0)
        assert errors["minFDE1"].max() < 1e-3  # all agents drive straight on at a constant speed
        assert f"minFDE1_{int(timing.future_seconds) - 1}s" in errors


def test_scenes_and_forecasts_of_another_timing_are_refused(tmp_path):
    stores = [write_store(tmp_path / str(number), timing) for number, timing in enumerate(TIMINGS)]
    batches = [collate(store, [0, 1]) for store in stores]
    words = "50 observed and 60 future steps of 0.1 s; expected 20 observed and 30 future steps"
    with pytest.raises(InputError, match=words):
        DenseTNT(MODEL, ARGOVERSE1).goal_distribution(batches[1])
    for objective in ("masked", "scene"):
        parameters = paper(PretrainParameters, objective=objective)
        with pytest.raises(InputError, match=words):
            pretraining_model(MODEL, parameters, ARGOVERSE1)(batches[1])
    forecasts = BASELINES["constant_velocity"]().forecast(stores[1], [0, 1])
    with pytest.raises(InputError, match="60 steps; expected 80"):
        scene_errors(forecasts, stores[2], 2.0)


def test_a_store_without_a_future_keeps_its_timing(tmp_path):
    store = write_store(tmp_path / "whole", ARGOVERSE2)
    (tmp_path / "cut").mkdir()
    writer = SceneStoreWriter(tmp_path / "cut", ARGOVERSE2, future=False)
    writer.append(
        xy=store[0].agent[:50],
        step=np.arange(50, dtype=np.uint8),
        track_lengths=np.array([50]),
        track_types=np.array([AGENT], dtype=np.uint8),
        times=store.times[0, :50],
        lane_rows=np.arange(3, dtype=np.int32),
    )
    writer.close(store.manifest.slice(0, 1), store.lanes)
    cut = SceneStore.load(tmp_path / "cut")
    assert (cut.steps, cut.timing) == (50, ARGOVERSE2)
    with pytest.raises(InputError, match="50 steps, which have no future; expected scenes of 110"):
        cut.require_future("cut")
    network = DenseTNT(MODEL, ARGOVERSE2).eval()
    with torch.no_grad():
        found = network.goal_distribution(collate(cut, [0]))
    assert len(found.goals) > 0
    assert torch.isfinite(found.goals).all()


@pytest.mark.parametrize(
    "found",
    [None, {}, {"history_steps": 20, "future_steps": 30}, {**ARGOVERSE1.plain(), "future_steps": "30"},
     {**ARGOVERSE1.plain(), "history_steps": 250}, {**ARGOVERSE1.plain(), "step_seconds": 0.2}],
)  # fmt: skip
def test_damaged_metadata_are_refused(tmp_path, found):
    with pytest.raises(InputError, match="timing"):
        read_timing(found, "card: timing")
    store = tmp_path / "store"
    write_store(store, ARGOVERSE1)
    (store / "metadata.json").write_text(json.dumps({"timing": found, "maps": "city"}))
    with pytest.raises(InputError, match="timing"):
        SceneStore.load(store)


def test_a_store_whose_length_contradicts_its_timing_is_refused(tmp_path):
    write_store(tmp_path / "store", ARGOVERSE1)
    (tmp_path / "store" / "metadata.json").write_text(json.dumps({"timing": LONG.plain(), "maps": "city"}))
    with pytest.raises(InputError, match="times: found 50 steps; expected 100, or 20"):
        SceneStore.load(tmp_path / "store")


@pytest.mark.parametrize(("key", "value"), [("history_steps", 5), ("future_steps", 250), ("step_seconds", 0.2)])
def test_impossible_timings_are_refused_as_parameters(key, value):
    values = {"map_half_width": 50.0, "timing": {**ARGOVERSE1.plain(), key: value}}
    with pytest.raises(ParameterError, match="scene.timing"):
        from_values(SceneParameters, values, "scene")
    with pytest.raises(InputError, match="timing"):
        dataclasses.replace(ARGOVERSE1, **{key: value})
