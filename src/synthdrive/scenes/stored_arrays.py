"""Plain arrays on disk: written in constant memory, mapped into memory, and never believed before they are checked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.errors import InputError

CHECKED_AT_A_TIME = 1 << 20  # elements
COPIED_AT_A_TIME = 1 << 22  # bytes


def open_array(path: Path, dtype: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """Map a `.npy` file into memory; what its header claims is checked against the file before anything is read.

    Args:
        dtype: the type that it must have, as NumPy names it.
        shape: the shape that it must have, None for any size.

    Raises:
        InputError: the file is missing, damaged, cut short, or holds another kind of array.
    """
    try:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            if version != (1, 0):
                raise ValueError(f"format version {version}")
            found_shape, fortran_order, found = np.lib.format.read_array_header_1_0(stream)
            offset, size = stream.tell(), path.stat().st_size
    except FileNotFoundError:
        raise InputError(path, "no such file", "an array of a scene store") from None
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise InputError(path, f"unreadable array ({str(error)[:200]})", "a whole .npy file") from None
    fits = len(found_shape) == len(shape) and all(w in (None, f) for f, w in zip(found_shape, shape, strict=True))
    if str(found) != dtype or fortran_order or not fits:
        raise InputError(path, f"{found} of shape {found_shape}", f"{dtype} of shape {shape}")
    if min(found_shape) < 0 or math.prod(found_shape) * found.itemsize != size - offset:
        raise InputError(path, f"{size - offset} bytes for {found} of shape {found_shape}", "bytes for every element")
    if size == offset:  # an empty array cannot be mapped
        return np.empty(found_shape, found)
    return np.memmap(path, dtype=found, mode="r", offset=offset, shape=found_shape)


def raw_to_npy(raw: Path, npy: Path, dtype: str, shape: tuple[int, ...]) -> None:
    """Turn a file of plain numbers into a `.npy` file of this shape; `raw` is removed."""
    with npy.open("wb") as target, raw.open("rb") as source:
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape
        }  # fmt: skip
        np.lib.format.write_array_header_1_0(target, header)
        while block := source.read(COPIED_AT_A_TIME):
            target.write(block)
    raw.unlink()


def blocks(array: npt.NDArray[Any], overlap: int = 0) -> Iterator[npt.NDArray[Any]]:
    """An array piece by piece, so that checking it takes constant memory; each piece reaches into the next."""
    for start in range(0, len(array), CHECKED_AT_A_TIME):
        yield array[start : start + CHECKED_AT_A_TIME + overlap]


def rises_from_zero(offsets: npt.NDArray[np.int64]) -> bool:
    """Whether these are offsets: 0 first, and never falling."""
    if not len(offsets) or offsets[0] != 0:
        return False
    return all(bool(np.all(block[1:] >= block[:-1])) for block in blocks(offsets, overlap=1))


def ragged_rows(starts: npt.NDArray[np.integer[Any]], lengths: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """(sum of lengths,) int64: `starts[i], ..., starts[i] + lengths[i] - 1` for each i, end to end."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(np.asarray(starts, dtype=np.int64) - before, lengths) + np.arange(lengths.sum())
