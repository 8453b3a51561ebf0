"""Fine-tuning of DenseTNT for one arm and seed on recorded scenes (docs/method.md 5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from synthdrive.artifacts import file_hash
from synthdrive.errors import InputError
from synthdrive.models.densetnt import DenseTNT
from synthdrive.parameters.finetune import FinetuneParameters
from synthdrive.parameters.model import ModelParameters
from synthdrive.run_record import plain_values
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.cards import load_card
from synthdrive.training.cell import Cell
from synthdrive.training.cell_run import run_cell, scene_batches, seed_model
from synthdrive.training.checkpoints import load_model_state
from synthdrive.training.data import Indices, subset
from synthdrive.training.devices import make_accelerator
from synthdrive.training.resume import discard_states
from synthdrive.training.transfer import Transfer, transfer


def run_finetuning(
    cell: Cell, model: ModelParameters, parameters: FinetuneParameters, scenes: Path, pretrained: Path
) -> None:
    """Fine-tune and write the cell's checkpoint."""
    accelerator = make_accelerator(parameters)
    store = SceneStore.load(scenes)
    indices = usable_scenes(store, parameters, cell.seed, scenes)
    batches = scene_batches(cell, scenes, indices, parameters, accelerator)
    seed_model("finetune", cell.seed)
    network = DenseTNT(model)
    origin, transferred = take_over(network, model, parameters, cell, pretrained)
    if accelerator.is_main_process:
        discard_states(cell.runs, load_card(pretrained))
        print(f"finetune {cell.name}: {transferred}", flush=True)
    run_cell(
        "finetune",
        cell,
        network,
        batches,
        {"model": model, "finetune": parameters},
        {"scenes": scenes, "pretrained": pretrained},
        accelerator,
        {
            "model": plain_values(model),
            "data": {"scenes": len(store), "used": len(indices)},
            "pretrained": origin,
            "transfer": transferred.describe(),
        },
    )


def usable_scenes(store: SceneStore, parameters: FinetuneParameters, seed: int, where: Path) -> Indices:
    """(N,) scenes to train on: those with a lane, and of these the wanted share.

    Raises:
        InputError: none is left.
    """
    rows = np.flatnonzero(np.diff(store.lane_offsets) > 0)
    if not len(rows):
        raise InputError(where, f"none of {len(store)} scenes has a lane", "scenes with a map")
    return rows[subset(len(rows), parameters.fraction, seed)].astype(np.int64)


def take_over(
    network: nn.Module, model: ModelParameters, parameters: FinetuneParameters, cell: Cell, pretrained: Path
) -> tuple[dict[str, Any], Transfer]:
    """Load what pre-training learned; returns where it comes from, for the card, and what became of each tensor.

    Raises:
        InputError: the checkpoint belongs to another arm or seed, or to another model.
    """
    card = load_card(pretrained)
    for key, wanted in (("stage", "pretrain"), ("arm", cell.arm), ("seed", cell.seed)):
        if card[key] != wanted:
            raise InputError(f"{pretrained}: {key}", repr(card[key]), repr(wanted))
    if not card.get("pretrained"):
        return {"trained": False}, transfer(network, {}, [], pretrained)
    if card["model"] != plain_values(model):
        differing = sorted(key for key, value in plain_values(model).items() if card["model"].get(key) != value)
        found = ", ".join(f"{key} {card['model'].get(key)}" for key in differing)
        raise InputError(f"{pretrained}: model", found, f"section model as arm {cell.arm} changes it: pre-train again")
    state = load_model_state(pretrained)
    origin = {
        "trained": True,
        "sha256": file_hash(Path(pretrained) / "model.safetensors"),
        "last_epoch": card["last_epoch"],
        "encoder": card["encoder"],
        "windows": card["data"]["used"],
    }
    return origin, transfer(network, state, parameters.transfer, pretrained)
