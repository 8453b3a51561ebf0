"""Check both training stages on a GPU (correct and repeatable numbers) and measure their speed.

Writes gpu_check.json and gpu_check.md in less than eight minutes. Needs neither DVC nor Great Expectations.

Examples:
    make gpu-check
    python benchmarks/gpu_check.py --out results --seconds 10
    python benchmarks/gpu_check.py --device cpu --tiny           # tests the script itself without a GPU

The scenes are made up and have the reference's mean size. The exit status is 1 if there is no such device or a check
failed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from synthdrive.config.training import PRECISIONS, ModelParameters, ObjectiveParameters
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.batch import Batch, collate
from synthdrive.models.densetnt import DenseTNT
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.devices import make_accelerator, repeatable_kernels
from training import PAPER_SCENES, PARAMETERS, paper_model, paper_training, train_for_a_while, write_made_up_store

STAGES = ("pretrain", "finetune")
REPETITIONS = 4
GOLDEN = 1e-6  # largest relative difference of losses in float64 from the committed ones
TOLERANCE = 1e-8  # of loss and gradients in float64, relative to the CPU's, which adds terms in another order


@dataclass(frozen=True)
class Check:
    """One check and its result.

    Attributes:
        name: what is checked.
        passed: whether it passed; None if it was skipped.
        found: the result in words.
    """

    name: str
    passed: bool | None
    found: str


@dataclass(frozen=True)
class Size:
    """Size of the networks, stores and batches.

    Attributes:
        model: sizes of the networks.
        scenes: number of scenes in each made-up store.
        batch: number of scenes per step, by stage.
        seconds: time for which each speed is measured.
    """

    model: ModelParameters
    scenes: int
    batch: dict[str, int]
    seconds: float


def main() -> None:
    """Run the checks, write the results, and exit with 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for both files (default: the current one)")
    parser.add_argument("--seconds", type=float, default=12.0, help="seconds for each speed (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a small network and a few scenes, to test this script")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("gpu-check: torch finds no CUDA device here, so nothing is checked", file=sys.stderr)
        sys.exit(1)
    started = time.perf_counter()
    repeatable_kernels()
    with tempfile.TemporaryDirectory() as scratch:
        size = tiny_size() if given.tiny else paper_size(given.seconds)
        stores = made_up_stores(Path(scratch), size)
        checks = [golden_numbers(torch.device(given.device)), *compare(stores, size, torch.device(given.device))]
        speeds = [row for stage in STAGES for row in measure(stage, stores[stage], size, given.device)]
    record = {
        "machine": machine(given.device),
        "checks": [asdict(check) for check in checks],
        "speeds": speeds,
        "seconds": round(time.perf_counter() - started, 1),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gpu_check.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    written = page(record)
    (given.out / "gpu_check.md").write_text(written, encoding="utf-8")
    print(written)
    sys.exit(any(check.passed is False for check in checks))


def paper_size(seconds: float) -> Size:
    """Return the paper's sizes of networks and batches."""
    return Size(paper_model(), 2000, {stage: paper_training(stage).global_batch_size for stage in STAGES}, seconds)


def tiny_size() -> Size:
    """Return the sizes for a test of this script."""
    model = replace(paper_model(), hidden_size=32, sub_graph_layers=1, dense_from_goals=8)
    return Size(model, 8, dict.fromkeys(STAGES, 4), 0.0)


def made_up_stores(folder: Path, size: Size) -> dict[str, Path]:
    """Write a store for each stage; the windows for pre-training contain AGENT only."""
    others = {"pretrain": 0.0, "finetune": 22.5}
    return {stage: write_made_up_store(folder / stage, size.scenes, others[stage]) for stage in STAGES}


def machine(device: str) -> dict[str, str]:
    """Return the device and the versions of torch, CUDA and Python."""
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return {
        "device": name,
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "python": platform.python_version(),
    }


def network_of(stage: str, model: ModelParameters) -> DenseTNT | MaskedAutoencoder:
    """Return the network of a stage, with the same weights at every call."""
    torch.manual_seed(0)
    if stage == "pretrain":
        return MaskedAutoencoder(model, paper_training(stage), ARGOVERSE1)  # type: ignore[arg-type]
    return DenseTNT(model, ARGOVERSE1)


def golden_numbers(device: torch.device) -> Check:
    """Compare losses on the device with the committed ones, which equalled those of the reference's method."""
    tests = PARAMETERS.parent / "tests"
    if not (tests / "models" / "golden_numbers.py").is_file():
        return Check("golden numbers", None, f"{tests / 'models' / 'golden_numbers.py'} does not exist")
    sys.path[:0] = [str(tests), str(tests / "models")]
    golden, paper = import_module("golden_numbers"), import_module("given_parameters").paper
    model = paper(ModelParameters, hidden_size=32, polyline_index=True)
    objective = paper(ObjectiveParameters, queries="index", map_probability=0.5, decoder_sees_encoder=True)
    expected = json.loads(golden.FILE.read_text(encoding="utf-8"))
    differences = []
    for network, seeds, given in (
        (DenseTNT(model, ARGOVERSE1), None, expected["densetnt"]),
        (
            MaskedAutoencoder(model, objective, ARGOVERSE1),
            [3, 4, 5, 6],
            expected["pretraining"]["decoder sees encoder"],
        ),
    ):
        golden.give_weights(network.double())
        losses = network.to(device)(golden.make_batch(golden.SCENES, seeds).to(device))
        found = {name: float(part) for name, part in losses.parts.items()} | {"total": float(losses.total.detach())}
        differences += [abs(found[name] - value) / max(abs(value), 1.0) for name, value in given["losses"].items()]
    worst = max(differences)
    return Check("golden numbers", worst <= GOLDEN, f"{len(differences)} losses differ by {worst:.1e} at most")


def compare(stores: dict[str, Path], size: Size, device: torch.device) -> Iterator[Check]:
    """Compare one step on the device with one on the CPU, and with repetitions on the device.

    The former is done in float64, because in float32 goals with almost equal scores may change places, which changes
    the loss.
    """
    for stage in STAGES:
        make_accelerator(replace(paper_training(stage), precision="float32"))
        store = SceneStore.load(stores[stage])
        batch = collate(store, range(min(len(store), 16)))
        floats = {name: value.double() for name, value in vars(batch).items() if _is_float(value)}
        exact = replace(batch, **floats)
        here, there = (one_step(network_of(stage, size.model).double(), exact, place) for place in ("cpu", device))
        differences = {
            name: float((there[name].cpu() - value).norm() / value.norm().clamp(min=1e-12))
            for name, value in here.items()
            if value.norm() > 1e-6
        }
        worst = max(differences, key=lambda name: differences[name])
        found = f"in float64: largest relative difference {differences[worst]:.1e}, of {worst}; at most {TOLERANCE:g}"
        yield Check(f"{stage}: CPU and {device} agree", differences[worst] <= TOLERANCE, found)
        network = network_of(stage, size.model)
        again = [one_step(network, batch, device) for _ in range(REPETITIONS)]
        differing = sorted(name for name in again[0] if not all(torch.equal(again[0][name], x[name]) for x in again))
        found = f"{len(differing)} tensors differ, such as {differing[0]}" if differing else "every bit is the same"
        yield Check(f"{stage}: a step repeats", not differing, f"the same step {REPETITIONS} times: {found}")


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def one_step(network: nn.Module, batch: Batch, device: torch.device | str) -> dict[str, Tensor]:
    """Return the loss and every gradient by name."""
    network.to(device).zero_grad()
    losses = network(batch.to(device))
    losses.total.backward()
    gradients = {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
    return {"loss": losses.total.detach(), **gradients}


def measure(stage: str, store: Path, size: Size, device: str) -> Iterator[dict[str, Any]]:
    """Yield speed, memory, waits and kernel launches of a stage in each precision, and the paper's training time."""
    paper = paper_training(stage)
    for precision in PRECISIONS:
        batch = size.batch[stage]
        parameters = replace(paper, global_batch_size=batch, micro_batch_size=batch, precision=precision)
        first, _ = train_for_a_while(stage, store, size.model, parameters, 2)
        steps = max(2, min(round(size.seconds / 2 / (first.wall / 2)), 500))
        speed, network = train_for_a_while(stage, store, size.model, parameters, steps)
        rate = speed.scenes / speed.wall
        yield {
            "stage": stage,
            "precision": precision,
            "batch": batch,
            "steps": steps,
            "scenes_per_second": round(rate, 1),
            "waiting_for_data": round(speed.waiting, 3),
            "memory_gib": round(speed.memory, 2),
            **waits_and_launches(network, store, batch, precision, device),
            "paper_minutes": round(paper.epochs * PAPER_SCENES[stage] / rate / 60, 1),
        }


def waits_and_launches(
    network: DenseTNT | MaskedAutoencoder, store: Path, size: int, precision: str, device: str
) -> dict[str, int | None]:
    """Count how often a forward and backward pass makes the host wait, and its kernel launches; None on a CPU."""
    scenes = SceneStore.load(store)
    batch = collate(scenes, [index % len(scenes) for index in range(size)], prepare=network.prepare)
    autocast = torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")

    def step() -> None:
        with autocast:
            total = network(batch.to(device)).total
        total.backward()

    if device == "cpu":
        step()
        return {"waits": None, "launches": None}
    step()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        step()
        torch.cuda.synchronize()
    launches = sum(event.count for event in profile.key_averages() if "LaunchKernel" in event.key)
    return {"waits": sum("synchroniz" in str(item.message) for item in caught), "launches": launches}


def page(record: dict[str, Any]) -> str:
    """Return the record as Markdown."""
    lines = ["# Both training stages on a GPU", ""]
    lines += [", ".join(f"{name} {value}" for name, value in record["machine"].items()) + "."]
    lines += [f"Measured in {record['seconds']:.0f} s; `paper minutes` is an estimate from the measured speed."]
    lines += ["", "| check | | found |", "|---|---|---|"]
    words = {True: "passed", False: "FAILED", None: "skipped"}
    lines += [f"| {check['name']} | {words[check['passed']]} | {check['found']} |" for check in record["checks"]]
    lines += ["", f"| {' | '.join(name.replace('_', ' ') for name in record['speeds'][0])} |"]
    lines += ["|" + "---|" * len(record["speeds"][0])]
    for row in record["speeds"]:
        lines += [f"| {' | '.join('' if value is None else str(value) for value in row.values())} |"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
