"""The file that the Argoverse 1 motion forecasting leaderboard takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.artifacts import atomic_file
from synthdrive.errors import InputError, SynthDriveError
from synthdrive.forecasting.forecasts import MODES, Forecasts
from synthdrive.scenes.scene_store import HORIZON

DATASET = "argoverse_forecasting"
COLUMNS = ("sequence", "x", "y", "probability")


def leaderboard_rows(forecasts: Forecasts, origins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(S * 6 * 30, 4) float64: sequence number, x, y (metres, city frame, float32 precision), probability.

    Rows go scene by scene, in a scene trajectory by trajectory, in a trajectory step by step; the probability stands
    in every row of its trajectory, as the official helper writes it.

    Args:
        forecasts: S scenes whose names are sequence numbers.
        origins: (S, 2) metres, city frame.

    Raises:
        InputError: a scene's name is no number.
    """
    for name in forecasts.scene_ids:
        if not (name.isascii() and name.isdigit()):
            raise InputError(f"scene {name!r}", "a name that is no number", "the number of an Argoverse 1 sequence")
    sequence = np.array([int(name) for name in forecasts.scene_ids], dtype=np.float64)
    shape = (len(forecasts), MODES, HORIZON)
    city = (forecasts.trajectories.astype(np.float64) + origins[:, None, None]).astype(np.float32)
    columns: list[npt.NDArray[np.floating[Any]]] = [
        np.broadcast_to(sequence[:, None, None], shape),
        city[..., 0],
        city[..., 1],
        np.broadcast_to(forecasts.probabilities[..., None], shape),
    ]
    return np.stack([column.astype(np.float64) for column in columns], axis=-1).reshape(-1, len(COLUMNS))


def write_leaderboard_file(path: Path, forecasts: Forecasts, origins: npt.NDArray[np.float64]) -> None:
    """Write the .h5 file; see `leaderboard_rows`.

    Raises:
        SynthDriveError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise SynthDriveError("the leaderboard's file needs h5py: pip install h5py") from None
    rows = leaderboard_rows(forecasts, origins)
    with atomic_file(path) as partial, h5py.File(partial, "w", track_order=False) as file:
        file.create_dataset(DATASET, data=rows, compression="gzip", compression_opts=9, track_times=False)


def read_leaderboard_file(path: Path) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Sequence -> trajectories (6, 30, 2) metres, city frame, and probabilities (6,), as the leaderboard reads them.

    Raises:
        InputError: the file has no such dataset, or its rows are not whole forecasts.
    """
    import h5py

    with h5py.File(path) as file:
        if DATASET not in file:
            raise InputError(path, f"datasets {sorted(file)}", f"a dataset {DATASET!r}")
        rows = np.asarray(file[DATASET], dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(COLUMNS) or len(rows) % (MODES * HORIZON):
        raise InputError(path, f"rows of shape {rows.shape}", f"(a multiple of {MODES * HORIZON}, {len(COLUMNS)})")
    blocks = rows.reshape(-1, MODES, HORIZON, len(COLUMNS))
    return {f"{block[0, 0, 0]:.0f}": (block[..., 1:3], block[:, 0, 3]) for block in blocks}
