"""Submission files of the leaderboards: HDF5 for Argoverse 1, Parquet for Argoverse 2's single-agent challenge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from synthdrive.core.artifacts import atomic_file
from synthdrive.core.errors import InputError, SynthDriveError
from synthdrive.core.timing import ARGOVERSE1, ARGOVERSE2
from synthdrive.forecasting.forecasts import MODES, Forecasts
from synthdrive.scenes.scene_store import SceneStore

HDF5_STEPS, PARQUET_STEPS = ARGOVERSE1.future_steps, ARGOVERSE2.future_steps

DATASET = "argoverse_forecasting"
HDF5_COLUMNS = ("sequence", "x", "y", "probability")
LARGEST_SEQUENCE = 2**53  # beyond it, float64 skips whole numbers
MOST_HDF5_ROWS = 10**5 * MODES * HDF5_STEPS  # 100,000 scenes; the test split has 78,143

FOCAL_TRACK = "focal_track_id"  # column of a scene store's manifest
PARQUET_COLUMNS = pa.schema(
    [
        ("scenario_id", pa.string()),
        ("track_id", pa.string()),
        ("probability", pa.float64()),
        ("predicted_trajectory_x", pa.list_(pa.float64())),
        ("predicted_trajectory_y", pa.list_(pa.float64())),
    ]
)
MOST_PARQUET_ROWS = 10**6  # six for each of the 24,984 test scenarios are 149,904
MOST_PARQUET_BYTES = 1 << 31  # uncompressed; 149,904 rows have 150 million

Trajectories = tuple[str, npt.NDArray[np.float64], npt.NDArray[np.float64]]


def leaderboard_rows(forecasts: Forecasts, origins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the rows of the Argoverse 1 file.

    Args:
        forecasts: forecasts of S scenes whose names are sequence numbers.
        origins: (S, 2) origins of the scenes, metres, city frame.

    Returns:
        (S * 6 * 30, 4) float64: sequence number, x and y (metres, city frame, float32 precision), and probability.
        Rows are in the order of scenes, trajectories, steps. As in files by the official helper, the probability is
        repeated in every row of its trajectory.

    Raises:
        InputError: a scene's name is not a number, or the forecasts do not have 30 steps.
    """
    if forecasts.trajectories.shape[2] != HDF5_STEPS:
        raise InputError(
            "forecasts",
            f"{forecasts.trajectories.shape[2]} steps",
            f"{HDF5_STEPS}, the future steps of Argoverse 1",
        )
    for name in forecasts.scene_ids:
        if not (name.isascii() and name.isdigit()):
            raise InputError(f"scene {name!r}", "a name that is not a number", "the number of an Argoverse 1 sequence")
    sequence = np.array([int(name) for name in forecasts.scene_ids], dtype=np.float64)
    shape = (len(forecasts), MODES, HDF5_STEPS)
    city = (forecasts.trajectories.astype(np.float64) + origins[:, None, None]).astype(np.float32)
    columns: list[npt.NDArray[np.floating[Any]]] = [
        np.broadcast_to(sequence[:, None, None], shape),
        city[..., 0],
        city[..., 1],
        np.broadcast_to(forecasts.probabilities[..., None], shape),
    ]
    return np.stack([column.astype(np.float64) for column in columns], axis=-1).reshape(-1, len(HDF5_COLUMNS))


def write_leaderboard_file(path: Path, forecasts: Forecasts, origins: npt.NDArray[np.float64]) -> None:
    """Write the .h5 file; see `leaderboard_rows`.

    Raises:
        SynthDriveError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise SynthDriveError("writing a leaderboard file needs h5py: pip install h5py") from None
    rows = leaderboard_rows(forecasts, origins)
    with atomic_file(path) as partial, h5py.File(partial, "w", track_order=False) as file:
        file.create_dataset(DATASET, data=rows, compression="gzip", compression_opts=9, track_times=False)


def read_leaderboard_file(path: Path) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Read an Argoverse 1 file as the leaderboard does.

    Returns:
        For each sequence number, trajectories (6, 30, 2) in metres, city frame, and probabilities (6,).

    Raises:
        InputError: the file is damaged or lacks the dataset, a sequence number is not a whole number of 0 or more, or
            the rows are not complete forecasts, scene by scene and trajectory by trajectory.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            if not isinstance(file.get(DATASET), h5py.Dataset):
                raise InputError(path, f"datasets {sorted(file)}", f"a dataset {DATASET!r}")
            # Checked before the rows are read: a damaged file may claim any number of them.
            shape, kind = file[DATASET].shape, file[DATASET].dtype.kind
            if (
                len(shape) != 2
                or shape[1] != len(HDF5_COLUMNS)
                or shape[0] % (MODES * HDF5_STEPS)
                or shape[0] > MOST_HDF5_ROWS
            ):
                expected = f"(a multiple of {MODES * HDF5_STEPS} up to {MOST_HDF5_ROWS}, {len(HDF5_COLUMNS)})"
                raise InputError(path, f"rows of shape {shape}", expected)
            if kind != "f":
                raise InputError(path, f"rows of {file[DATASET].dtype}", "floating point numbers")
            rows = np.asarray(file[DATASET], dtype=np.float64)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(path, f"unreadable HDF5 ({error})", "a leaderboard file") from None
    blocks = rows.reshape(-1, MODES, HDF5_STEPS, len(HDF5_COLUMNS))
    for column, same in (("sequence", blocks[:, :1, :1, 0]), ("probability", blocks[:, :, :1, 3])):
        mixed = blocks[..., HDF5_COLUMNS.index(column)] != same
        if mixed.any():
            row = int(mixed.reshape(-1).argmax())
            expected = f"the same value as in the rows before: {HDF5_STEPS} rows for each trajectory, scene by scene"
            raise InputError(f"{path}: row {row + 1}: {column}", f"{rows[row, HDF5_COLUMNS.index(column)]:g}", expected)
    numbers = blocks[:, 0, 0, 0]
    wrong = ~((numbers >= 0) & (numbers <= LARGEST_SEQUENCE) & (numbers == np.floor(numbers)))
    if wrong.any():
        place = int(wrong.argmax())
        expected = "the number of a sequence: whole and not negative"
        raise InputError(f"{path}: row {place * MODES * HDF5_STEPS + 1}: sequence", f"{numbers[place]}", expected)
    sequences, count = np.unique(numbers, return_counts=True)
    if (count > 1).any():
        raise InputError(path, f"sequence {sequences[count.argmax()]:.0f} {count.max()} times", "each once")
    return {f"{block[0, 0, 0]:.0f}": (block[..., 1:3], block[:, 0, 3]) for block in blocks}


def submission_table(forecasts: Forecasts, store: SceneStore) -> pa.Table:
    """Return the table of an Argoverse 2 submission: S * 6 rows, scenario by scenario, most probable trajectory first.

    Positions are in metres, map frame. Probabilities are renormalised in float64, so that those of a scenario sum to 1.

    Raises:
        InputError: the store is not of Argoverse 2, or the forecasts do not have 60 steps.
    """
    if FOCAL_TRACK not in store.manifest.column_names:
        raise InputError("scenes", f"no column {FOCAL_TRACK} in the manifest", "a store of Argoverse 2 scenarios")
    if forecasts.trajectories.shape[2] != PARQUET_STEPS:
        raise InputError(
            "forecasts",
            f"{forecasts.trajectories.shape[2]} steps",
            f"{PARQUET_STEPS}, the future steps of Argoverse 2",
        )
    size = len(forecasts)
    xy = (forecasts.trajectories.astype(np.float64) + store.origins[:, None, None]).reshape(
        size * MODES, PARQUET_STEPS, 2
    )
    probability = forecasts.probabilities.astype(np.float64)
    probability /= probability.sum(axis=1, keepdims=True)
    offsets = pa.array(np.arange(size * MODES + 1, dtype=np.int32) * PARQUET_STEPS)
    columns = [
        pa.array(np.repeat(np.array(forecasts.scene_ids, dtype=object), MODES), pa.string()),
        pa.array(np.repeat(np.array(store.manifest[FOCAL_TRACK].to_pylist(), dtype=object), MODES), pa.string()),
        pa.array(probability.ravel()),
        *(pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(xy[..., axis]).ravel())) for axis in (0, 1)),
    ]
    return pa.table(columns, names=PARQUET_COLUMNS.names)


def write_submission(path: Path, forecasts: Forecasts, store: SceneStore) -> None:
    """Write the table of `submission_table` as Parquet; the same forecasts give the same bytes."""
    table = submission_table(forecasts, store)
    with atomic_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def is_submission(path: Path) -> bool:
    """Return whether a Parquet file has the columns of a submission, in any order; False if it cannot be read."""
    try:
        return set(PARQUET_COLUMNS.names) <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return False


def read_submission(path: Path) -> dict[str, Trajectories]:
    """Read an Argoverse 2 submission.

    Returns:
        For each scenario, the focal track, trajectories (6, 60, 2) in metres, map frame, and probabilities (6,), the
        most probable first.

    Raises:
        InputError: the file is missing or damaged, has other columns, lacks a value, or a scenario's rows are not a
            complete forecast.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            groups = range(file.metadata.num_row_groups)
            size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            if [(field.name, field.type) for field in schema] != [
                (field.name, field.type) for field in PARQUET_COLUMNS
            ]:
                raise InputError(
                    path, f"columns {', '.join(map(str, schema))[:300]}", ", ".join(map(str, PARQUET_COLUMNS))
                )
            if rows > MOST_PARQUET_ROWS or size > MOST_PARQUET_BYTES:
                raise InputError(
                    path, f"{rows} rows, {size} bytes", f"at most {MOST_PARQUET_ROWS} rows, {MOST_PARQUET_BYTES} bytes"
                )
            table = file.read()
    except FileNotFoundError:
        raise InputError(path, "no such file", "a submission of Argoverse 2") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(path, f"unreadable Parquet ({str(error)[:200]})", "a submission of Argoverse 2") from None
    found: dict[str, list[tuple[float, str, list[float], list[float]]]] = {}
    for row in table.to_pylist():
        x, y = row["predicted_trajectory_x"], row["predicted_trajectory_y"]
        where = f"{path}: scenario {row['scenario_id']}"
        for column, value in row.items():
            if value is None or (isinstance(value, list) and None in value):
                raise InputError(f"{where}: {column}", "a missing value (null)", "a value")
        if len(x) != PARQUET_STEPS or len(y) != PARQUET_STEPS:
            raise InputError(where, "a trajectory of a different length", f"{PARQUET_STEPS} steps")
        found.setdefault(row["scenario_id"], []).append((row["probability"], row["track_id"], x, y))
    return {name: _scenario_forecast(rows_of, f"{path}: scenario {name}") for name, rows_of in found.items()}


def _scenario_forecast(rows: list[tuple[float, str, list[float], list[float]]], where: str) -> Trajectories:
    rows.sort(key=lambda row: -row[0])
    probability = np.array([row[0] for row in rows])
    xy = np.array([[row[2], row[3]] for row in rows]).transpose(0, 2, 1)
    if len({row[1] for row in rows}) != 1 or len(rows) != MODES:
        raise InputError(where, f"{len(rows)} trajectories", f"{MODES} of one track")
    if not np.isfinite(xy).all() or not np.isclose(probability.sum(), 1.0) or (probability < 0).any():
        found = "positions that are not finite, or probabilities that do not sum to 1"
        raise InputError(where, found, "finite positions and probabilities that sum to 1")
    return rows[0][1], xy, probability
