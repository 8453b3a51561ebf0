"""One run of the study, a variant with a seed: start or resume, fit, write the checkpoint with its metadata."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from synthdrive.config.training import OptimisationParameters, load_variant
from synthdrive.core.artifacts import file_hash
from synthdrive.core.parameters import DEFAULT_PATH
from synthdrive.core.provenance import PROVENANCE, plain_values, run_record, write_provenance
from synthdrive.core.seeding import item_seed
from synthdrive.models.batch import Batch, collate
from synthdrive.models.tensor_group import TensorGroup
from synthdrive.training.checkpoints import CURVE, ResumeFolder, save_checkpoint, training_identity
from synthdrive.training.data import Indices, SceneBatches, Sharing
from synthdrive.training.devices import device_name, division, loading_workers
from synthdrive.training.loop import Fit, fit
from synthdrive.training.monitoring import Watched

RUNS = Path(".run")


@dataclass(frozen=True)
class TrainingRun:
    """One variant and seed, and where its files are.

    Attributes:
        variant: its name under `variants` in the parameter file.
        seed: training seed: settles the model's start, the order of the scenes, and every random draw.
        out: directory to write: model.safetensors, metadata.json, curve.csv; reconstructions.safetensors where masked
            pre-training has made them.
        parameters: the parameter file.
        curve: a second place for the curve, where one is wanted.
        workers: loading processes; None: none on a CPU, some on a GPU. Changes no number.
        runs: where resume states are kept.
        provenance: where the record of how it came about is written; no other stage depends on it.
    """

    variant: str
    seed: int
    out: Path
    parameters: Path = DEFAULT_PATH
    curve: Path | None = None
    workers: int | None = None
    runs: Path = RUNS
    provenance: Path = PROVENANCE

    @property
    def name(self) -> str:
        """The run as the pipeline names it."""
        return f"{self.variant}-{self.seed}"

    def metadata(self, stage: str, **content: object) -> dict[str, Any]:
        """What a checkpoint of this run is; the same on every machine, commit and day."""
        variant = load_variant(self.variant, self.parameters)
        return {
            "stage": stage,
            "variant": self.variant,
            "description": variant.description,
            "seed": self.seed,
            **content,
        }


def seed_model(stage: str, seed: int) -> None:
    """Settle the random start of a stage's model: the same in every variant of a seed, so that variants are paired.

    The two stages start from different draws, as two runs would: a variant whose pre-training leaves the encoder as it
    was (docs/method.md 4.6) then shows what another random start does.
    """
    torch.manual_seed(item_seed(seed, "model", stage))


def scene_batches(
    run: TrainingRun,
    store: Path,
    indices: Indices,
    parameters: OptimisationParameters,
    accelerator: Accelerator,
    prepare: Callable[[Batch], TensorGroup],
) -> SceneBatches:
    """The batches of this process, prepared for a network where they are loaded."""
    sharing = Sharing(
        parameters.global_batch_size, parameters.micro_batch_size, accelerator.num_processes, accelerator.process_index
    )
    workers = loading_workers(accelerator.device, accelerator.num_processes) if run.workers is None else run.workers
    pin = accelerator.device.type == "cuda"
    return SceneBatches(store, indices, run.seed, sharing, partial(collate, prepare=prepare), workers, pin)


def execute(
    stage: str,
    run: TrainingRun,
    model: nn.Module,
    batches: SceneBatches,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Path],
    accelerator: Accelerator,
    content: Mapping[str, Any],
    entry: str,
    watched: Watched | None = None,
    measured: Mapping[str, Callable[[nn.Module], Any]] | None = None,
) -> Fit:
    """Fit the model and write the run's checkpoint.

    The last epoch's state stays: until DVC has recorded the checkpoint, it may yet be lost. The next stage, which can
    only begin after that, discards it.

    Args:
        parameters: the parameters used, by section; that of `stage` holds the optimisation's.
        inputs: what the stage read, by the names that the provenance gives them.
        content: what else the metadata says.
        entry: the module that the stage enters the package by: what it can import, and nothing else of the package,
            settles a training.
        watched: examples to look at before training and after each epoch, kept beside the checkpoint.
        measured: files of JSON beside the checkpoint, and what makes their values of the trained model.

    Raises:
        SystemExit: interrupted (130); the state of the last whole epoch stays.
    """
    hashes = {name: file_hash(path) for name, path in inputs.items()}
    record = run_record(parameters, hashes, run.seed, device_name(accelerator.device), entry)
    identity = training_identity(run.variant, record, division(accelerator))
    states = ResumeFolder(run.runs, stage, identity, run.name)
    label = f"{stage} {run.name}"
    with states.held(accelerator.is_main_process):
        try:
            place = states.path / "non-finite"
            fitted = fit(model, batches, parameters[stage], accelerator, states, label, place, watched)
        except KeyboardInterrupt:
            print(
                f"{label}: stopped; the same command goes on after the last epoch, from {states.path}", file=sys.stderr
            )
            raise SystemExit(130) from None
        if accelerator.is_main_process:
            metadata = run.metadata(
                stage,
                **content,
                parameters=plain_values(parameters),
                training=fitted.training,
                encoder=fitted.encoder,
                last_epoch=fitted.last_epoch,
            )
            kept = {watched.file: {**watched.fixed(model), **fitted.seen}} if watched is not None else {}
            values = {name: measure(model) for name, measure in (measured or {}).items()}
            save_checkpoint(run.out, model, metadata, fitted.curve, kept, values)
            course = {"variant": run.variant, "seed": run.seed, "made_by": record, "training": fitted.course}
            write_provenance(run.provenance, stage, run.name, course)
            if run.curve is not None:
                run.curve.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(run.out / CURVE, run.curve)
    accelerator.end_training()
    return fitted
