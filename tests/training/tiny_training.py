"""A scene store of made-up drives and a tiny network for tests; also a command line, for tests that kill a training.

Usage: python tiny_training.py STORE OUT RUNS [--epochs N] [--kill-at-step N] [--micro-batch-size N]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from synthdrive.config.training import OptimisationParameters
from synthdrive.core.artifacts import atomic_directory, write_json
from synthdrive.core.timing import ARGOVERSE1, Timing
from synthdrive.models.batch import uniform
from synthdrive.models.layers import Losses
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import AGENT, OTHERS, SceneStore
from synthdrive.scenes.scene_store_writer import SceneStoreWriter
from synthdrive.training.checkpoints import ResumeFolder
from synthdrive.training.data import SceneBatches, Sharing
from synthdrive.training.devices import make_accelerator
from synthdrive.training.loop import fit
from synthdrive.training.monitoring import Watched

sys.path.append(str(Path(__file__).resolve().parents[1]))
from given_parameters import paper

LANES = 12


def write_store(directory: Path, scenes: int, seed: int = 0, timing: Timing = ARGOVERSE1) -> Path:
    """A store of `scenes` drives along or off a few straight lanes; every third window is an augmented one."""
    random = np.random.default_rng(seed)
    points = np.zeros((LANES, 10, 2))
    points[:, :, 0] = np.linspace(0, 36, 10)
    points[:, :, 1] = 4.0 * np.arange(LANES)[:, None]
    lanes = LaneSegments(
        lane_ids=np.arange(LANES, dtype=np.int64),
        points=points,
        counts=np.full(LANES, 10, dtype=np.int64),
        turn=np.zeros(LANES, dtype=np.int8),
        is_intersection=np.zeros(LANES, dtype=np.bool_),
        has_traffic_control=np.zeros(LANES, dtype=np.bool_),
    )
    origins = random.uniform([5, 4], [25, 36], (scenes, 2))
    with atomic_directory(directory) as partial:
        writer = SceneStoreWriter(partial, timing)
        for _ in range(scenes):
            speed, bend = random.uniform(3, 12), random.uniform(-0.3, 0.3)
            others = int(random.integers(0, 4))
            times = np.arange(timing.steps) * 0.1
            heading = bend * (times - times[timing.last_observed])
            steps = speed * 0.1 * np.stack([np.cos(heading), np.sin(heading)], axis=1)
            drive = np.cumsum(steps, axis=0)
            drive -= drive[timing.last_observed]
            tracks = [drive] + [drive[:30] + random.uniform(-8, 8, 2) for _ in range(others)]
            writer.append(
                xy=np.concatenate(tracks).astype(np.float32),
                step=np.concatenate([np.arange(len(track)) for track in tracks]).astype(np.uint8),
                track_lengths=np.array([len(track) for track in tracks]),
                track_types=np.array([AGENT] + [OTHERS] * others, dtype=np.uint8),
                times=times.astype(np.float32),
                lane_rows=np.sort(random.permutation(LANES)[: random.integers(3, LANES)]).astype(np.int32),
            )
        manifest = pa.table(
            {
                "scene_id": [f"scene-{number}" for number in range(scenes)],
                "city": ["TINY"] * scenes,
                "origin_x": origins[:, 0],
                "origin_y": origins[:, 1],
                "route": [number // 2 for number in range(scenes)],
                "source": ["augmented" if number % 3 == 0 else "original" for number in range(scenes)],
            }
        )
        writer.close(manifest, lanes)
    return directory


@dataclass(frozen=True)
class TinyBatch:
    """The focal agent's tracks (B, 50, 2) and the samples' seeds (B,)."""

    agent: Tensor
    sample_seeds: Tensor

    def to(self, device: torch.device) -> TinyBatch:
        return replace(self, agent=self.agent.to(device), sample_seeds=self.sample_seeds.to(device))


def collate_tiny(store: SceneStore, indices: Sequence[int], sample_seeds: Sequence[int] | None) -> TinyBatch:
    agents = np.stack([store[index].agent for index in indices])
    return TinyBatch(torch.from_numpy(agents), torch.tensor(sample_seeds))


class TinyModel(nn.Module):
    """Predict the future from the history, after a random rotation by sample; `unused` never gets a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(40, 16)
        self.head = nn.Linear(16, 60)
        self.unused = nn.Linear(2, 2)
        self.poison: int | None = None
        self.kill_at_step: int | None = None
        self.steps = 0

    def forward(self, batch: TinyBatch) -> Losses:
        self.steps += 1
        if self.steps == self.kill_at_step:
            os.kill(os.getpid(), signal.SIGKILL)
        angle = (uniform(batch.sample_seeds, 0) * 2 * torch.pi).float()
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        x, y = batch.agent.unbind(-1)
        points = torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)
        guess = self.head(torch.tanh(self.encoder(points[:, :20].flatten(1))))
        error = nn.functional.smooth_l1_loss(guess, points[:, 20:].flatten(1), reduction="none").mean(1)
        if self.poison is not None and self.steps >= self.poison:
            error = error * torch.nan
        return Losses(error.mean(), {"first": error.detach().mean() / 2, "second": error.detach().mean() / 2})


def tiny_batches(store: Path, sharing: Sharing, workers: int = 0, scenes: int | None = None) -> SceneBatches:
    count = len(SceneStore.load(store)) if scenes is None else scenes
    return SceneBatches(store, np.arange(count), 7, sharing, collate_tiny, workers)


class TinyExample:
    """A watched example: the output of a TinyModel for a track of ones."""

    file = "example.safetensors"

    def look(self, model: nn.Module) -> dict[str, Tensor]:
        assert not model.training
        guess: Tensor = model.head(torch.tanh(model.encoder(torch.ones(40))))  # type: ignore[operator]
        return {"guess": guess}

    def fixed(self, model: nn.Module) -> dict[str, Tensor]:
        return {"track": torch.ones(40)}


def train(
    store: Path,
    run: ResumeFolder | None,
    parameters: OptimisationParameters,
    watched: Watched | None = None,
    **settings: Any,
) -> Any:
    """Fit a TinyModel; returns it and its Fit."""
    accelerator = make_accelerator(parameters)
    torch.manual_seed(3)
    model = TinyModel()
    for name, value in settings.items():
        setattr(model, name, value)
    rank = accelerator.process_index
    sharing = Sharing(parameters.global_batch_size, parameters.micro_batch_size, accelerator.num_processes, rank)
    inspection = store.parent / "non-finite"
    batches = tiny_batches(store, sharing)
    return model, fit(model, batches, parameters, accelerator, run, "tiny", inspection, watched)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("store", "out", "runs"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--kill-at-step", type=int)
    parser.add_argument("--micro-batch-size", type=int, default=8)
    given = parser.parse_args()
    parameters = paper(
        OptimisationParameters,
        epochs=given.epochs,
        global_batch_size=8,
        micro_batch_size=given.micro_batch_size,
        learning_rate=1e-3,
    )
    run = ResumeFolder(given.runs, "tiny", {})
    model, fitted = train(given.store, run, parameters, TinyExample(), kill_at_step=given.kill_at_step)
    is_main_process = os.environ.get("RANK", "0") == "0"
    assert bool(fitted.seen) == is_main_process
    if is_main_process:
        given.out.mkdir(parents=True)
        save_file(model.state_dict(), given.out / "model.safetensors")
        save_file(fitted.seen, given.out / "seen.safetensors")
        write_json(given.out / "fit.json", {"curve": fitted.curve, "resumed": fitted.course["resumed_after"]})


if __name__ == "__main__":
    main()
