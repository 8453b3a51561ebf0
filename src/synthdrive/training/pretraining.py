"""Pre-training of one arm and seed on synthetic windows (docs/method.md 4)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from synthdrive.artifacts import atomic_directory
from synthdrive.errors import InputError
from synthdrive.models.densetnt import DenseTNT
from synthdrive.models.masked_autoencoder import MaskedAutoencoder
from synthdrive.parameters.model import ModelParameters
from synthdrive.parameters.objective import FORECAST, MASKED
from synthdrive.parameters.pretrain import PretrainParameters
from synthdrive.run_record import plain_values
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.cards import CARD, CURVE, MODEL, RECONSTRUCTIONS, load_card, write_card
from synthdrive.training.cell import Cell
from synthdrive.training.cell_run import cell_record, run_cell, scene_batches, seed_model
from synthdrive.training.data import Indices, subset
from synthdrive.training.devices import division, make_accelerator
from synthdrive.training.fixed_windows import FixedWindows
from synthdrive.training.resume import settled


def run_pretraining(cell: Cell, model: ModelParameters, parameters: PretrainParameters, synthetic: Path) -> None:
    """Pre-train and write the cell's checkpoint."""
    accelerator = make_accelerator(parameters)
    used = {"model": model, "pretrain": parameters}
    if accelerator.num_processes == 1:
        record = cell_record(cell, used, {"synthetic": synthetic}, accelerator)
        if other := take_equal(cell, record, division(accelerator)):
            print(f"pretrain {cell.name}: the same pre-training as {other}, taken over", flush=True)
            return
    store = SceneStore.load(synthetic)
    indices = usable_windows(store, parameters, cell.seed, synthetic)
    batches = scene_batches(cell, synthetic, indices, parameters, accelerator)
    watched = FixedWindows(store, indices, parameters, cell.seed) if parameters.objective == MASKED else None
    seed_model("pretrain", cell.seed)
    run_cell(
        "pretrain",
        cell,
        pretraining_model(model, parameters),
        batches,
        used,
        {"synthetic": synthetic},
        accelerator,
        {
            "pretrained": True,
            "model": plain_values(model),
            "data": {"windows": len(store), "used": len(indices)},
        },
        watched,
    )


def take_equal(cell: Cell, record: Mapping[str, Any], training: Mapping[str, Any]) -> str | None:
    """Take over what another arm of this seed learned where nothing but the name differs, as with two arms that part
    in fine-tuning alone; returns that arm's cell.

    It must lie beside `cell.out`. A cell never takes over its own earlier result.

    Args:
        cell: the cell that is to be trained.
        record, training: what would settle its numbers, see `settled`.
    """
    for card_path in sorted(cell.out.parent.glob(f"*-{cell.seed}/{CARD}")):
        other = card_path.parent
        try:
            card = load_card(other)
        except InputError:
            continue
        equal = settled(card.get("run", {}), card.get("training", {})) == settled(record, training)
        if card["arm"] == cell.arm or not equal or "same_as" in card:
            continue
        with atomic_directory(cell.out) as partial:
            for name in (MODEL, CURVE, *([RECONSTRUCTIONS] if (other / RECONSTRUCTIONS).exists() else [])):
                shutil.copyfile(other / name, partial / name)
            write_card(partial / CARD, {**card, **cell.card("pretrain"), "run": record, "same_as": other.name})
        if cell.curve is not None:
            cell.curve.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cell.out / CURVE, cell.curve)
        return other.name
    return None


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
