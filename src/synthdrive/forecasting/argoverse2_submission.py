"""The file that the single-agent forecasting challenge of Argoverse 2 takes: Parquet, a row for each trajectory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from synthdrive.core.artifacts import atomic_file
from synthdrive.core.errors import InputError
from synthdrive.core.timing import ARGOVERSE2
from synthdrive.forecasting.forecasts import MODES, Forecasts
from synthdrive.scenes.scene_store import SceneStore

FOCAL_TRACK = "focal_track_id"  # column of a scene store's manifest
STEPS = ARGOVERSE2.future_steps
COLUMNS = pa.schema(
    [
        ("scenario_id", pa.string()),
        ("track_id", pa.string()),
        ("probability", pa.float64()),
        ("predicted_trajectory_x", pa.list_(pa.float64())),
        ("predicted_trajectory_y", pa.list_(pa.float64())),
    ]
)
MOST_ROWS = 10**6  # of the 24,984 test scenarios, six each: 149,904
MOST_BYTES = 1 << 31  # unpacked; the official number of rows has 150 million

Trajectories = tuple[str, npt.NDArray[np.float64], npt.NDArray[np.float64]]


def submission_table(forecasts: Forecasts, store: SceneStore) -> pa.Table:
    """S * 6 rows, scenario by scenario, likeliest trajectory first; metres, map frame.

    A scenario's probabilities sum to 1: what float32 has left over is shared out.

    Raises:
        InputError: the store is not of Argoverse 2, or the forecasts have another length than the challenge's.
    """
    if FOCAL_TRACK not in store.manifest.column_names:
        raise InputError("scenes", "no names of the focal tracks", "a store of Argoverse 2 scenarios")
    if forecasts.trajectories.shape[2] != STEPS:
        raise InputError("forecasts", f"{forecasts.trajectories.shape[2]} steps", f"{STEPS}, as Argoverse 2 has them")
    size = len(forecasts)
    xy = (forecasts.trajectories.astype(np.float64) + store.origins[:, None, None]).reshape(size * MODES, STEPS, 2)
    probability = forecasts.probabilities.astype(np.float64)
    probability /= probability.sum(axis=1, keepdims=True)
    offsets = pa.array(np.arange(size * MODES + 1, dtype=np.int32) * STEPS)
    columns = [
        pa.array(np.repeat(np.array(forecasts.scene_ids, dtype=object), MODES), pa.string()),
        pa.array(np.repeat(np.array(store.manifest[FOCAL_TRACK].to_pylist(), dtype=object), MODES), pa.string()),
        pa.array(probability.ravel()),
        *(pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(xy[..., axis]).ravel())) for axis in (0, 1)),
    ]
    return pa.table(columns, names=COLUMNS.names)


def write_submission(path: Path, forecasts: Forecasts, store: SceneStore) -> None:
    """Write the Parquet file; see `submission_table`. The same forecasts give the same bytes."""
    table = submission_table(forecasts, store)
    with atomic_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def is_submission(path: Path) -> bool:
    """Whether a Parquet file has the challenge's columns, in any order; False where it cannot be read."""
    try:
        return set(COLUMNS.names) <= set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return False


def read_submission(path: Path) -> dict[str, Trajectories]:
    """Scenario -> focal track, trajectories (6, 60, 2) metres, map frame, and probabilities (6,), likeliest first.

    Raises:
        InputError: the file is missing or damaged, has other columns, or a scenario's rows are not a whole forecast.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            groups = range(file.metadata.num_row_groups)
            size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            if [(field.name, field.type) for field in schema] != [(field.name, field.type) for field in COLUMNS]:
                raise InputError(path, f"columns {', '.join(map(str, schema))[:300]}", ", ".join(map(str, COLUMNS)))
            if rows > MOST_ROWS or size > MOST_BYTES:
                raise InputError(path, f"{rows} rows, {size} bytes", f"at most {MOST_ROWS} rows, {MOST_BYTES} bytes")
            table = file.read()
    except FileNotFoundError:
        raise InputError(path, "no such file", "a submission of Argoverse 2") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(path, f"unreadable Parquet ({str(error)[:200]})", "a submission of Argoverse 2") from None
    found: dict[str, list[tuple[float, str, list[float], list[float]]]] = {}
    for row in table.to_pylist():
        x, y = row["predicted_trajectory_x"], row["predicted_trajectory_y"]
        where = f"{path}: scenario {row['scenario_id']}"
        if x is None or y is None or len(x) != STEPS or len(y) != STEPS:
            raise InputError(where, "a trajectory of another length", f"{STEPS} steps")
        found.setdefault(row["scenario_id"], []).append((row["probability"], row["track_id"], x, y))
    return {name: _whole(rows_of, f"{path}: scenario {name}") for name, rows_of in found.items()}


def _whole(rows: list[tuple[float, str, list[float], list[float]]], where: str) -> Trajectories:
    rows.sort(key=lambda row: -row[0])
    probability = np.array([row[0] for row in rows])
    xy = np.array([[row[2], row[3]] for row in rows]).transpose(0, 2, 1)
    if len({row[1] for row in rows}) != 1 or len(rows) != MODES:
        raise InputError(where, f"{len(rows)} trajectories", f"{MODES} of one track")
    if not np.isfinite(xy).all() or not np.isclose(probability.sum(), 1.0) or (probability < 0).any():
        raise InputError(where, "values that are not finite, or probabilities that do not sum to 1", "a forecast")
    return rows[0][1], xy, probability
