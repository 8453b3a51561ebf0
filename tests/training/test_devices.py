"""Tests of both stages and evaluation on a pretended device: no mixing of devices, and few waits of the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from pretended_device import CPU, DEVICE, PretendedDevice
from tiny_training import write_store

from given_parameters import paper
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.config.training import FinetuneParameters, ModelParameters, OptimisationParameters, PretrainParameters
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.forecasting.forecast_scenes import GoalForecaster
from synthdrive.models.batch import collate
from synthdrive.models.densetnt import DenseTNT
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training import loop
from synthdrive.training.checkpoints import ResumeFolder
from synthdrive.training.data import SceneBatches, Sharing
from synthdrive.training.devices import make_accelerator
from synthdrive.training.loop import Fit, fit

SMALL = paper(ModelParameters, hidden_size=32, sub_graph_layers=1, dense_from_goals=8)
MOST_WAITS = 8  # of the host, in a forward and backward pass and the step of the optimiser after it
STAGES: dict[str, type[OptimisationParameters]] = {"pretrain": PretrainParameters, "finetune": FinetuneParameters}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("devices") / "store", 14)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedDevice]:
    autocast = torch.autocast
    monkeypatch.setattr(  # torch knows none for this device; here it is always off
        torch, "autocast", lambda kind, **options: autocast("cpu" if kind == DEVICE.type else kind, **options)
    )
    with PretendedDevice() as pretended:
        yield pretended


def network_of(stage: str, parameters: Any) -> DenseTNT | MaskedAutoencoder:
    torch.manual_seed(0)
    return DenseTNT(SMALL, ARGOVERSE1) if stage == "finetune" else MaskedAutoencoder(SMALL, parameters, ARGOVERSE1)


def train(stage: str, store: Path, on: torch.device, run: ResumeFolder | None = None, epochs: int = 2) -> Fit:
    """Epochs of two steps, of 8 and 6 scenes, each accumulated from parts of 4 at most."""
    settings = {
        "epochs": epochs,
        "global_batch_size": 8,
        "micro_batch_size": 4,
        "learning_rate": 1e-3,
        "lr_schedule": "constant",
    }
    parameters = paper(STAGES[stage], **settings)
    accelerator = make_accelerator(parameters)
    network = network_of(stage, parameters)
    gather = partial(collate, prepare=network.prepare)
    batches = SceneBatches(store, np.arange(14), 7, Sharing(8, 4), gather)
    with patch.object(Accelerator, "device", on):
        return fit(network, batches, parameters, accelerator, run, inspection=store.parent / "non-finite")


@pytest.mark.parametrize("stage", STAGES)
def test_training_on_another_device_gives_the_same_numbers(stage: str, store: Path, device: PretendedDevice) -> None:
    here, there = (train(stage, store, place) for place in (CPU, DEVICE))
    assert device.operators > 1000
    for name, value in here.last_epoch.items():
        assert there.last_epoch[name] == pytest.approx(value, rel=1e-3), name
    assert there.encoder["tensors_moved"] == here.encoder["tensors_moved"] > 0


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_is_taken_up_on_another_device(
    stage: str, store: Path, device: PretendedDevice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ResumeFolder(tmp_path, stage, {"a": 1})
    whole = train(stage, store, DEVICE)
    train(stage, store, DEVICE, run, epochs=1)
    resumed = train(stage, store, DEVICE, run)
    assert resumed.course["resumed_after"] == [1]
    assert resumed.curve == whole.curve


@pytest.mark.parametrize("stage", STAGES)
def test_the_host_seldom_waits_for_the_device(
    stage: str, store: Path, device: PretendedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[Counter[str]] = []
    steps: list[Counter[str]] = []
    for name, spent in (("_backward", passes), ("_step", steps)):
        monkeypatch.setattr(loop._Trainer, name, _counted(getattr(loop._Trainer, name), device, spent))
    train(stage, store, DEVICE)
    assert (len(passes), len(steps)) == (8, 4)
    del passes[:2]  # whatever is moved there once
    most = max(passes, key=Counter.total) + max(steps, key=Counter.total)
    lines = "\n".join(f"{count} x {line}" for line, count in sorted(most.items()))
    assert most.total() <= MOST_WAITS, f"{most.total()} waits:\n{lines}"


def _counted(function: Any, device: PretendedDevice, spent: list[Counter[str]]) -> Any:
    def call(*given: Any, **named: Any) -> Any:
        before = device.waits.copy()
        result = function(*given, **named)
        spent.append(device.waits - before)
        return result

    return call


@pytest.mark.parametrize(("selection", "weight"), [("goal_sets", 0.0), ("goal_sets", 0.5), ("nms", 0.0)])
def test_forecasts_of_another_device_are_the_same(
    selection: str, weight: float, store: Path, device: PretendedDevice
) -> None:
    parameters = paper(EvaluateParameters, selection=selection, miss_rate_weight=weight, num_restarts=8)
    scenes = SceneStore.load(store)
    with torch.no_grad():
        here, there = (
            GoalForecaster(network_of("finetune", None), parameters, place).forecast(scenes, range(6))
            for place in (CPU, DEVICE)
        )
    np.testing.assert_allclose(there.trajectories, here.trajectories, atol=1e-3)
    np.testing.assert_allclose(there.probabilities, here.probabilities, atol=1e-4)


def test_a_mix_of_devices_is_found(device: PretendedDevice) -> None:
    there = torch.ones(3).to(DEVICE)
    with pytest.raises(AssertionError, match="tensors here and there"):
        there + torch.ones(3)
    with pytest.raises(AssertionError, match="Python numbers"):
        there[[0, 1]]


@pytest.mark.parametrize(
    "wait",
    [
        lambda value: value.sum().item(),
        lambda value: value.tolist(),
        lambda value: value.cpu(),
        lambda value: bool((value > 0).any()),
        torch.nonzero,
        lambda value: value[value > 0],
        lambda value: value.long().repeat_interleave(value.long()),
        lambda value: torch.ones(3).to(DEVICE),
    ],
)
def test_what_makes_the_host_wait_is_counted(wait: Any, device: PretendedDevice) -> None:
    there = torch.ones(3).to(DEVICE, non_blocking=True)
    assert device.waits.total() == 0
    wait(there)
    assert device.waits.total() == 1
