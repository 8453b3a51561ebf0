"""Tests of both training stages and evaluation on a simulated device: nothing mixes devices, the host rarely waits."""

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
from simulated_device import CPU, DEVICE, SimulatedDevice
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
MOST_WAITS = 8  # of the host in one forward and backward pass and the optimiser step that follows it
STAGES: dict[str, type[OptimisationParameters]] = {"pretrain": PretrainParameters, "finetune": FinetuneParameters}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("devices") / "store", 14)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedDevice]:
    autocast = torch.autocast
    monkeypatch.setattr(  # torch has no autocast for this device, and these tests never enable it
        torch, "autocast", lambda kind, **options: autocast("cpu" if kind == DEVICE.type else kind, **options)
    )
    with SimulatedDevice() as simulated:
        yield simulated


def network_of(stage: str, parameters: Any) -> DenseTNT | MaskedAutoencoder:
    torch.manual_seed(0)
    return DenseTNT(SMALL, ARGOVERSE1) if stage == "finetune" else MaskedAutoencoder(SMALL, parameters, ARGOVERSE1)


def train(stage: str, store: Path, on: torch.device, run: ResumeFolder | None = None, epochs: int = 2) -> Fit:
    """Train epochs of two steps, with 8 and 6 scenes; gradients are accumulated over parts of at most 4 scenes."""
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
def test_training_on_another_device_gives_the_same_numbers(stage: str, store: Path, device: SimulatedDevice) -> None:
    here, there = (train(stage, store, place) for place in (CPU, DEVICE))
    assert device.operators > 1000
    for name, value in here.last_epoch.items():
        assert there.last_epoch[name] == pytest.approx(value, rel=1e-3), name
    assert there.encoder["tensors_moved"] == here.encoder["tensors_moved"] > 0


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_can_be_resumed_on_another_device(
    stage: str, store: Path, device: SimulatedDevice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ResumeFolder(tmp_path, stage, {"a": 1})
    uninterrupted = train(stage, store, DEVICE)
    train(stage, store, DEVICE, run, epochs=1)
    resumed = train(stage, store, DEVICE, run)
    assert resumed.course["resumed_after"] == [1]
    assert resumed.curve == uninterrupted.curve


@pytest.mark.parametrize("stage", STAGES)
def test_the_host_rarely_waits_for_the_device(
    stage: str, store: Path, device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[Counter[str]] = []
    steps: list[Counter[str]] = []
    for name, counts in (("_backward", passes), ("_step", steps)):
        monkeypatch.setattr(loop._Trainer, name, _counted(getattr(loop._Trainer, name), device, counts))
    train(stage, store, DEVICE)
    assert (len(passes), len(steps)) == (8, 4)
    del passes[:2]  # some tensors are moved to the device only once
    most = max(passes, key=Counter.total) + max(steps, key=Counter.total)
    lines = "\n".join(f"{count} x {line}" for line, count in sorted(most.items()))
    assert most.total() <= MOST_WAITS, f"{most.total()} waits:\n{lines}"


def _counted(function: Any, device: SimulatedDevice, counts: list[Counter[str]]) -> Any:
    def call(*given: Any, **named: Any) -> Any:
        before = device.waits.copy()
        result = function(*given, **named)
        counts.append(device.waits - before)
        return result

    return call


@pytest.mark.parametrize(("selection", "weight"), [("goal_sets", 0.0), ("goal_sets", 0.5), ("nms", 0.0)])
def test_forecasts_on_another_device_are_the_same(
    selection: str, weight: float, store: Path, device: SimulatedDevice
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


def test_mixing_devices_is_detected(device: SimulatedDevice) -> None:
    there = torch.ones(3).to(DEVICE)
    with pytest.raises(AssertionError, match="tensors on the CPU and the device"):
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
def test_operations_that_make_the_host_wait_are_counted(wait: Any, device: SimulatedDevice) -> None:
    there = torch.ones(3).to(DEVICE, non_blocking=True)
    assert device.waits.total() == 0
    wait(there)
    assert device.waits.total() == 1
