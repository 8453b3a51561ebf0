"""Tests of the recorded reconstructions: windows, masks and rotations are the same throughout training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import write_store

from given_parameters import paper
from synthdrive.config.training import ModelParameters, ObjectiveParameters
from synthdrive.core.artifacts import read_arrays, write_arrays
from synthdrive.core.errors import InputError
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.pretraining.reconstructions import SAMPLES, FixedWindows, Reconstructions
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import save_tensors
from synthdrive.training.monitoring import look_again

MODEL = paper(ModelParameters, hidden_size=32, sub_graph_layers=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SceneStore:
    return SceneStore.load(write_store(tmp_path_factory.mktemp("windows") / "store", 20))


def _record(path: Path, store: SceneStore, seed: int = 0, windows: int = 20, **objective: float) -> Reconstructions:
    """Record the reconstructions of one network, then of another."""
    settings = paper(ObjectiveParameters, **objective)
    torch.manual_seed(1)
    first, second = (MaskedAutoencoder(MODEL, settings, store.timing) for _ in range(2))
    before = torch.get_rng_state()
    watched = FixedWindows(store, np.arange(windows), settings, seed)
    seen = look_again(watched, second, look_again(watched, first, {}))
    save_tensors(path, {**watched.fixed(second), **seen})
    assert torch.equal(torch.get_rng_state(), before)
    return Reconstructions.load(path)


def test_the_recorded_kinds_are_those_that_the_variant_trains(store: SceneStore, tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    kinds = [True] * SAMPLES + [False] * SAMPLES
    for fraction, expected in ((0.01, kinds), (1.0, kinds[:SAMPLES]), (0.0, kinds[SAMPLES:])):
        kept = _record(path, store, map_probability=fraction)
        assert kept.is_map.tolist() == expected
        assert kept.epochs == 1
        assert len(kept.lane_predicted[0]) == kept.lane_hidden.sum()
        assert len(kept.agent_predicted[0]) == expected.count(False)
        assert (kept.lane_hidden.sum() > 0) == any(expected)
        assert np.isfinite(kept.lane_predicted).all()
        assert np.isfinite(kept.agent_predicted).all()
    assert path.stat().st_size < 100_000


def test_masks_stay_fixed_while_predictions_change(store: SceneStore, tmp_path: Path) -> None:
    kept, again, other = (_record(tmp_path / str(run), store, seed) for run, seed in enumerate((0, 0, 1)))
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()
    assert kept.agent_points.tolist() == again.agent_points.tolist() != other.agent_points.tolist()
    assert (kept.lane_predicted[0] != kept.lane_predicted[1]).any()
    alone = _record(tmp_path / "map", store, map_probability=1.0)
    both = kept.is_map[kept.lane_scene]
    assert alone.lane_points.tolist() == kept.lane_points[both].tolist()  # variants of a seed show the same samples
    assert alone.lane_hidden.tolist() == kept.lane_hidden[both].tolist()
    fraction = _record(tmp_path / "few", store, mask_ratio=0.3).lane_hidden.mean()
    assert fraction < kept.lane_hidden.mean()


def test_a_store_of_one_window_is_enough(store: SceneStore, tmp_path: Path) -> None:
    assert len(_record(tmp_path / "kept", store, windows=1).is_map) == 2 * SAMPLES


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("agent_best", lambda array: array + 9, "0 to 5"),
        ("lane_predicted", lambda array: array[:, 1:], "shape"),
        ("lane_scene", lambda array: array - 1, "lanes of an unknown sample"),
        ("agent_points", lambda array: array.astype(np.float64), "float32"),
    ],
)
def test_inconsistent_arrays_are_refused(
    store: SceneStore, tmp_path: Path, name: str, change: object, message: str
) -> None:
    path = tmp_path / "kept.safetensors"
    _record(path, store)
    arrays, _ = read_arrays(path)
    write_arrays(path, {**arrays, name: change(arrays[name])})  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        Reconstructions.load(path)
