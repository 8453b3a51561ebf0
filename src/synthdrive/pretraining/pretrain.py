"""Pre-training of a variant with one seed on synthetic windows (docs/method.md 4)."""

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
from synthdrive.pretraining.reconstruction_floors import WindowSelection, measure_reconstruction
from synthdrive.pretraining.reconstructions import FixedWindows
from synthdrive.pretraining.reconstructor import Reconstructor
from synthdrive.pretraining.scene_autoencoder import SceneAutoencoder
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import RECONSTRUCTION
from synthdrive.training.data import Indices, subset
from synthdrive.training.devices import make_accelerator, spread_over_devices
from synthdrive.training.training_run import TrainingRun, execute, scene_batches, seed_model

ROUTE_COLUMNS = ("city", "route")


def pretrain(run: TrainingRun, synthetic: Path) -> None:
    """Pre-train a variant with one seed and write its checkpoint.

    Args:
        run: variant, seed and paths.
        synthetic: folder of the scene store of windows.

    Raises:
        ParameterError: the variant has no pre-training.
        SynthDriveError: parameters or windows are unsuitable, or the loss is not finite.
    """
    parameters = load_variant_section(PretrainParameters, "pretrain", run.variant, run.parameters)
    model = load_variant_section(ModelParameters, "model", run.variant, run.parameters)
    if parameters.objective == NONE:
        key = f"{run.parameters}: variants.{run.variant}.pretrain.objective"
        raise ParameterError(key, NONE, "a pre-training objective; this variant is only fine-tuned, from scratch")
    spread_over_devices()
    accelerator = make_accelerator(parameters, run.live_curves)
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
        used = WindowSelection(synthetic, indices)
        routes = f"{synthetic}: held-out routes (pretrain.held_out_fraction: 0 leaves out the measurement on them)"
        unseen = usable_windows(store, replace(parameters, fraction=1.0), run.seed, routes, held_out)
        others = WindowSelection(synthetic, unseen)

        def untrained() -> Reconstructor:
            return cast(Reconstructor, start())

        measured[RECONSTRUCTION] = lambda trained: measure_reconstruction(
            cast(Reconstructor, trained), untrained, parameters, used, others, run.seed, accelerator
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
    """Make the network for an objective; every one has the encoder that fine-tuning starts from."""
    if parameters.objective == FORECAST:
        return DenseTNT(model, timing, parameters.goal_label_std)
    network = SceneAutoencoder if parameters.objective == SCENE else MaskedAutoencoder
    return network(model, parameters, timing)


def usable_windows(
    store: SceneStore,
    parameters: PretrainParameters,
    seed: int,
    where: object,
    among: npt.NDArray[np.bool_] | None = None,
) -> Indices:
    """Select the windows to train on.

    Args:
        store: the windows.
        parameters: `windows` is the source to use, `min_lanes` the smallest number of lanes in a window, and `fraction`
            the fraction of these windows to draw.
        seed: training seed, which determines the fraction.
        where: folder of the store, for messages.
        among: (S,) bool, True at the windows to select from; defaults to all.

    Returns:
        (N,) windows, ascending.

    Raises:
        InputError: no window can be used.
    """
    usable = np.diff(store.lane_offsets) >= parameters.min_lanes
    if among is not None:
        usable &= among
    if parameters.windows != "all":
        if "source" not in store.manifest.column_names:
            expected = f"the column source, to select {parameters.windows} windows"
            raise InputError(f"{where}: manifest", "no column source", expected)
        usable &= store.manifest["source"].to_numpy(zero_copy_only=False) == parameters.windows
    rows = np.flatnonzero(usable)
    if not len(rows):
        wanted = f"{parameters.windows} windows with at least {parameters.min_lanes} lanes"
        raise InputError(where, f"none of {len(store)} windows can be used", wanted)
    return rows[subset(len(rows), parameters.fraction, seed)].astype(np.int64)


def held_out_windows(store: SceneStore, fraction: float, where: Path) -> npt.NDArray[np.bool_]:
    """Select the windows to hold out from training: those of a fraction of the routes, on original and augmented maps.

    Whole routes are held out because windows of one route share its road. They are the same for all variants and seeds,
    so that losses on them can be compared.

    Args:
        store: the windows; fraction: fraction of the routes to hold out, 0 for none.
        where: folder of the store, for messages.

    Returns:
        (S,) bool, True at windows that are held out.

    Raises:
        InputError: the store does not give the route of each window, or has only one route.
    """
    if fraction == 0:
        return np.zeros(len(store), dtype=np.bool_)
    if "route" not in store.manifest.column_names:
        raise InputError(f"{where}: manifest", "no column route", "the column route, or pretrain.held_out_fraction: 0")
    routes = list(zip(*(store.manifest[name].to_pylist() for name in ROUTE_COLUMNS), strict=True))
    known = sorted(set(routes))
    if len(known) < 2:
        raise InputError(f"{where}: manifest", "a single route", "two or more, or pretrain.held_out_fraction: 0")
    count = min(max(1, round(len(known) * fraction)), len(known) - 1)
    chosen = {known[row] for row in generator(0, "held back").permutation(len(known))[:count]}
    return np.array([route in chosen for route in routes])
