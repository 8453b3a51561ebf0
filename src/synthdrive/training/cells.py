"""What the pretrain and finetune stages do for one variant and seed. This module itself needs no torch."""

from __future__ import annotations

from pathlib import Path

from synthdrive.config.finetune import FinetuneParameters
from synthdrive.config.model import ModelParameters
from synthdrive.config.pretrain import NONE, PretrainParameters
from synthdrive.config.training import load_variant_section
from synthdrive.core.artifacts import atomic_directory
from synthdrive.training.devices import is_main_process, spread_over_devices
from synthdrive.training.metadata import METADATA, write_metadata
from synthdrive.training.training_run import TrainingRun


def pretrain(run: TrainingRun, synthetic: Path) -> None:
    """Pre-train one variant with one seed; a variant that pre-trains nothing gets a card alone.

    Raises:
        SynthDriveError: parameters or windows cannot be used, or the loss is not finite.
    """
    parameters = load_variant_section(PretrainParameters, "pretrain", run.variant, run.parameters)
    model = load_variant_section(ModelParameters, "model", run.variant, run.parameters)
    if parameters.objective == NONE:
        if is_main_process():
            _write_untrained(run)
        return
    spread_over_devices()
    from synthdrive.pretraining.pretrain import run_pretraining  # torch: 1.5 s that the baseline does without

    run_pretraining(run, model, parameters, synthetic)


def finetune(run: TrainingRun, scenes: Path, pretrained: Path) -> None:
    """Fine-tune one variant with one seed from its pre-trained encoder.

    Raises:
        SynthDriveError: parameters, scenes or the pre-trained checkpoint cannot be used, or the loss is not finite.
    """
    parameters = load_variant_section(FinetuneParameters, "finetune", run.variant, run.parameters)
    model = load_variant_section(ModelParameters, "model", run.variant, run.parameters)
    spread_over_devices()
    from synthdrive.finetuning.finetune import run_finetuning

    run_finetuning(run, model, parameters, scenes, pretrained)


def _write_untrained(run: TrainingRun) -> None:
    """A card that says that nothing was trained, without a run record: the same whatever else changes.

    Else every change to pre-training would train the baseline anew.
    """
    with atomic_directory(run.out) as partial:
        write_metadata(partial / METADATA, run.card("pretrain", pretrained=False))
    print(f"pretrain {run.name}: this variant pre-trains nothing", flush=True)
