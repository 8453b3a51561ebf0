"""Pre-training of one arm and seed on synthetic windows (PAPER.md 4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

from synthdrive.errors import InputError
from synthdrive.models.densetnt import DenseTNT
from synthdrive.models.masked_autoencoder import MaskedAutoencoder
from synthdrive.parameters.model import ModelParameters
from synthdrive.parameters.objective import FORECAST
from synthdrive.parameters.pretrain import PretrainParameters
from synthdrive.run_record import plain_values
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.cell import Cell
from synthdrive.training.cell_run import run_cell, scene_batches, seed_model
from synthdrive.training.data import Indices, subset
from synthdrive.training.devices import make_accelerator


def run_pretraining(cell: Cell, model: ModelParameters, parameters: PretrainParameters, synthetic: Path) -> None:
    """Pre-train and write the cell's checkpoint."""
    accelerator = make_accelerator(parameters)
    store = SceneStore.load(synthetic)
    indices = usable_windows(store, parameters, cell.seed, synthetic)
    batches = scene_batches(cell, synthetic, indices, parameters, accelerator)
    seed_model("pretrain", cell.seed)
    run_cell(
        "pretrain",
        cell,
        pretraining_model(model, parameters),
        batches,
        {"model": model, "pretrain": parameters},
        {"synthetic": synthetic},
        accelerator,
        {
            "pretrained": True,
            "model": plain_values(model),
            "data": {"windows": len(store), "used": len(indices)},
        },
    )


def pretraining_model(model: ModelParameters, parameters: PretrainParameters) -> nn.Module:
    """The network that the arm's objective trains; either has the encoder that fine-tuning takes over."""
    return DenseTNT(model) if parameters.objective == FORECAST else MaskedAutoencoder(model, parameters)


def usable_windows(store: SceneStore, parameters: PretrainParameters, seed: int, where: Path) -> Indices:
    """(N,) windows to train on: of the wanted source, with lanes enough, and of these the wanted share.

    Raises:
        InputError: none is left.
    """
    usable = np.diff(store.lane_offsets) >= parameters.min_lanes
    if parameters.windows != "all":
        if "source" not in store.manifest.column_names:
            raise InputError(f"{where}: manifest", "no column source", f"one, to train on {parameters.windows} windows")
        usable &= store.manifest["source"].to_numpy(zero_copy_only=False) == parameters.windows
    rows = np.flatnonzero(usable)
    if not len(rows):
        wanted = f"{parameters.windows} windows with at least {parameters.min_lanes} lanes"
        raise InputError(where, f"none of {len(store)} windows usable", wanted)
    return rows[subset(len(rows), parameters.fraction, seed)].astype(np.int64)
