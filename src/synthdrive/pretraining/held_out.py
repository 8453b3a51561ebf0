"""Windows that pre-training holds out, to judge it by: whole routes, since windows of one route share its road."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import InputError
from synthdrive.core.seeding import generator
from synthdrive.scenes.scene_store import SceneStore

ROUTE = ("city", "route")


def held_out_windows(store: SceneStore, fraction: float, where: Path) -> npt.NDArray[np.bool_]:
    """(S,) True at the windows held out: those of a fraction of the routes, original and augmented drives alike.

    The same in every variant and for every seed, so that their losses compare.

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
