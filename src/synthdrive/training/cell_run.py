"""The course of one training cell: take up or start, fit, write the checkpoint with its card."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from synthdrive.artifacts import file_hash
from synthdrive.parameters.optimisation import OptimisationParameters
from synthdrive.run_record import run_record
from synthdrive.seeding import item_seed
from synthdrive.training.cards import CURVE
from synthdrive.training.cell import Cell
from synthdrive.training.checkpoints import save_checkpoint
from synthdrive.training.data import Collate, Indices, SceneBatches, Sharing
from synthdrive.training.devices import device_name, division, loading_workers
from synthdrive.training.loop import Fit, fit
from synthdrive.training.resume import RunDirectory, training_identity
from synthdrive.training.watched import Watched

STAGE_MODULE = "synthdrive.training.cells"  # what it can import, and nothing else of the package, settles a training


def seed_model(stage: str, seed: int) -> None:
    """Settle the random start of a stage's model: the same in every arm of a seed, so that arms are paired.

    The two stages start from different draws, as two runs would: an arm whose pre-training leaves the encoder as it
    was (docs/method.md 4.6) then shows what another random start does.
    """
    torch.manual_seed(item_seed(seed, "model", stage))


def scene_batches(
    cell: Cell, store: Path, indices: Indices, parameters: OptimisationParameters, accelerator: Accelerator
) -> SceneBatches:
    """The batches of this process."""
    from synthdrive.vectors.batch import collate

    return make_batches(cell, store, indices, parameters, accelerator, collate)


def make_batches(
    cell: Cell,
    store: Path,
    indices: Indices,
    parameters: OptimisationParameters,
    accelerator: Accelerator,
    collate: Collate,
) -> SceneBatches:
    """The batches of this process, with another way to collate."""
    sharing = Sharing(parameters.batch, parameters.device_batch, accelerator.num_processes, accelerator.process_index)
    workers = loading_workers(accelerator.device, accelerator.num_processes) if cell.workers is None else cell.workers
    pin = accelerator.device.type == "cuda"
    return SceneBatches(store, indices, cell.seed, sharing, collate, workers, pin)


def cell_record(
    cell: Cell, parameters: Mapping[str, Any], inputs: Mapping[str, Path], accelerator: Accelerator
) -> dict[str, Any]:
    """What makes the cell's checkpoint; `parameters` and `inputs` as `run_cell` takes them."""
    hashes = {name: file_hash(path) for name, path in inputs.items()}
    return run_record(parameters, hashes, cell.seed, device_name(accelerator.device), STAGE_MODULE)


def run_cell(
    stage: str,
    cell: Cell,
    model: nn.Module,
    batches: SceneBatches,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Path],
    accelerator: Accelerator,
    content: Mapping[str, Any],
    watched: Watched | None = None,
) -> Fit:
    """Fit the model and write the cell's checkpoint.

    The last epoch's state stays: until DVC has recorded the checkpoint, it may yet be lost. The next stage, which can
    only begin after that, discards it.

    Args:
        parameters: the parameters used, by section; that of `stage` holds the optimisation's.
        inputs: what the stage read, by the names that the card gives them.
        content: what else the card says.
        watched: examples to look at before training and after each epoch, kept beside the checkpoint.

    Raises:
        SystemExit: interrupted (130); the state of the last whole epoch stays.
    """
    record = cell_record(cell, parameters, inputs, accelerator)
    identity = training_identity(cell.arm, record, division(accelerator))
    run = RunDirectory(cell.runs, stage, identity, cell.name)
    label = f"{stage} {cell.name}"
    with run.held(accelerator.is_main_process):
        try:
            place = run.path / "non-finite"
            fitted = fit(model, batches, parameters[stage], accelerator, run, label, place, watched)
        except KeyboardInterrupt:
            print(f"{label}: stopped; the same command goes on after the last epoch, from {run.path}", file=sys.stderr)
            raise SystemExit(130) from None
        if accelerator.is_main_process:
            card = cell.card(stage, **content, training=fitted.training, encoder=fitted.encoder, run=record)
            kept = {watched.file: {**watched.fixed(model), **fitted.seen}} if watched is not None else {}
            save_checkpoint(cell.out, model, {**card, "last_epoch": fitted.last_epoch}, fitted.curve, kept)
            if cell.curve is not None:
                cell.curve.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(cell.out / CURVE, cell.curve)
    accelerator.end_training()
    return fitted
