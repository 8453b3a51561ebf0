"""Reader of scenes in the official Argoverse 1 layout: a CSV file for each scene, `<split>/data/<id>.csv`."""

from __future__ import annotations

import csv as text_csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from synthdrive.core.errors import InputError
from synthdrive.core.timing import ARGOVERSE1, STEP_SECONDS
from synthdrive.formats.archives import Limits, read_files
from synthdrive.scenes.scene_store import AGENT, AV, FARTHEST, TRACK_TYPES, RecordedScene
from synthdrive.scenes.stored_arrays import categories, floats

STEPS, LAST_OBSERVED = ARGOVERSE1.steps, ARGOVERSE1.last_observed

COLUMN_TYPES = {
    "TIMESTAMP": pa.float64(),
    "TRACK_ID": pa.dictionary(pa.int32(), pa.string()),
    "OBJECT_TYPE": pa.dictionary(pa.int32(), pa.string()),
    "X": pa.float64(),
    "Y": pa.float64(),
    "CITY_NAME": pa.dictionary(pa.int32(), pa.string()),
}
LONGEST_HEADER = 1024  # bytes; the official header has 45
MOST_ROWS = STEPS * 5_000  # official scenes have up to 300 tracks

_CONVERT = csv.ConvertOptions(column_types=COLUMN_TYPES, include_columns=list(COLUMN_TYPES))
_PLAIN = csv.ParseOptions(quote_char=False, ignore_empty_lines=True)
_QUOTED = csv.ParseOptions(quote_char='"', ignore_empty_lines=True)


def scene_files(source: Path, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each scene file of a tarball or folder; raises InputError if there is none."""
    found = False
    for name, content in read_files(source, lambda name: name.lower().endswith(".csv"), limits):
        found = True
        yield name, content
    if not found:
        raise InputError(source, "no scene", "files <split>/data/<id>.csv")


def read_scene(content: bytes, name: str, steps: int = STEPS) -> RecordedScene:
    """Read a scene from its CSV file.

    Args:
        content: the file. Columns are found by name, and only the official six are read. Values may be in double
            quotes. Rows may be in any order; if a track's rows are not in order of time, all rows are sorted by time.
        name: path of the file, whose stem is the scene's id; also for messages.
        steps: number of steps that the scene must have; the observed steps for a scene without a future.

    Raises:
        InputError: a column is missing, a value is not a number, the scene does not have exactly `steps` time stamps,
            its AGENT does not have a row at each, there are two AGENTs, AVs or cities, or a track has two rows at one
            time. The message names the row, where the header is row 1.
    """
    rows = _in_order_of_time(_read_rows(content, name))
    times, step = np.unique(rows.time, return_inverse=True)
    if len(times) != steps:
        raise InputError(name, f"{len(times)} time stamps", f"{steps} ({steps * STEP_SECONDS:g} s at 10 Hz)")
    lengths = np.bincount(rows.track, minlength=len(rows.track_ids))
    types = _track_types(rows, name)
    _check_agents(rows, types, lengths, name, steps)
    tracks = np.argsort(types, kind="stable")  # AGENT, AV, then OTHERS in the order of appearance
    rank = np.empty(len(tracks), dtype=np.int64)
    rank[tracks] = np.arange(len(tracks))
    order = np.argsort(rank[rows.track], kind="stable")
    step, track = step[order], rows.track[order]
    stuck = np.flatnonzero((np.diff(step) <= 0) & (np.diff(track) == 0))
    if stuck.size:
        row = int(order[stuck[0] + 1])
        found = f"track {rows.track_ids[rows.track[row]]!r} at {rows.time[row]} s again"
        raise InputError(f"{name}, row {rows.number[row]}", found, "one row for each track and time stamp")
    xy = np.stack([rows.x, rows.y], axis=1)[order]
    origin = xy[LAST_OBSERVED]
    relative = xy - origin
    far = np.flatnonzero(np.abs(relative).max(axis=1) > FARTHEST)
    if far.size:
        found = f"a point {np.abs(relative[far[0]]).max():.0f} m from AGENT"
        raise InputError(f"{name}, row {rows.number[order[far[0]]]}", found, f"at most {FARTHEST:.0f} m")
    return RecordedScene(
        scene_id=PurePosixPath(name).stem,
        city=rows.city,
        origin=origin,
        xy=relative.astype(np.float32),
        step=step.astype(np.uint8),
        track_lengths=lengths[tracks],
        track_types=types[tracks].astype(np.uint8),
        start_time=float(times[0]),
        times=times - times[0],
    )


@dataclass(frozen=True)
class _Rows:
    """The R rows of a table, in the order of the file or of time; `number` is the row's number in the file."""

    number: npt.NDArray[np.int64]
    time: npt.NDArray[np.float64]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    track: npt.NDArray[np.int32]
    track_ids: list[str]
    object_type: npt.NDArray[np.int32]
    object_types: list[str]
    city: str


def _read_rows(content: bytes, name: str) -> _Rows:
    _check_header(content, name)
    options = csv.ReadOptions(use_threads=False, block_size=len(content) + 1)
    try:
        parse = _QUOTED if b'"' in content else _PLAIN
        table = csv.read_csv(pa.BufferReader(content), options, parse, _CONVERT)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(name, f"unreadable CSV ({str(error)[:200]})", "a whole Argoverse 1 scene file") from None
    if table.num_rows == 0:
        raise InputError(name, "no row after the header", "rows of tracks")
    if table.num_rows > MOST_ROWS:
        raise InputError(name, f"{table.num_rows} rows", f"at most {MOST_ROWS}")
    numbers = {}
    for column in ("TIMESTAMP", "X", "Y"):
        values = numbers[column] = floats(table, column)
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            raise InputError(f"{name}, row {wrong[0] + 2}", f"{column} {values[wrong[0]]}", "a finite number")
    track, track_ids = categories(table, "TRACK_ID")
    object_type, object_types = categories(table, "OBJECT_TYPE")
    city, cities = categories(table, "CITY_NAME")
    if len(cities) != 1:
        row = int(np.flatnonzero(city != city[0])[0]) + 2
        raise InputError(f"{name}, row {row}", f"cities {' and '.join(map(repr, cities[:3]))}", "one city")
    number = np.arange(len(track)) + 2  # the header is row 1
    return _Rows(
        number, numbers["TIMESTAMP"], numbers["X"], numbers["Y"], track, track_ids, object_type, object_types, cities[0]
    )


def _in_order_of_time(rows: _Rows) -> _Rows:
    """Return the rows unchanged if the times of each track rise, as in the official files; else sorted by time.

    After sorting, tracks are numbered in their new order of appearance.
    """
    by_track = np.argsort(rows.track, kind="stable")
    falls = (np.diff(rows.time[by_track]) < 0) & (np.diff(rows.track[by_track]) == 0)
    if not falls.any():
        return rows
    order = np.argsort(rows.time, kind="stable")
    ids, first, track = np.unique(rows.track[order], return_index=True, return_inverse=True)
    appearance = np.argsort(first)
    rank = np.empty_like(appearance)
    rank[appearance] = np.arange(len(appearance))
    return replace(
        rows,
        number=rows.number[order],
        time=rows.time[order],
        x=rows.x[order],
        y=rows.y[order],
        track=rank[track].astype(np.int32),
        track_ids=[rows.track_ids[ids[place]] for place in appearance],
        object_type=rows.object_type[order],
    )


def _check_header(content: bytes, name: str) -> None:
    header = content[:LONGEST_HEADER].splitlines()[0] if content else b""
    if len(header) >= LONGEST_HEADER:
        raise InputError(f"{name}, row 1", f"a header of {LONGEST_HEADER} bytes or more", ",".join(COLUMN_TYPES))
    text = header.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    columns = next(text_csv.reader([text]), [])
    for column in COLUMN_TYPES:
        if columns.count(column) != 1:
            found = f"{columns.count(column)} columns {column!r} in {','.join(columns)[:200]!r}"
            raise InputError(f"{name}, row 1", found, f"the columns {','.join(COLUMN_TYPES)}")


def _track_types(rows: _Rows, name: str) -> npt.NDArray[np.int64]:
    """Return the type of each track, (K,), in the order of appearance."""
    for text in rows.object_types:
        if text not in TRACK_TYPES:
            row = rows.number[rows.object_type == rows.object_types.index(text)].min()
            raise InputError(f"{name}, row {row}", f"OBJECT_TYPE {text[:40]!r}", f"one of {', '.join(TRACK_TYPES)}")
    codes = np.array([TRACK_TYPES.index(text) for text in rows.object_types])[rows.object_type]
    types = np.empty(len(rows.track_ids), dtype=np.int64)
    types[rows.track] = codes
    mixed = np.flatnonzero(types[rows.track] != codes)
    if mixed.size:
        found = f"track {rows.track_ids[rows.track[mixed[0]]]!r} with several types"
        raise InputError(f"{name}, row {rows.number[mixed[0]]}", found, "one OBJECT_TYPE for each TRACK_ID")
    return types


def _check_agents(
    rows: _Rows, types: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], name: str, steps: int
) -> None:
    for kind, least in ((AGENT, 1), (AV, 0)):
        tracks = np.flatnonzero(types == kind)
        if not least <= len(tracks) <= 1:
            raise InputError(
                name, f"{len(tracks)} tracks of type {TRACK_TYPES[kind]}", "one" if least else "at most one"
            )
    agent = int(np.flatnonzero(types == AGENT)[0])
    if lengths[agent] != steps:
        agent_times = rows.time[rows.track == agent]
        missing = rows.time[~np.isin(rows.time, agent_times)]
        found = f"{lengths[agent]} rows" + (f", none at {missing.min()} s" if missing.size else "")
        raise InputError(f"{name}, AGENT {rows.track_ids[agent]}", found, f"exactly {steps}")
