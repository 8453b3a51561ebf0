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
from synthdrive.core.seeding import generator
from synthdrive.core.timing import Timing
from synthdrive.models.densetnt import DenseTNT
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.pretraining.reconstruction_floors import measure_reconstruction
from synthdrive.pretraining.reconstructions import FixedWindows
from synthdrive.pretraining.reconstructor import Reconstructor
from synthdrive.pretraining.scene_autoencoder import SceneAutoencoder
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import RECONSTRUCTION
from synthdrive.training.data import Indices, subset
from synthdrive.training.devices import make_accelerator, spread_over_devices
from synthdrive.training.training_run import TrainingRun, execute, scene_batches, seed_model

ROUTE = ("city", "route")


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

    def start() -> DenseTNT | Reconstructor:
        seed_model("pretrain", run.seed)
        return pretraining_model(model, parameters, store.timing)

    network = start()
    batches = scene_batches(run, synthetic, indices, parameters, accelerator, network.prepare)
    reconstructs = parameters.objective in RECONSTRUCTING
    watched = FixedWindows(store, indices, parameters, run.seed) if reconstructs else None
    measured: dict[str, Callable[[nn.Module], Any]] = {}
    if reconstructs and held_out.any():
        unseen = usable_windows(store, replace(parameters, fraction=1.0), run.seed, synthetic, held_out)

        def untrained() -> Reconstructor:
            return cast(Reconstructor, start())

        measured[RECONSTRUCTION] = lambda trained: measure_reconstruction(
            cast(Reconstructor, trained), untrained, parameters, synthetic, indices, unseen, run.seed, accelerator
        )
    execute(
        "pretrain",
        run,
        network,
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


def pretraining_model(
    model: ModelParameters, parameters: PretrainParameters, timing: Timing
) -> DenseTNT | Reconstructor:
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


def held_out_windows(store: SceneStore, fraction: float, where: Path) -> npt.NDArray[np.bool_]:
    """(S,) True at the windows held out: those of a fraction of the routes, original and augmented drives alike.

    Whole routes, since windows of one route share its road. The same in every variant and for every seed, so that their
    losses compare.

    Raises:
        InputError: the store does not say which route each window is of, or has a single one.
    """
    if fraction == 0:
        return np.zeros(len(store), dtype=np.bool_)
    if "route" not in store.manifest.column_names:
        raise InputError(f"{where}: manifest", "no column route", "one, or pretrain.held_out_fraction: 0")
    routes = list(zip(*(store.manifest[name].to_pylist() for name in ROUTE), strict=True))
    known = sorted(set(routes))
    if len(known) < 2:
        raise InputError(f"{where}: manifest", "a single route", "two at least, or pretrain.held_out_fraction: 0")
    count = min(max(1, round(len(known) * fraction)), len(known) - 1)
    chosen = {known[row] for row in generator(0, "held back").permutation(len(known))[:count]}
    return np.array([route in chosen for route in routes])
