"""Strata: the kinds of scene that a mean over all of them hides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Booleans = npt.NDArray[np.bool_]

ALL = "all"
TURNS = ("left", "right", "straight")


def strata(
    manifest: pa.Table, slow_below: float, fast_above: float, displacement_edges: Sequence[float]
) -> dict[str, Booleans]:
    """Which scenes belong to each stratum, (S,) bool.

    Scenes are told apart by what the agent does, future included: its turn, its mean speed, how far it gets, and
    whether it crosses an intersection. Where a manifest has no such column, those strata are absent.

    Args:
        manifest: of a scene store.
        slow_below, fast_above: m/s, mean speed of the agent.
        displacement_edges: metres from the first to the last step, rising.
    """
    groups = {ALL: np.ones(manifest.num_rows, dtype=np.bool_)}
    if "turn" in manifest.column_names:
        turn = np.array(manifest["turn"].to_pylist(), dtype=np.str_)
        groups |= {name: turn == name for name in TURNS}
    if "agent_mean_speed" in manifest.column_names:
        speed = manifest["agent_mean_speed"].to_numpy()
        slow, fast = speed < slow_below, speed > fast_above
        groups |= {"slow": slow, "medium": ~slow & ~fast, "fast": fast}
    if "at_intersection" in manifest.column_names:
        inside = manifest["at_intersection"].to_numpy().astype(np.bool_)
        groups |= {"intersection": inside, "no_intersection": ~inside}
    if "agent_displacement" in manifest.column_names:
        displacement = manifest["agent_displacement"].to_numpy()
        edges = [0.0, *displacement_edges, np.inf]
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            name = f"displacement_{low:g}_{high:g}" if np.isfinite(high) else f"displacement_from_{low:g}"
            groups[name] = (displacement >= low) & (displacement < high)
    return groups
