"""Pre-training of one variant and seed on synthetic windows (docs/method.md 4)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import nn

from synthdrive.core.artifacts import atomic_directory
from synthdrive.core.errors import InputError
from synthdrive.core.provenance import plain_values
from synthdrive.models.densetnt import DenseTNT
from synthdrive.models.reconstruction import Reconstructor
from synthdrive.parameters.model import ModelParameters
from synthdrive.parameters.objective import FORECAST, RECONSTRUCTING, SCENE
from synthdrive.parameters.pretrain import PretrainParameters
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.pretraining.reconstruction_floors import measure_reconstruction
from synthdrive.pretraining.reconstructions import FixedWindows
from synthdrive.pretraining.scene_autoencoder import SceneAutoencoder
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.data import Indices, subset
from synthdrive.training.devices import division, make_accelerator
from synthdrive.training.held_back import held_back_windows
from synthdrive.training.metadata import (
    CURVE,
    METADATA,
    MODEL,
    RECONSTRUCTION,
    RECONSTRUCTIONS,
    load_metadata,
    write_metadata,
)
from synthdrive.training.resume import settled
from synthdrive.training.training_run import TrainingRun, execute, run_provenance, scene_batches, seed_model


def run_pretraining(run: TrainingRun, model: ModelParameters, parameters: PretrainParameters, synthetic: Path) -> None:
    """Pre-train and write the run's checkpoint."""
    accelerator = make_accelerator(parameters)
    used = {"model": model, "pretrain": parameters}
    if accelerator.num_processes == 1:
        record = run_provenance(run, used, {"synthetic": synthetic}, accelerator)
        if other := take_equal(run, record, division(accelerator)):
            print(f"pretrain {run.name}: the same pre-training as {other}, taken over", flush=True)
            return
    store = SceneStore.load(synthetic)
    held_back = held_back_windows(store, parameters.held_back, synthetic)
    indices = usable_windows(store, parameters, run.seed, synthetic, ~held_back)
    batches = scene_batches(run, synthetic, indices, parameters, accelerator)
    reconstructs = parameters.objective in RECONSTRUCTING
    watched = FixedWindows(store, indices, parameters, run.seed) if reconstructs else None
    measured: dict[str, Callable[[nn.Module], Any]] = {}
    if reconstructs and held_back.any():
        unseen = usable_windows(store, replace(parameters, fraction=1.0), run.seed, synthetic, held_back)

        def untrained() -> Reconstructor:
            seed_model("pretrain", run.seed)
            return cast(Reconstructor, pretraining_model(model, parameters))

        measured[RECONSTRUCTION] = lambda network: measure_reconstruction(
            cast(Reconstructor, network), untrained, parameters, synthetic, indices, unseen, run.seed, accelerator
        )
    seed_model("pretrain", run.seed)
    execute(
        "pretrain",
        run,
        pretraining_model(model, parameters),
        batches,
        used,
        {"synthetic": synthetic},
        accelerator,
        {
            "pretrained": True,
            "model": plain_values(model),
            "data": {"windows": len(store), "used": len(indices), "held_back": int(held_back.sum())},
        },
        watched,
        measured,
    )


def take_equal(run: TrainingRun, record: Mapping[str, Any], training: Mapping[str, Any]) -> str | None:
    """Take over what another variant of this seed learned where nothing but the name differs, as with two variants that part
    in fine-tuning alone; returns that variant's run.

    It must lie beside `run.out`. A run never takes over its own earlier result.

    Args:
        run: the run that is to be trained.
        record, training: what would settle its numbers, see `settled`.
    """
    for card_path in sorted(run.out.parent.glob(f"*-{run.seed}/{METADATA}")):
        other = card_path.parent
        try:
            card = load_metadata(other)
        except InputError:
            continue
        equal = settled(card.get("run", {}), card.get("training", {})) == settled(record, training)
        if card["variant"] == run.variant or not equal or "same_as" in card:
            continue
        with atomic_directory(run.out) as partial:
            for name in (
                MODEL,
                CURVE,
                *(name for name in (RECONSTRUCTIONS, RECONSTRUCTION) if (other / name).exists()),
            ):
                shutil.copyfile(other / name, partial / name)
            write_metadata(partial / METADATA, {**card, **run.card("pretrain"), "run": record, "same_as": other.name})
        if run.curve is not None:
            run.curve.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run.out / CURVE, run.curve)
        return other.name
    return None


def pretraining_model(model: ModelParameters, parameters: PretrainParameters) -> nn.Module:
    """The network that the variant's objective trains; either has the encoder that fine-tuning takes over."""
    if parameters.objective == FORECAST:
        return DenseTNT(model)
    network = SceneAutoencoder if parameters.objective == SCENE else MaskedAutoencoder
    return network(model, parameters)


def usable_windows(
    store: SceneStore,
    parameters: PretrainParameters,
    seed: int,
    where: Path,
    among: npt.NDArray[np.bool_] | None = None,
) -> Indices:
    """(N,) windows to train on: of those `among` the store's, of the wanted source and with lanes enough, the fraction.

    Raises:
        InputError: none is left.
    """
    usable = np.diff(store.lane_offsets) >= parameters.min_lanes
    if among is not None:
        usable &= among
    if parameters.windows != "all":
        if "source" not in store.manifest.column_names:
            raise InputError(f"{where}: manifest", "no column source", f"one, to train on {parameters.windows} windows")
        usable &= store.manifest["source"].to_numpy(zero_copy_only=False) == parameters.windows
    rows = np.flatnonzero(usable)
    if not len(rows):
        wanted = f"{parameters.windows} windows with at least {parameters.min_lanes} lanes"
        raise InputError(where, f"none of {len(store)} windows usable", wanted)
    return rows[subset(len(rows), parameters.fraction, seed)].astype(np.int64)
