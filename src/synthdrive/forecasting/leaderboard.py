"""The file that the Argoverse 1 motion forecasting leaderboard takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.core.artifacts import atomic_file
from synthdrive.core.errors import InputError, SynthDriveError
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.forecasting.forecasts import MODES, Forecasts

HORIZON = ARGOVERSE1.future_steps

DATASET = "argoverse_forecasting"
COLUMNS = ("sequence", "x", "y", "probability")
MOST_ROWS = 10**5 * MODES * HORIZON  # of 100,000 scenes; Argoverse 1 has 78,143 to forecast


def leaderboard_rows(forecasts: Forecasts, origins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(S * 6 * 30, 4) float64: sequence number, x, y (metres, city frame, float32 precision), probability.

    Rows go scene by scene, in a scene trajectory by trajectory, in a trajectory step by step; the probability stands
    in every row of its trajectory, as the official helper writes it.

    Args:
        forecasts: S scenes whose names are sequence numbers.
        origins: (S, 2) metres, city frame.

    Raises:
        InputError: a scene's name is no number, or the forecasts have another length than the leaderboard's.
    """
    if forecasts.trajectories.shape[2] != HORIZON:
        raise InputError("forecasts", f"{forecasts.trajectories.shape[2]} steps", f"{HORIZON}, as Argoverse 1 has them")
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
        InputError: the file is damaged, has no such dataset, or its rows are not whole forecasts, scene by scene and
            trajectory by trajectory.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            if not isinstance(file.get(DATASET), h5py.Dataset):
                raise InputError(path, f"datasets {sorted(file)}", f"a dataset {DATASET!r}")
            shape, kind = file[DATASET].shape, file[DATASET].dtype.kind  # before they are read: rows may be claimed
            if len(shape) != 2 or shape[1] != len(COLUMNS) or shape[0] % (MODES * HORIZON) or shape[0] > MOST_ROWS:
                expected = f"(a multiple of {MODES * HORIZON} up to {MOST_ROWS}, {len(COLUMNS)})"
                raise InputError(path, f"rows of shape {shape}", expected)
            if kind != "f":
                raise InputError(path, f"rows of {file[DATASET].dtype}", "floating point numbers")
            rows = np.asarray(file[DATASET], dtype=np.float64)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(path, f"unreadable HDF5 ({error})", "a leaderboard file") from None
    blocks = rows.reshape(-1, MODES, HORIZON, len(COLUMNS))
    for column, same in (("sequence", blocks[:, :1, :1, 0]), ("probability", blocks[:, :, :1, 3])):
        mixed = blocks[..., COLUMNS.index(column)] != same
        if mixed.any():
            row = int(mixed.reshape(-1).argmax())
            expected = f"that of the rows before: scene by scene, trajectory by trajectory, {HORIZON} rows each"
            raise InputError(f"{path}: row {row + 1}: {column}", f"{rows[row, COLUMNS.index(column)]:g}", expected)
    sequences, count = np.unique(blocks[:, 0, 0, 0], return_counts=True)
    if (count > 1).any():
        raise InputError(path, f"sequence {sequences[count.argmax()]:.0f} {count.max()} times", "each once")
    return {f"{block[0, 0, 0]:.0f}": (block[..., 1:3], block[:, 0, 3]) for block in blocks}
