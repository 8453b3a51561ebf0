"""Pre-training of one variant and seed on synthetic windows (docs/method.md 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch import nn

from synthdrive.config.training import (
    FORECAST,
    NONE,
    RECONSTRUCTING,
    SCENE,
    ModelParameters,
    PretrainParameters,
    load_variant_section,
)
from synthdrive.core.errors import InputError, ParameterError
from synthdrive.core.provenance import plain_values
from synthdrive.core.timing import ARGOVERSE1, Timing
from synthdrive.models.densetnt import DenseTNT
from synthdrive.pretraining.held_out import held_out_windows
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.pretraining.reconstruction import Reconstructor
from synthdrive.pretraining.reconstruction_floors import measure_reconstruction
from synthdrive.pretraining.reconstructions import FixedWindows
from synthdrive.pretraining.scene_autoencoder import SceneAutoencoder
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.data import Indices, subset
from synthdrive.training.devices import make_accelerator, spread_over_devices
from synthdrive.training.metadata import RECONSTRUCTION
from synthdrive.training.training_run import TrainingRun, execute, scene_batches, seed_model


def pretrain(run: TrainingRun, synthetic: Path) -> None:
    """Pre-train one variant with one seed and write its checkpoint.

    Args:
        run: which variant and seed, and where its files are.
        synthetic: scene store of windows.

    Raises:
        ParameterError: the variant pre-trains nothing.
        SynthDriveError: parameters or windows cannot be used, or the loss is not finite.
    """
    parameters = load_variant_section(PretrainParameters, "pretrain", run.variant, run.parameters)
    model = load_variant_section(ModelParameters, "model", run.variant, run.parameters)
    if parameters.objective == NONE:
        key = f"{run.parameters}: variants.{run.variant}.pretrain.objective"
        raise ParameterError(key, NONE, "an objective; this variant is trained from scratch, by fine-tuning alone")
    spread_over_devices()
    accelerator = make_accelerator(parameters)
    store = SceneStore.load(synthetic)
    held_out = held_out_windows(store, parameters.held_out_fraction, synthetic)
    indices = usable_windows(store, parameters, run.seed, synthetic, ~held_out)
    batches = scene_batches(run, synthetic, indices, parameters, accelerator)
    reconstructs = parameters.objective in RECONSTRUCTING
    watched = FixedWindows(store, indices, parameters, run.seed) if reconstructs else None
    measured: dict[str, Callable[[nn.Module], Any]] = {}
    if reconstructs and held_out.any():
        unseen = usable_windows(store, replace(parameters, fraction=1.0), run.seed, synthetic, held_out)

        def untrained() -> Reconstructor:
            seed_model("pretrain", run.seed)
            return cast(Reconstructor, pretraining_model(model, parameters, store.timing))

        measured[RECONSTRUCTION] = lambda network: measure_reconstruction(
            cast(Reconstructor, network), untrained, parameters, synthetic, indices, unseen, run.seed, accelerator
        )
    seed_model("pretrain", run.seed)
    execute(
        "pretrain",
        run,
        pretraining_model(model, parameters, store.timing),
        batches,
        {"model": model, "pretrain": parameters},
        {"synthetic": synthetic},
        accelerator,
        {
            "model": plain_values(model),
            "timing": store.timing.plain(),
            "data": {"windows": len(store), "used": len(indices), "held_out": int(held_out.sum())},
        },
        __name__,
        watched,
        measured,
    )


def pretraining_model(model: ModelParameters, parameters: PretrainParameters, timing: Timing = ARGOVERSE1) -> nn.Module:
    """The network that the variant's objective trains; either has the encoder that fine-tuning takes over."""
    if parameters.objective == FORECAST:
        return DenseTNT(model, timing, parameters.goal_label_std)
    network = SceneAutoencoder if parameters.objective == SCENE else MaskedAutoencoder
    return network(model, parameters, timing)


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
