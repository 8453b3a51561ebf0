"""Reading and writing artifacts: each is written whole or not at all, and equal content gives equal bytes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from synthdrive.core.errors import InputError, SynthDriveError

Array = np.ndarray[Any, np.dtype[Any]]

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # errors of file systems without locks; there we do not lock
MOST_TABLE_BYTES = 1 << 30  # unpacked; the manifest of a million scenes takes a quarter of this
MOST_TABLE_PARTS = 1 << 14  # entries of a list in a Parquet footer: columns or row groups


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory that replaces `path` if the block succeeds and is deleted if it raises.

    However the process ends, `path` is either complete or absent. Whatever a killed process leaves beside it is removed
    by the next process that writes there.

    Raises:
        InputError: see `check_replaceable`; `path` is left as it is.
        SynthDriveError: another process is writing `path`.
    """
    path = Path(path)
    with _work_folder(path, "partial") as folder:
        new, old = folder / "new", folder / "old"
        new.mkdir()
        yield new
        check_replaceable(path, [entry.name for entry in new.iterdir()])
        if path.is_dir() and not path.is_symlink():
            path.rename(old)  # deleting it in place could be interrupted halfway
        elif path.exists() or path.is_symlink():
            path.unlink()
        try:
            new.rename(path)
        except BaseException:
            if old.is_dir():
                old.rename(path)
            raise


def check_replaceable(path: Path, names: Iterable[str]) -> None:
    """Raise InputError if a new folder with these names must not replace what is at `path`; nothing is changed.

    It may replace a folder that has one of the names, as its earlier versions do, or that has only hidden files. Call
    this before a long computation too, with names that the folder will have.
    """
    held, names = sorted(entry.name for entry in Path(path).glob("[!.]*")), sorted(names)
    if not Path(path).is_file() and (not held or {*held} & {*names}):
        return
    found = f"a folder with {', '.join(held[:3])}{', ...' if len(held) > 3 else ''}" if held else "a file"
    expected = f"a new or empty folder, or one with {' or '.join(names[:3])}"
    raise InputError(path, found, expected, "Nothing was written. Choose another folder.")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; the file is moved to `path` if the block succeeds and deleted if it raises.

    Raises:
        SynthDriveError: another process is writing `path`.
    """
    path = Path(path)
    with _work_folder(path, "partial") as folder:
        partial = folder / path.name
        yield partial
        partial.replace(path)


@contextlib.contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory beside `path` that is deleted after the block.

    If the process is killed, the next process that asks for a scratch directory at `path` deletes it.

    Raises:
        SynthDriveError: another process has a scratch directory at `path`.
    """
    with _work_folder(Path(path), "scratch") as folder:
        new = folder / "new"  # `folder` itself is locked, and `atomic_directory` inside it would lock it again
        new.mkdir()
        yield new


@contextlib.contextmanager
def _work_folder(path: Path, kind: str) -> Iterator[Path]:
    """Yield a folder beside `path`, locked while the block runs; an unlocked one was left by a killed process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.{kind}-"
    with contextlib.ExitStack() as locks:
        with _locked(path.parent):  # so that no other process sees a new folder before it is locked
            for other in path.parent.glob(f"{glob.escape(prefix)}*"):
                _remove_abandoned(other, path)
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
            locks.enter_context(_locked(folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(folder: Path, path: Path) -> None:
    try:
        with _locked(folder, wait=False):
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        raise SynthDriveError(
            f"{path}: another process is writing it. Wait until it has ended, or stop it, then run this again."
        ) from None
    except OSError:  # it belongs to another user, or is already gone
        return


@contextlib.contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold a folder's lock during the block; without `wait`, raise BlockingIOError if another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if not wait or error.errno not in NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Write JSON with sorted keys, two-space indent and a final newline; raises ValueError for NaN or infinity."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises InputError, with the file and the position, if it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, "no such file", "a JSON file") from None
    except (ValueError, RecursionError, OSError) as error:  # ValueError: not JSON, not UTF-8, or too long a number
        raise InputError(path, f"unreadable JSON ({error})", "a whole JSON file") from None


def read_yaml(path: Path, expected: str = "a YAML file", advice: str = "") -> Any:
    """Read a YAML file as plain values.

    Args:
        expected: what the file should be, for the error message.
        advice: what to do where the file is missing, for the error message.

    Raises:
        InputError: the file is missing or unreadable.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, "no such file", expected, advice) from None
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:  # ValueError: not UTF-8, or no such date
        raise InputError(path, f"unreadable YAML ({error})", expected) from None


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet table (zstd) atomically; equal tables give equal bytes."""
    with atomic_file(path) as partial:
        pq.write_table(table.replace_schema_metadata(None), partial, compression="zstd", row_group_size=65536)


def read_table(path: Path, columns: Mapping[str, pa.DataType] | None = None) -> pa.Table:
    """Read a Parquet table of numbers, booleans and strings.

    Args:
        columns: required columns and their types.

    Raises:
        InputError: the file is missing or damaged, lacks a required column, has one of another type, or unpacks to
            more than MOST_TABLE_BYTES.
    """
    try:
        table = _read_flat_table(path)
    except FileNotFoundError:
        raise InputError(path, "no such file", "a Parquet table") from None
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a column's name is not UTF-8
        raise InputError(path, f"unreadable Parquet ({error})", "a whole Parquet table") from None
    for name, dtype in (columns or {}).items():
        if name not in table.column_names:
            raise InputError(path, f"columns {table.column_names}", f"a column {name!r} of type {dtype}")
        if table.schema.field(name).type != dtype:
            found = table.schema.field(name).type
            raise InputError(f"{path}: column {name!r}", f"type {found}", f"type {dtype}")
    return table


def _read_flat_table(path: Path) -> pa.Table:
    """Read a table, but first check its unpacked size: a dictionary-encoded string may stand for a million rows."""
    # Not pq.read_table, which imports pandas (0.3 s).
    with pq.ParquetFile(path, memory_map=True, thrift_container_size_limit=MOST_TABLE_PARTS) as file:
        schema, metadata = file.schema_arrow, file.metadata
    for field in schema:
        if not (pa.types.is_primitive(field.type) or field.type == pa.string()):
            raise InputError(f"{path}: column {field.name!r}", f"type {field.type}", "numbers, truth values or texts")
    texts = [field.name for field in schema if field.type == pa.string()]
    numbers = sum(field.type.bit_width for field in schema if field.name not in texts) * metadata.num_rows // 8
    packed = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    _check_unpacked(path, max(numbers, packed))
    with pq.ParquetFile(path, memory_map=True, metadata=metadata, read_dictionary=texts) as file:
        columns = file.read(texts)
    _check_unpacked(path, numbers + sum(_text_bytes(chunk) for column in columns.columns for chunk in column.chunks))
    with pq.ParquetFile(path, memory_map=True, metadata=metadata) as file:
        table = file.read()
    table.validate(full=True)  # checks that strings are UTF-8
    return table


def _text_bytes(column: pa.DictionaryArray) -> int:
    """Return the bytes that a dictionary-encoded column of strings takes when it is decoded."""
    # Reads Arrow's buffers because to_numpy would import pandas.
    ends = np.frombuffer(column.dictionary.buffers()[1] or b"", np.int32)[: len(column.dictionary) + 1]
    texts = np.frombuffer(column.indices.buffers()[1] or b"", np.int32)[column.offset : column.offset + len(column)]
    lengths = np.append(np.diff(ends), 0)  # the last entry is for rows without a value
    return int(lengths[np.clip(texts, -1, len(lengths) - 1)].sum(dtype=np.int64)) + ends.itemsize * len(column)


def _check_unpacked(path: Path, size: int) -> None:
    if size > MOST_TABLE_BYTES:
        raise InputError(path, f"a table that unpacks to {size} bytes", f"at most {MOST_TABLE_BYTES}")


def write_arrays(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays as one safetensors file, atomically."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with atomic_file(path) as partial:
        save_file(contiguous, partial, metadata=dict(metadata or {}))
        partial.chmod(0o644)


def read_arrays(
    path: Path, names: Mapping[str, tuple[str, int]] | None = None
) -> tuple[dict[str, Array], dict[str, str]]:
    """Read the arrays and the metadata of a safetensors file.

    Args:
        names: required arrays, each with its dtype ("float64") and number of dimensions.

    Raises:
        InputError: the file is missing or damaged, or an array is missing or has another dtype or dimension.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = dict(file.metadata() or {})
    except FileNotFoundError:
        raise InputError(path, "no such file", "a safetensors file") from None
    except (SafetensorError, OSError, ValueError, AttributeError) as error:  # AttributeError: a dtype unknown to NumPy
        raise InputError(path, f"unreadable safetensors ({error})", "a whole safetensors file") from None
    for name, (dtype, dimensions) in (names or {}).items():
        if name not in arrays:
            raise InputError(path, f"arrays {sorted(arrays)}", f"an array {name!r}")
        if str(arrays[name].dtype) != dtype or arrays[name].ndim != dimensions:
            found = f"{arrays[name].dtype} with {arrays[name].ndim} dimensions"
            raise InputError(f"{path}: array {name!r}", found, f"{dtype} with {dimensions} dimensions")
    return arrays, metadata


def file_hash(path: Path) -> str:
    """Return the SHA-256, in hexadecimal, of a file or of a directory's file names and contents in sorted order."""
    path = Path(path)
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
