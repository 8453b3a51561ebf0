"""What the scene readers share: one recorded scene as any dataset gives it, and columns of Arrow tables as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FARTHEST = 8192.0  # metres from AGENT; beyond it float32 is no longer true to 1 mm


@dataclass(frozen=True)
class RecordedScene:
    """One scene file, its rows sorted by track; see `scene_store.Scene` for what is not said here.

    Attributes:
        scene_id: the file's stem.
        city: name of the map.
        origin: (2,) float64, AGENT at the last observed step, metres, city frame.
        xy: (R, 2) float32, metres, city axes, relative to `origin`.
        step: (R,) uint8.
        track_lengths: (K,) int64.
        track_types: (K,) uint8.
        start_time: the first time stamp, seconds.
        times: (steps,) float64, seconds since `start_time`; of a test scene, the observed ones.
        agent_track_id: AGENT's name in the file, where a submission asks for it; else "".
        agent_type: what AGENT is (vehicle, pedestrian, ...), where the dataset says it; else "".
    """

    scene_id: str
    city: str
    origin: npt.NDArray[np.float64]
    xy: npt.NDArray[np.float32]
    step: npt.NDArray[np.uint8]
    track_lengths: npt.NDArray[np.int64]
    track_types: npt.NDArray[np.uint8]
    start_time: float
    times: npt.NDArray[np.float64]
    agent_track_id: str = ""
    agent_type: str = ""


# Columns are taken from Arrow's buffers: its own to_numpy would import pandas, 60 MB a worker.


def chunk(table: pa.Table, column: str) -> pa.Array:
    """A column as one array."""
    return table[column].chunk(0) if table[column].num_chunks == 1 else pa.concat_arrays(table[column].chunks)


def floats(table: pa.Table, column: str) -> npt.NDArray[np.float64]:
    """(R,) float64, NaN where a value is missing."""
    array = chunk(table, column)
    values = np.frombuffer(array.buffers()[1], dtype=np.float64)[array.offset : array.offset + len(array)]
    if array.null_count:
        values = np.where([value is None for value in array.to_pylist()], np.nan, values)
    return values


def integers(table: pa.Table, column: str) -> npt.NDArray[np.int64]:
    """(R,) int64 of a column without missing values."""
    array = chunk(table, column)
    return np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset : array.offset + len(array)]


def categories(table: pa.Table, column: str) -> tuple[npt.NDArray[np.int32], list[str]]:
    """(R,) int32 index of each row's text among the distinct ones in the order of appearance, and these."""
    array = chunk(table, column)
    indices = np.frombuffer(array.indices.buffers()[1], dtype=np.int32)[array.offset : array.offset + len(array)]
    return indices, array.dictionary.to_pylist()
