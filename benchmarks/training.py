"""Measure the speed of both training stages, including data loading, and estimate the time for the paper's size.

Examples:
    python benchmarks/training.py --scenes data/scenes/train --synthetic data/synthetic
    python benchmarks/training.py --model params.yaml --threads 1
    python benchmarks/training.py --precision bfloat16 --compile --batches 40        # on a GPU
    python benchmarks/training.py --loading                                          # loading alone, by workers

Without a store the benchmark makes up scenes of the reference's mean size (23.5 actors, 48 lanes). It needs neither DVC
nor data, and runs on a GPU if there is one.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from synthdrive.config.training import (
    PRECISIONS,
    FinetuneParameters,
    ModelParameters,
    OptimisationParameters,
    PretrainParameters,
)
from synthdrive.config.whole_file import load_profile_section
from synthdrive.core.artifacts import atomic_directory
from synthdrive.core.parameters import load_section
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.batch import collate
from synthdrive.models.densetnt import DenseTNT
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.scenes.lane_map import MAX_POINTS, LaneSegments
from synthdrive.scenes.scene_store import AGENT, OTHERS, SceneStore
from synthdrive.scenes.scene_store_writer import SceneStoreWriter
from synthdrive.training.data import SceneBatches, Sharing
from synthdrive.training.devices import device_name, loading_workers, make_accelerator
from synthdrive.training.loop import fit

LAST_OBSERVED, STEPS = ARGOVERSE1.last_observed, ARGOVERSE1.steps

PAPER_SCENES = {"pretrain": 374_000, "finetune": 205_942}  # docs/method.md 1.1, 3.1
ACTORS, LANES, LANE_METRES = 23.5, 48, 25.0  # means of the reference's scenes; these lanes have about 1,200 goals
SITES = 40  # places of the made-up scenes
PARAMETERS = Path(__file__).resolve().parents[1] / "params.yaml"
PAPER = PARAMETERS.parent / "profiles" / "paper.yaml"


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=["pretrain", "finetune", "both"], default="both")
    parser.add_argument("--scenes", type=Path, help="scene store for fine-tuning (default: made up)")
    parser.add_argument("--synthetic", type=Path, help="scene store for pre-training (default: made up, AGENT alone)")
    parser.add_argument("--model", type=Path, help="parameters whose section `model` to use (default: the paper's)")
    parser.add_argument("--batches", type=int, default=4, help="optimiser steps to measure, after as many to warm up")
    parser.add_argument("--global-batch-size", type=int, help="scenes per step (default: the paper's, 256 and 64)")
    parser.add_argument("--micro-batch-size", type=int, help="scenes per forward pass (default: 64 on a CPU, else all)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--workers", type=int, help="loading processes (default: the stages')")
    parser.add_argument("--threads", type=int, help="threads of torch (default: all processors)")
    parser.add_argument("--loading", action="store_true", help="measure loading alone, with 0, 1, 2, ... processes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for stage in ("pretrain", "finetune") if given.stage == "both" else (given.stage,):
            store = given.scenes if stage == "finetune" else given.synthetic
            if store is None:
                others = ACTORS - 1 if stage == "finetune" else 0.0
                store = write_made_up_store(Path(scratch) / stage, scenes=2000, others=others)
            measure_loading(stage, store) if given.loading else measure(stage, store, given)


@dataclass(frozen=True)
class Speed:
    """Speed and memory of training for a while.

    Attributes:
        scenes: number of scenes trained on.
        wall, cpu: wall-clock seconds, and CPU seconds of this process.
        waiting: fraction of the time spent waiting for data.
        memory: peak memory of the GPU, or of the host if there is none, GiB.
        device: name of the device.
        threads, workers: threads of this process, and number of loading processes.
    """

    scenes: int
    wall: float
    cpu: float
    waiting: float
    memory: float
    device: str
    threads: int
    workers: int


def measure(stage: str, directory: Path, given: argparse.Namespace) -> None:
    """Train for a while and print speed and memory."""
    model = load_section(ModelParameters, "model", given.model) if given.model else paper_model()
    base = paper_training(stage)
    global_batch_size = given.global_batch_size or base.global_batch_size
    parameters = replace(
        base,
        global_batch_size=global_batch_size,
        micro_batch_size=given.micro_batch_size or (global_batch_size if torch.cuda.is_available() else 64),
        precision=given.precision,
        compile=given.compile,
        cpu_threads=given.threads or torch.get_num_threads(),
    )
    speed, _ = train_for_a_while(stage, directory, model, parameters, given.batches, given.workers)
    report(stage, speed)


def train_for_a_while(
    stage: str,
    directory: Path,
    model: ModelParameters,
    parameters: Any,
    steps: int,
    workers: int | None = None,
) -> tuple[Speed, DenseTNT | MaskedAutoencoder]:
    """Train a new network as the stages do for `steps` optimiser steps, after as many for warming up."""
    parameters = replace(parameters, epochs=1, warmup_epochs=0.0)
    accelerator = make_accelerator(parameters)
    cuda = accelerator.device.type == "cuda"
    workers = loading_workers(accelerator.device, 1) if workers is None else workers
    store = SceneStore.load(directory)
    indices = np.resize(np.arange(len(store)), steps * parameters.global_batch_size)
    sharing = Sharing(parameters.global_batch_size, parameters.micro_batch_size)
    torch.manual_seed(0)
    network = (
        MaskedAutoencoder(model, parameters, store.timing) if stage == "pretrain" else DenseTNT(model, store.timing)
    )
    gather = partial(collate, prepare=network.prepare)
    batches = SceneBatches(directory, indices, 0, sharing, gather, workers, pin=cuda)
    fit(network, batches, parameters, accelerator, label=f"{stage}, warming up")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    wall, cpu = time.perf_counter(), time.process_time()
    fitted = fit(network, batches, parameters, accelerator, label=stage)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = torch.cuda.max_memory_allocated() / 2**30 if cuda else peak_memory()
    waiting, name = fitted.course["waiting_for_data"], device_name(accelerator.device)
    return Speed(len(indices), wall, cpu, waiting, memory, name, torch.get_num_threads(), workers), network


def paper_model() -> ModelParameters:
    """Return the paper's sizes of the network."""
    return load_profile_section(ModelParameters, "model", PAPER, PARAMETERS)


def paper_training(stage: str) -> OptimisationParameters:
    """Return the paper's optimisation of one stage."""
    schemas: dict[str, type[OptimisationParameters]] = {"pretrain": PretrainParameters, "finetune": FinetuneParameters}
    return load_profile_section(schemas[stage], stage, PAPER, PARAMETERS)


def report(stage: str, speed: Speed) -> None:
    """Print the figures of one stage."""
    epochs = paper_training(stage).epochs
    paper = epochs * PAPER_SCENES[stage]
    print(f"{stage} on {speed.device}, {speed.threads} threads, {speed.workers} loading processes:")
    rates = f"{speed.scenes / speed.wall:.1f} scenes per second, {speed.scenes / speed.cpu:.1f} per CPU second"
    print(f"  {rates} of this process")
    print(f"  {100 * speed.waiting:.1f} % of the time waiting for data; peak memory {speed.memory:.2f} GiB")
    minutes = paper / (speed.scenes / speed.wall) / 60
    print(f"  the paper's {epochs} x {PAPER_SCENES[stage]:,} scenes: {minutes:.0f} minutes")


def peak_memory() -> float:
    """Return the peak host memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure_loading(stage: str, directory: Path) -> None:
    """Print the speed of loading batches without training, for several numbers of loading processes."""
    store = SceneStore.load(directory)
    indices = np.resize(np.arange(len(store)), 8192)
    for workers in (0, 1, 2, 4, 8):
        batches = SceneBatches(directory, indices, 0, Sharing(256, 64), collate, workers)
        for _ in batches.epoch(0):  # starts the processes
            pass
        clock = time.perf_counter()
        for _ in batches.epoch(1):
            pass
        speed = len(indices) / (time.perf_counter() - clock)
        print(f"{stage}: loading alone, {workers} processes: {speed:.0f} scenes per second")


def write_made_up_store(directory: Path, scenes: int, others: float, seed: int = 0) -> Path:
    """Write a store of made-up scenes with `others` other tracks on average: gentle arcs at one of SITES places."""
    random = np.random.default_rng(seed)
    along = np.linspace(0, LANE_METRES, MAX_POINTS)
    start, heading = random.uniform(-50, 50, (SITES * LANES, 2)), random.uniform(-np.pi, np.pi, SITES * LANES)
    bend = heading[:, None] + random.normal(0, 0.02, (SITES * LANES, 1)) * along
    step = LANE_METRES / (MAX_POINTS - 1) * np.stack([np.cos(bend), np.sin(bend)], axis=-1)
    site = np.repeat(np.arange(SITES) * 1000.0, LANES)
    lanes = LaneSegments(
        lane_ids=np.arange(SITES * LANES, dtype=np.int64),
        points=start[:, None] + np.cumsum(step, axis=1) + site[:, None, None],
        counts=np.full(SITES * LANES, MAX_POINTS, dtype=np.int64),
        turn=random.integers(-1, 2, SITES * LANES).astype(np.int8),
        is_intersection=random.random(SITES * LANES) < 0.3,
        has_traffic_control=random.random(SITES * LANES) < 0.2,
    )
    with atomic_directory(directory) as partial:
        writer = SceneStoreWriter(partial, ARGOVERSE1)
        for number in range(scenes):
            _append_made_up_scene(writer, random, int(random.poisson(others)) if others else 0, number % SITES)
        place = 1000.0 * (np.arange(scenes) % SITES)
        manifest = {"scene_id": [str(number) for number in range(scenes)], "city": ["MADE-UP"] * scenes}
        writer.close(pa.table({**manifest, "origin_x": place, "origin_y": place}), lanes)
    return directory


def _append_made_up_scene(writer: SceneStoreWriter, random: np.random.Generator, others: int, site: int) -> None:
    lengths = np.concatenate([[STEPS], random.integers(5, STEPS + 1, others)])
    speed, turn = random.uniform(0, 15, others + 1), random.normal(0, 0.1, others + 1)
    heading = random.uniform(-np.pi, np.pi, others + 1)[:, None] + turn[:, None] * np.arange(STEPS) * 0.1
    steps = 0.1 * speed[:, None, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    paths = np.cumsum(steps, axis=1) + random.uniform(-40, 40, (others + 1, 1, 2))
    paths[0] -= paths[0, LAST_OBSERVED]
    rows = np.arange(STEPS) < lengths[:, None]
    writer.append(
        xy=paths[rows].astype(np.float32),
        step=np.broadcast_to(np.arange(STEPS), rows.shape)[rows].astype(np.uint8),
        track_lengths=lengths,
        track_types=np.array([AGENT] + [OTHERS] * others, dtype=np.uint8),
        times=(0.1 * np.arange(STEPS)).astype(np.float32),
        lane_rows=np.arange(site * LANES, (site + 1) * LANES, dtype=np.int32),
    )


if __name__ == "__main__":
    main()
