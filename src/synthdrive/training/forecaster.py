"""A fine-tuned checkpoint as a network that forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthdrive.errors import InputError
from synthdrive.models.densetnt import DenseTNT
from synthdrive.parameters.loading import from_values
from synthdrive.parameters.model import ModelParameters
from synthdrive.training.cards import load_card
from synthdrive.training.checkpoints import load_exactly, load_model_state


def load_forecaster(directory: Path) -> tuple[DenseTNT, dict[str, Any]]:
    """A fine-tuned network, ready to forecast on the CPU, and its card.

    Raises:
        InputError: card or tensors are missing, damaged, or do not fit together.
    """
    card = load_card(directory)
    if card["stage"] != "finetune":
        raise InputError(f"{directory}: stage", repr(card["stage"]), "'finetune'")
    network = DenseTNT(from_values(ModelParameters, card["model"], f"{directory}: model"))
    load_exactly(network, load_model_state(directory), directory)
    return network.eval(), card
