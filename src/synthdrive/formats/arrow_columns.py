"""Columns of Arrow tables as arrays, from their buffers: Arrow's own to_numpy would import pandas, 60 MB a worker."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


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
