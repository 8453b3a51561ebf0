"""Memory-mapped arrays, whose headers are checked first, and columns of tables as arrays."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.core.errors import InputError

CHECKED_AT_A_TIME = 1 << 20  # elements
NPY_MAGIC = b"\x93NUMPY\x01\x00"
NPY_HEADER = re.compile(
    r"\{'descr': '(?P<descr>[^']*)', 'fortran_order': False, 'shape': \((?P<shape>(?:[0-9]{1,18},? ?){1,4})\), \} *\n"
)
LONGEST_HEADER = 512  # bytes
LONGEST_SAFETENSORS_HEADER = 1 << 16  # bytes; the header of a store's lanes has 500
SAFETENSORS_TYPES = {"I64": "int64", "F64": "float64", "F32": "float32", "I8": "int8", "BOOL": "bool"}
COPIED_AT_A_TIME = 1 << 22  # bytes


def open_array(path: Path, dtype: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """Memory-map a `.npy` file after checking its header against the file.

    Args:
        dtype: the required NumPy dtype.
        shape: the required shape, None for any size.

    Raises:
        InputError: the file is missing, damaged or truncated, or its array has another dtype or shape.
    """
    try:
        with path.open("rb") as stream:
            offset, descr, found_shape = _read_header(stream, path)
        size = path.stat().st_size
    except FileNotFoundError:
        raise InputError(path, "no such file", "an array of a scene store") from None
    except OSError as error:
        raise InputError(path, f"a file that cannot be read ({error.strerror})", "an array of a scene store") from None
    wanted = np.dtype(dtype).str
    fits = len(found_shape) == len(shape) and all(w in (None, f) for f, w in zip(found_shape, shape, strict=True))
    if descr != wanted or not fits:
        raise InputError(path, f"{descr} of shape {found_shape}", f"{wanted} of shape {shape}")
    found = np.dtype(dtype)
    if math.prod(found_shape) * found.itemsize != size - offset:
        raise InputError(path, f"{size - offset} bytes for {found} of shape {found_shape}", "bytes for every element")
    if size == offset:  # an empty array cannot be mapped
        return np.empty(found_shape, found)
    return np.memmap(path, dtype=found, mode="r", offset=offset, shape=found_shape)


def open_safetensors(path: Path, names: Mapping[str, tuple[str, int]]) -> dict[str, npt.NDArray[Any]]:
    """Memory-map arrays of a safetensors file after checking its header against the file.

    Args:
        names: the arrays to map, each with its dtype ("float64") and number of dimensions.

    Raises:
        InputError: the file is missing, damaged or truncated, or an array is missing or has another dtype or dimension.
    """
    try:
        with Path(path).open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            text = stream.read(length) if length <= LONGEST_SAFETENSORS_HEADER else b""
        size = Path(path).stat().st_size - 8 - length
        header = json.loads(text) if len(text) == length else None
    except FileNotFoundError:
        raise InputError(path, "no such file", "a safetensors file") from None
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(path, f"unreadable safetensors ({error})", "a whole safetensors file") from None
    if not isinstance(header, dict):
        raise InputError(path, "unreadable safetensors (no header)", "a whole safetensors file")
    entries = {
        name: _check_entry(entry, size, f"{path}: array {name!r}"[:300])
        for name, entry in header.items()
        if name != "__metadata__"
    }
    ends = 0
    for kind, shape, start in sorted(entries.values(), key=lambda entry: entry[2]):
        if start != ends:
            raise InputError(path, "unreadable safetensors (arrays that overlap, or a gap)", "a whole safetensors file")
        ends += math.prod(shape) * np.dtype(kind).itemsize
    if ends != size:
        raise InputError(
            path, f"unreadable safetensors ({size} bytes of arrays, not {ends})", "a whole safetensors file"
        )
    arrays = {}
    for name, (dtype, dimensions) in names.items():
        if name not in entries:
            raise InputError(path, f"arrays {sorted(entries)}"[:200], f"an array {name!r}")
        kind, shape, start = entries[name]
        if kind != dtype or len(shape) != dimensions:
            found = f"{kind} with {len(shape)} dimensions"
            raise InputError(f"{path}: array {name!r}", found, f"{dtype} with {dimensions} dimensions")
        # an empty array cannot be mapped
        mapped = np.memmap(path, kind, "r", 8 + length + start, shape) if math.prod(shape) else np.empty(shape, kind)
        arrays[name] = np.asarray(mapped)
    return arrays


def _check_entry(entry: Any, size: int, where: str) -> tuple[str, tuple[int, ...], int]:
    """Return dtype, shape and start of an array, after checking that it lies within the `size` bytes of all arrays."""
    try:
        kind, shape = SAFETENSORS_TYPES[entry["dtype"]], tuple(entry["shape"])
        start, end = entry["data_offsets"]
        whole = all(type(number) is int and 0 <= number <= size for number in (start, end))
        counted = all(type(length) is int and length >= 0 for length in shape)
        fits = whole and counted and end - start == math.prod(shape) * np.dtype(kind).itemsize
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise InputError(where, f"unreadable safetensors ({entry!r:.100})", "a whole safetensors file")
    return kind, shape, start


def _read_header(stream: BinaryIO, path: Path) -> tuple[int, str, tuple[int, ...]]:
    """Return where the numbers start, and their dtype and shape; unlike NumPy's reader, without evaluating Python."""
    start = stream.read(len(NPY_MAGIC) + 2)
    length = int.from_bytes(start[-2:], "little")
    if len(start) != len(NPY_MAGIC) + 2 or not start.startswith(NPY_MAGIC) or length > LONGEST_HEADER:
        raise InputError(path, f"a file that starts with {start!r}", "a .npy file of version 1.0")
    header = stream.read(length)
    match = NPY_HEADER.fullmatch(header.decode("latin-1"))
    if len(header) != length or match is None:
        raise InputError(path, f"the header {header[:80]!r}", "the header of a .npy file in C order")
    shape = tuple(int(size) for size in match["shape"].replace(",", " ").split())
    return len(start) + length, match["descr"], shape


def raw_to_npy(raw: Path, npy: Path, dtype: str, shape: tuple[int, ...]) -> None:
    """Convert a file of raw numbers to a `.npy` file with this dtype and shape, and delete it."""
    with npy.open("wb") as target, raw.open("rb") as source:
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape
        }  # fmt: skip
        np.lib.format.write_array_header_1_0(target, header)
        while block := source.read(COPIED_AT_A_TIME):
            target.write(block)
    raw.unlink()


def blocks(array: npt.NDArray[Any], overlap: int = 0) -> Iterator[npt.NDArray[Any]]:
    """Yield an array in blocks, to check it in constant memory; each overlaps the next by `overlap` elements."""
    for start in range(0, len(array), CHECKED_AT_A_TIME):
        yield array[start : start + CHECKED_AT_A_TIME + overlap]


def rises_from_zero(offsets: npt.NDArray[np.int64]) -> bool:
    """Return whether offsets (N,) start at 0 and never decrease."""
    if not len(offsets) or offsets[0] != 0:
        return False
    return all(bool(np.all(block[1:] >= block[:-1])) for block in blocks(offsets, overlap=1))


def ragged_rows(starts: npt.NDArray[np.integer[Any]], lengths: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Return (sum of lengths,) int64: the concatenated ranges `starts[i], ..., starts[i] + lengths[i] - 1`."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(np.asarray(starts, dtype=np.int64) - before, lengths) + np.arange(lengths.sum())


def _as_one_array(table: pa.Table, column: str) -> pa.Array:
    """Return a column as one array, to read its buffers; Arrow's to_numpy would import pandas (0.4 s and 60 MB)."""
    return table[column].chunk(0) if table[column].num_chunks == 1 else table[column].combine_chunks()


def floats(table: pa.Table, column: str) -> npt.NDArray[np.float64]:
    """Return a column of numbers as (R,) float64, NaN where a value is missing."""
    array = _as_one_array(table, column)
    values = np.frombuffer(array.buffers()[1], dtype=np.float64)[array.offset : array.offset + len(array)]
    if array.null_count:
        values = np.where([value is None for value in array.to_pylist()], np.nan, values)
    return values


def integers(table: pa.Table, column: str) -> npt.NDArray[np.int64]:
    """Return a column without missing values as (R,) int64."""
    array = _as_one_array(table, column)
    return np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset : array.offset + len(array)]


def categories(table: pa.Table, column: str) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Return (R,) int32, the index of each row's string, and the distinct strings, in order of appearance."""
    array = _as_one_array(table, column)
    indices = np.frombuffer(array.indices.buffers()[1], dtype=np.int32)[array.offset : array.offset + len(array)]
    return indices, array.dictionary.to_pylist()
