"""Reader of users' own forecasts, from files that any program can write (docs/library.md)."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from synthdrive.core.errors import InputError
from synthdrive.forecasting.forecasts import MODES, Forecasts
from synthdrive.forecasting.leaderboard_files import is_submission, read_leaderboard_file, read_submission
from synthdrive.scenes.scene_store import SceneStore

Floats = npt.NDArray[np.float64]

COLUMNS = {
    "scene_id": pa.string(), "trajectory": pa.int64(), "step": pa.int64(), "x": pa.float64(), "y": pa.float64(),
    "probability": pa.float64(),
}  # fmt: skip
ARRAYS = ("scene_ids", "trajectories", "probabilities")
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
MOST_COMPRESSION = 1032  # times; deflate cannot do more
DAMAGE = (  # what zipfile and NumPy raise if a file is damaged, encrypted or has another compression
    OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, SyntaxError, OverflowError,
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
)  # fmt: skip
KINDS = (".npz", ".parquet", ".csv", ".h5")
FARTHEST_START = 20.0  # m from the agent's last observed position to the first step; 200 m/s in 0.1 s

Scenes = Mapping[str, tuple[Floats, Floats]]  # scene -> trajectories (K, T, 2) and probabilities (K,)


def read_own_forecasts(path: Path, store: SceneStore) -> Forecasts:
    """Read forecasts of all scenes of a store from a file, which may list them in any order.

    Positions are in metres, city frame, 0.1 s apart, beginning one step after the last observed one. A scene may have
    any number of trajectories: the six most probable are kept; if there are fewer, the most probable one is repeated
    with probability 0, which changes no metric. Probabilities need not sum to 1.

    * `.npz`: scene_ids (S,) text, trajectories (S, K, T, 2), probabilities (S, K), where T is the number of future
      steps.
    * `.parquet`, `.csv`: a row for each step, in any order, with the columns of COLUMNS: `trajectory` is the number of
      the trajectory in its scene, `step` goes from 1 to T, `probability` is that of the row's trajectory.
    * `.h5`: a file for the Argoverse 1 leaderboard.
    * `.parquet` with the columns of the Argoverse 2 challenge: a submission to it.

    Raises:
        InputError: the file is of another kind or damaged; scenes are missing, unknown or repeated; steps are missing;
            or values are impossible or in another frame. Names the file, and the scene or row.
    """
    path, future = Path(path), store.timing.future_steps
    if not path.is_file():
        raise InputError(path, "no such file", f"forecasts as {', '.join(KINDS)}")
    if path.suffix not in KINDS:
        raise InputError(path, f"the suffix {path.suffix!r}", f"one of {', '.join(KINDS)}")
    if path.suffix == ".npz":
        scenes: Scenes = _from_arrays(path, future)
    elif path.suffix == ".h5":
        scenes = read_leaderboard_file(path)
    elif path.suffix == ".parquet" and is_submission(path):
        scenes = {name: (lines, weights) for name, (_, lines, weights) in read_submission(path).items()}
    else:
        scenes = _from_table(path, _read_table(path), future)
    _check_scenes(path, scenes, store)
    pairs = zip(store.scene_ids, store.origins, strict=True)
    kept = [_most_probable(path, name, *scenes[name], origin) for name, origin in pairs]
    trajectories, weights = (np.stack(parts) for parts in zip(*kept, strict=True))
    return Forecasts.ranked(store.scene_ids, trajectories, weights)


def _from_arrays(path: Path, future: int) -> Scenes:
    try:
        with zipfile.ZipFile(path) as archive:
            found = sorted(archive.namelist())
            absent = [name for name in ARRAYS if f"{name}.npy" not in found]
            if absent:
                raise InputError(path, f"files {found}"[:300], f"an array {absent[0]!r} ({absent[0]}.npy)")
            shapes = [_declared_shape(path, archive.getinfo(f"{name}.npy"), archive) for name in ARRAYS]
            scenes, modes = shapes[2] if len(shapes[2]) == 2 else (0, 0)
            if shapes[0] != (scenes,) or shapes[1] != (scenes, modes, future, 2) or modes < 1:
                found_shapes = ", ".join(f"{name} {shape}" for name, shape in zip(ARRAYS, shapes, strict=True))
                raise InputError(path, found_shapes, f"(S,), (S, K, {future}, 2) and (S, K)")
            names, trajectories, probabilities = (_read_array(archive, name) for name in ARRAYS)
    except DAMAGE as error:
        what = f"unreadable ({type(error).__name__}: {str(error)[:200]})"
        raise InputError(path, what, "arrays that numpy.savez wrote") from None
    for array, name in ((trajectories, "trajectories"), (probabilities, "probabilities")):
        if array.dtype.kind not in "fiu":
            raise InputError(f"{path}: {name}", f"type {array.dtype}", "numbers")
    ids = [str(name) for name in names.tolist()]
    _check_once(path, ids)
    trajectories, probabilities = trajectories.astype(np.float64), probabilities.astype(np.float64)
    return {name: (trajectories[row], probabilities[row]) for row, name in enumerate(ids)}


def _declared_shape(path: Path, member: zipfile.ZipInfo, archive: zipfile.ZipFile) -> tuple[int, ...]:
    """Return the shape in an array's header, after checking that the file has that many bytes: all are allocated."""
    where = f"{path}: {member.filename}"
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in HEADERS:
            raise InputError(where, f"version {version} of the .npy format", "version (1, 0) or (2, 0)")
        shape, _, dtype = HEADERS[version](stream)
        size = member.file_size - stream.tell()
    if dtype.hasobject:
        raise InputError(where, "Python objects", "scene_ids as text, the other arrays as numbers")
    if math.prod(shape) * dtype.itemsize != size or size > MOST_COMPRESSION * path.stat().st_size:
        found = f"{dtype} of shape {shape}, but {size} bytes, in an archive of {path.stat().st_size} bytes"
        raise InputError(where, found, "bytes for every number")
    return shape


def _read_array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(f"{name}.npy") as stream:
        array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _read_table(path: Path) -> pa.Table:
    """Read the columns of COLUMNS with their types; none may lack a value."""
    try:
        if path.suffix == ".csv":
            options = pa.csv.ConvertOptions(column_types=COLUMNS, strings_can_be_null=True)
            table = pa.csv.read_csv(path, convert_options=options)
        else:
            with pq.ParquetFile(path) as file:
                table = file.read([name for name in COLUMNS if name in file.schema_arrow.names])
        for name in COLUMNS:
            if name not in table.column_names:
                raise InputError(path, f"columns {table.column_names}", f"a column {name!r}")
        table = table.select(list(COLUMNS)).cast(pa.schema(COLUMNS))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(path, f"unreadable ({error})", f"a table of {', '.join(COLUMNS)}") from None
    for name in COLUMNS:
        if table[name].null_count:
            row = int(np.argmax(table[name].is_null().to_numpy()))
            raise InputError(f"{path}: row {row + 1}: {name}", "no value", "one in every row")
    return table


def _from_table(path: Path, table: pa.Table, future: int) -> Scenes:
    """Convert rows in any order to trajectories of `future` steps."""
    names = np.array(table["scene_id"].to_pylist(), dtype=np.str_)
    trajectory, step, x, y, probability = (table[name].to_numpy() for name in list(COLUMNS)[1:])
    wrong = np.flatnonzero((step < 1) | (step > future))
    if wrong.size:
        raise InputError(f"{path}: row {wrong[0] + 1}: step", str(step[wrong[0]]), f"1 to {future}")
    order = np.lexsort((step, trajectory, names))
    starts = np.flatnonzero(
        np.r_[True, (names[order][1:] != names[order][:-1]) | (trajectory[order][1:] != trajectory[order][:-1])]
    )
    scenes: dict[str, tuple[list[Floats], list[float]]] = {}
    for rows in np.split(order, starts[1:]) if len(order) else []:
        where = f"{path}: scene {names[rows[0]]}, trajectory {trajectory[rows[0]]}"
        expected = f"{future} rows, one for each step"
        if len(rows) != future:
            raise InputError(where, f"{len(rows)} rows", expected)
        if (twice := np.flatnonzero(np.diff(step[rows]) == 0)).size:
            raise InputError(f"{where}, row {rows[twice[0] + 1] + 1}", f"step {step[rows[twice[0]]]} again", expected)
        first = probability[rows[0]]
        if not np.array_equal(probability[rows], np.full(len(rows), first), equal_nan=True):
            raise InputError(where, "more than one probability", "the same in all rows of a trajectory")
        lines, weights = scenes.setdefault(str(names[rows[0]]), ([], []))
        lines.append(np.stack([x[rows], y[rows]], axis=1))
        weights.append(float(first))
    return {name: (np.stack(lines), np.array(weights)) for name, (lines, weights) in scenes.items()}


def _check_once(path: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for row, name in enumerate(names):
        if name in seen:
            raise InputError(f"{path}: row {row + 1} of scene_ids", f"scene {name} again", "every scene once")
        seen.add(name)


def _check_scenes(path: Path, scenes: Mapping[str, Any], store: SceneStore) -> None:
    """Raise InputError unless the scenes are exactly those of the store; metrics of others could not be compared."""
    absent = [name for name in store.scene_ids if name not in scenes]
    if absent:
        found = f"{len(store) - len(absent)} of the store's {len(store)} scenes, without scene {absent[0]}"
        raise InputError(path, found, "forecasts of all of them")
    unknown = sorted(scenes.keys() - set(store.scene_ids))
    if unknown:
        raise InputError(path, f"scene {unknown[0]}", f"only the store's {len(store)} scenes")


def _most_probable(path: Path, name: str, lines: Floats, weights: Floats, origin: Floats) -> tuple[Floats, Floats]:
    """Return a scene's six most probable trajectories (6, T, 2), relative to its origin, and their weights (6,)."""
    where = f"{path}: scene {name}"
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any() or weights.sum() <= 0:
        which = int(wrong.argmax())
        found = str(weights[which]) if wrong.any() else "no probability above 0"
        raise InputError(f"{where}, trajectory {which + 1} of {len(weights)}", found, "probabilities of 0 or more")
    lines = lines - origin
    start = np.hypot(lines[:, 0, 0], lines[:, 0, 1])
    wrong = ~np.isfinite(lines).all(axis=(1, 2)) | ~(start <= FARTHEST_START)
    if wrong.any():
        which = int(wrong.argmax())
        finite = bool(np.isfinite(lines[which]).all())
        far = f"a first step {start[which]:.4g} m from the agent's last observed position"
        found = far if finite else "infinity or NaN"
        expected = f"metres in the city's frame, at most {FARTHEST_START:g} m from ({origin[0]:.1f}, {origin[1]:.1f})"
        raise InputError(f"{where}, trajectory {which + 1} of {len(weights)}", found, expected)
    order = np.argsort(-weights, kind="stable")[:MODES]
    kept = np.concatenate([order, np.full(MODES - len(order), order[0])])
    return lines[kept], np.where(np.arange(MODES) < len(order), weights[kept], 0.0)
