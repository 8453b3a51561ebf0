"""Measure the speed of forward and backward passes in fine-tuning and pre-training, on one thread or a GPU.

Examples:
    python benchmarks/models.py --scenes data/scenes/train                          # fine-tuning, the paper's size
    python benchmarks/models.py --scenes data/scenes/train --hidden-size 64 --bf16
    python benchmarks/models.py --windows data/synthetic --micro-batch-size 32          # pre-training
    python benchmarks/models.py --scenes data/scenes/train --device cuda --micro-batch-size 64

Times are CPU seconds on one thread (wall-clock seconds on a GPU) and include gathering the batch. They are taken after
a few optimiser steps, so that about as many lanes are kept as in a trained network. The speed of a matrix product of
the same width, measured at the same time, shows how fast the machine is. The reference's figures are those of the
authors' code on one core of a 2-core x86-64 machine.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from synthdrive.config.training import ModelParameters, PretrainParameters
from synthdrive.config.whole_file import load_profile_section
from synthdrive.models.batch import Batch, collate
from synthdrive.models.densetnt import DenseTNT
from synthdrive.models.layers import Losses
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.devices import keep_freed_memory, limit_product_cache

REFERENCE_FINE_TUNING = 6.7  # scenes per CPU second, batch 64
REFERENCE_PRE_TRAINING = 7.0  # samples per CPU second, batch 32
PARAMETERS = Path(__file__).resolve().parents[1] / "params.yaml"
PAPER = PARAMETERS.parent / "profiles" / "paper.yaml"


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, help="scene store to fine-tune on")
    parser.add_argument("--windows", type=Path, help="scene store to pre-train on")
    parser.add_argument("--hidden-size", type=int, default=128, help="default: %(default)s, the paper's")
    parser.add_argument(
        "--micro-batch-size", type=int, default=16, help="scenes in a forward pass (default: %(default)s)"
    )
    parser.add_argument("--passes", type=int, default=12, help="passes to measure (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, default=20, help="optimiser steps beforehand (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    limit_product_cache()
    paper = load_profile_section(ModelParameters, "model", PAPER, PARAMETERS)
    model = replace(paper, hidden_size=given.hidden_size)
    objective = load_profile_section(PretrainParameters, "pretrain", PAPER, PARAMETERS)
    for path, make, name, reference in (
        (given.scenes, lambda timing: DenseTNT(model, timing), "fine-tuning", REFERENCE_FINE_TUNING),
        (
            given.windows,
            lambda timing: MaskedAutoencoder(model, objective, timing),
            "pre-training",
            REFERENCE_PRE_TRAINING,
        ),
    ):
        if path:
            torch.manual_seed(0)
            store = SceneStore.load(path)
            measure(name, make(store.timing).to(given.device), store, reference, given)


def measure(name: str, network: nn.Module, store: SceneStore, reference: float, given: argparse.Namespace) -> None:
    """Print the speed of one stage, with its settings, losses and memory."""
    clock = time.process_time if given.device == "cpu" else time.perf_counter
    batches = draw_batches(store, given.micro_batch_size)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(given.warm_up):
        step(network, next(batches), given)
        optimiser.step()
        optimiser.zero_grad()
    seconds, losses = [], []
    for _ in range(given.passes):
        synchronise(given.device)
        start = clock()
        losses.append(step(network, next(batches), given))
        synchronise(given.device)
        seconds.append(clock() - start)
        network.zero_grad()
    scenes = given.micro_batch_size
    mean, best = scenes * len(seconds) / sum(seconds), scenes / min(seconds)
    parts = {part: np.mean([float(loss.parts[part]) for loss in losses]) for part in losses[0].parts}
    print(f"{name}: {mean:.1f} scenes per second (best batch {best:.1f}), {mean / reference:.1f} x the reference's CPU")
    kind = "bfloat16" if given.bf16 else "float32"
    print(f"  hidden {given.hidden_size}, device batch {scenes}, {kind}, {given.device}")
    print(f"  {', '.join(f'{part} {value:.2f}' for part, value in parts.items())}")
    print(f"  matrix product of width {given.hidden_size}: {product_speed(given, clock):.0f} GFLOP/s")
    memory = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB in the host"
    if given.device != "cpu":
        memory += f", {torch.cuda.max_memory_allocated() / 2**20:.0f} MB on the device"
    print(f"  peak memory {memory}")


def draw_batches(store: SceneStore, size: int) -> Iterator[Callable[[], Batch]]:
    """Yield functions that gather one random batch each, so that gathering can be measured too."""
    random = np.random.default_rng(0)
    while True:
        indices, seeds = random.integers(0, len(store), size), random.integers(0, 1 << 62, size)
        yield lambda indices=indices, seeds=seeds: collate(store, indices, seeds)  # type: ignore[misc]


def step(network: nn.Module, batch: Callable[[], Batch], given: argparse.Namespace) -> Losses:
    """Gather a batch and run the forward and backward pass."""
    scenes = batch().to(given.device)
    with torch.autocast(torch.device(given.device).type, dtype=torch.bfloat16, enabled=given.bf16):
        losses: Losses = network(scenes)
    losses.total.backward()  # type: ignore[no-untyped-call]
    return losses


def product_speed(given: argparse.Namespace, clock: Callable[[], float]) -> float:
    """Return the speed of a matrix product of the network's width, GFLOP/s."""
    size, rows, repetitions = given.hidden_size, 4096, 50
    dtype = torch.bfloat16 if given.bf16 else torch.float32
    features = torch.randn(rows, size, device=given.device, dtype=dtype)
    weight = torch.randn(size, size, device=given.device, dtype=dtype)
    nn.functional.linear(features, weight)
    synchronise(given.device)
    start = clock()
    for _ in range(repetitions):
        nn.functional.linear(features, weight)
    synchronise(given.device)
    seconds: float = clock() - start
    return 2.0 * repetitions * rows * float(size) ** 2 / seconds / 1e9


def synchronise(device: str) -> None:
    """Wait for the GPU."""
    if device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
