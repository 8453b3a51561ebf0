"""What the pretrain and finetune stages do for one arm and seed. This module itself needs no torch."""

from __future__ import annotations

from pathlib import Path

from synthdrive.artifacts import atomic_directory
from synthdrive.parameters.arms import load_arm_section
from synthdrive.parameters.finetune import FinetuneParameters
from synthdrive.parameters.model import ModelParameters
from synthdrive.parameters.objective import NONE
from synthdrive.parameters.pretrain import PretrainParameters
from synthdrive.training.cards import CARD, write_card
from synthdrive.training.cell import Cell
from synthdrive.training.launch import is_main_process, spread_over_devices


def pretrain(cell: Cell, synthetic: Path) -> None:
    """Pre-train one arm with one seed; an arm that pre-trains nothing gets a card alone.

    Raises:
        SynthDriveError: parameters or windows cannot be used, or the loss is not finite.
    """
    parameters = load_arm_section(PretrainParameters, "pretrain", cell.arm, cell.parameters)
    model = load_arm_section(ModelParameters, "model", cell.arm, cell.parameters)
    if parameters.objective == NONE:
        if is_main_process():
            _write_untrained(cell)
        return
    spread_over_devices()
    from synthdrive.training.pretraining import run_pretraining  # torch: 1.5 s that the baseline does without

    run_pretraining(cell, model, parameters, synthetic)


def finetune(cell: Cell, scenes: Path, pretrained: Path) -> None:
    """Fine-tune one arm with one seed from its pre-trained encoder.

    Raises:
        SynthDriveError: parameters, scenes or the pre-trained checkpoint cannot be used, or the loss is not finite.
    """
    parameters = load_arm_section(FinetuneParameters, "finetune", cell.arm, cell.parameters)
    model = load_arm_section(ModelParameters, "model", cell.arm, cell.parameters)
    spread_over_devices()
    from synthdrive.training.finetuning import run_finetuning

    run_finetuning(cell, model, parameters, scenes, pretrained)


def _write_untrained(cell: Cell) -> None:
    """A card that says that nothing was trained, without a run record: the same whatever else changes.

    Else every change to pre-training would train the baseline anew.
    """
    with atomic_directory(cell.out) as partial:
        write_card(partial / CARD, cell.card("pretrain", pretrained=False))
    print(f"pretrain {cell.name}: this arm pre-trains nothing", flush=True)
