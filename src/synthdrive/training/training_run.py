"""A training run, that is a variant with a seed: start or resume it, fit the network, write its checkpoint."""

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

from synthdrive.config.training import OptimisationParameters
from synthdrive.core.artifacts import atomic_file, check_replaceable, file_hash
from synthdrive.core.errors import ParameterError, stop_status
from synthdrive.core.parameters import DEFAULT_PATH
from synthdrive.core.provenance import PROVENANCE, plain_values, run_record, write_provenance
from synthdrive.core.seeding import item_seed
from synthdrive.models.batch import Batch, collate
from synthdrive.models.tensor_group import TensorGroup
from synthdrive.training.checkpoints import CURVE, MODEL, ResumeFolder, save_checkpoint, training_identity
from synthdrive.training.data import Indices, SceneBatches, Sharing
from synthdrive.training.devices import device_name, division, loading_workers
from synthdrive.training.loop import Fit, fit
from synthdrive.training.monitoring import Watched
from synthdrive.training.tracking import start_tracking

RUNS = Path(".run")


@dataclass(frozen=True)
class TrainingRun:
    """A variant with a seed, and the paths of its files.

    Attributes:
        variant: name of the variant under `variants` in the parameter file.
        seed: training seed, which determines initial weights, the order of scenes and every random draw.
        out: folder of the checkpoint to write: model.safetensors, metadata.json, curve.csv and, after
            pre-training by reconstruction, reconstructions.safetensors and, with held-out routes, reconstruction.json.
        parameters: the parameter file.
        curve: path of a second copy of the training curve, if any.
        workers: number of loading processes; None for the default of the device. The results do not depend on it.
        runs: folder of resume states.
        provenance: folder of provenance records; no other stage depends on them.
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
        """Name of the run in the pipeline."""
        return f"{self.variant}-{self.seed}"

    @property
    def live_curves(self) -> Path:
        """Folder of the live curves, if a tracker is chosen; each run's stage has a folder in it."""
        return self.runs / "live"

    def metadata(self, stage: str, **content: object) -> dict[str, Any]:
        """Return the metadata of a checkpoint of this run; they contain no machine, commit or time."""
        return {"stage": stage, "variant": self.variant, "seed": self.seed, **content}


def seed_model(stage: str, seed: int) -> None:
    """Seed the initial weights of a stage's network, equally in all variants, so that they can be compared in pairs.

    The two stages use different draws, as two independent runs would. A variant whose pre-training does not change the
    encoder (docs/method.md 4.6) then shows the effect of different initial weights.
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
    """Return the batches of this process; the loading processes apply `prepare` to them."""
    sharing = Sharing(
        parameters.global_batch_size, parameters.micro_batch_size, accelerator.num_processes, accelerator.process_index
    )
    if run.workers is not None and run.workers < 0:
        raise ParameterError("--workers", str(run.workers), "a whole number from 0")
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

    The resume state of the last epoch is kept, because the checkpoint may be lost until DVC has recorded it. The next
    stage, which can only begin after that, discards the state.

    Args:
        stage: pretrain or finetune.
        run: the run.
        model: the network, trained in place.
        batches: the training data.
        parameters: all parameters used, by section; the section of `stage` contains those of the optimisation.
        inputs: paths of the stage's inputs, by their names in the provenance record.
        accelerator: accelerator of this process.
        content: further entries of the metadata.
        entry: module of the package that the stage calls. Only the code that it can import affects the training.
        watched: examples to evaluate before training and after each epoch; the results are stored in the checkpoint.
        measured: functions of the trained model, whose results are stored in the checkpoint as JSON, by file name.

    Raises:
        InputError: see `artifacts.check_replaceable`; nothing is trained.
        SystemExit: the run was interrupted (see `errors.stop_status`); the state of the last complete epoch is kept.
    """
    check_replaceable(run.out, (MODEL, CURVE))
    hashes = {name: file_hash(path) for name, path in inputs.items()}
    record = run_record(parameters, hashes, run.seed, device_name(accelerator.device), entry)
    identity = training_identity(run.variant, record, division(accelerator))
    states = ResumeFolder(run.runs, stage, identity, run.name)
    label = f"{stage} {run.name}"
    with states.held(accelerator.is_main_process):
        start_tracking(accelerator, run.live_curves / f"{stage}-{run.name}")
        try:
            place = states.path / "non-finite"
            fitted = fit(model, batches, parameters[stage], accelerator, states, label, place, watched)
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
                    with atomic_file(run.curve) as copy:
                        shutil.copyfile(run.out / CURVE, copy)
        except KeyboardInterrupt as stopped:
            print(
                f"{label}: stopped; the same command continues after the last complete epoch, from {states.path}",
                file=sys.stderr,
            )
            raise SystemExit(stop_status(stopped)) from None
    accelerator.end_training()
    return fitted
