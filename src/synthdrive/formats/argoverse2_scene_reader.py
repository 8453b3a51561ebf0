"""Reader of scenarios of Argoverse 2 motion forecasting: `scenario_<id>.parquet`, a row for each track and step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from synthdrive.core.errors import InputError
from synthdrive.core.timing import ARGOVERSE2, Timing
from synthdrive.formats.archives import Limits, read_files
from synthdrive.scenes.scene_store import AGENT, AV, FARTHEST, OTHERS, RecordedScene
from synthdrive.scenes.stored_arrays import categories, floats, integers

FILE = re.compile(
    r"(?:scenario_(?P<scene>[0-9A-Za-z-]{1,64})\.parquet|log_map_archive_(?P<map>[0-9A-Za-z-]{1,64})\.json)"
)
MOST_WAITING = 1 << 28  # bytes of files whose scenario is not complete yet; a scenario has 0.3 million

TEXTS = ("track_id", "object_type", "scenario_id", "focal_track_id", "city")
FLOATS = ("position_x", "position_y", "start_timestamp", "end_timestamp")
INTEGERS = ("timestep", "num_timestamps")
MOST_ROWS = ARGOVERSE2.steps * 5_000  # official scenarios have some hundred tracks
MOST_BYTES = 1 << 28  # unpacked, according to the file's footer; official scenarios have 1 million
MOST_PARTS = 1 << 12  # entries of a list in a Parquet footer: columns or row groups
LONGEST_TEXT = 64
AV_TRACK = "AV"  # track_id of the recording vehicle
TYPES = (
    "vehicle", "pedestrian", "motorcyclist", "cyclist", "bus", "static", "background", "construction",
    "riderless_bicycle", "unknown",
)  # fmt: skip
UNEVEN = 0.1  # largest relative difference of the steps from 10 Hz


@dataclass(frozen=True)
class ScenarioFiles:
    """The two files of one scenario.

    Attributes:
        name: id of the scenario.
        scene, local_map: contents of the files; None if a file is missing.
    """

    name: str
    scene: bytes | None = None
    local_map: bytes | None = None

    @property
    def size(self) -> int:
        """Total size of both files in bytes."""
        return len(self.scene or b"") + len(self.local_map or b"")


def scenario_files(source: Path, limits: Limits) -> Iterator[ScenarioFiles]:
    """Yield each scenario of a tarball or folder when both its files have been read; incomplete scenarios come last.

    Raises:
        InputError: there is no scenario, a file occurs twice, or the files of incomplete scenarios exceed MOST_WAITING.
    """
    waiting: dict[str, ScenarioFiles] = {}
    bytes_waiting, found = 0, False
    for path, content in read_files(source, lambda path: bool(FILE.fullmatch(PurePosixPath(path).name)), limits):
        match = FILE.fullmatch(PurePosixPath(path).name)
        assert match is not None  # only such names are wanted
        found, name = True, match["scene"] or match["map"]
        other = waiting.pop(name, ScenarioFiles(name))
        bytes_waiting -= other.size
        if (other.scene if match["scene"] else other.local_map) is not None:
            raise InputError(f"{source}: {path}", "a second file of this name", "each file once")
        both = ScenarioFiles(name, *((content, other.local_map) if match["scene"] else (other.scene, content)))
        if both.scene is not None and both.local_map is not None:
            yield both
            continue
        waiting[name] = both
        bytes_waiting += both.size
        if bytes_waiting > MOST_WAITING:
            first = next(iter(waiting))
            raise InputError(
                source, f"{len(waiting)} scenarios of which only one file has been read, such as {first}",
                "scenario_<id>.parquet and log_map_archive_<id>.json near each other, as in the official archive",
            )  # fmt: skip
    if not found:
        raise InputError(source, "no scenario", "<id>/scenario_<id>.parquet and <id>/log_map_archive_<id>.json")
    yield from waiting.values()


def read_scenario(content: bytes, name: str, where: str, timing: Timing, future: bool = True) -> RecordedScene:
    """Read a scenario from its Parquet file.

    AGENT is the focal track, AV that of the recording vehicle (unless it is the focal track), and OTHERS are the rest
    in the order of the file.

    Args:
        content: the file. Columns are found by name, others are ignored. Rows may be in any order.
        name: id of the scenario.
        where: the file, for messages.
        timing: number of steps to take before and after the last observed step.
        future: whether to include the future.

    Raises:
        InputError: the file is damaged, too large or of another scenario; a column is missing or has another type; a
            value is missing or not finite; the focal track lacks one of the steps; a track has two rows at one step.
    """
    table = _read_table(content, where)
    track, track_ids = categories(table, "track_id")
    focal_id = _constant_text(table, "focal_track_id", where)
    if _constant_text(table, "scenario_id", where) != name:
        raise InputError(
            where, f"scenario {_constant_text(table, 'scenario_id', where)!r}", f"{name!r}, as in its name"
        )
    if focal_id not in track_ids:
        raise InputError(where, f"no row of the focal track {focal_id!r}", "the focal track")
    step, begin, seconds = _steps(table, where, timing)
    wanted = np.flatnonzero((step >= 0) & (step < (timing.steps if future else timing.history_steps)))
    xy = np.stack([floats(table, "position_x"), floats(table, "position_y")], axis=1)
    wrong = np.flatnonzero(~np.isfinite(xy).all(axis=1))
    if wrong.size:
        raise InputError(f"{where}, row {wrong[0] + 1}", f"position {xy[wrong[0]].tolist()}", "finite numbers")
    step, track, xy = step[wanted], track[wanted], xy[wanted]

    focal = track_ids.index(focal_id)
    _check_focal(step[track == focal], timing.steps if future else timing.history_steps, timing, f"{where}: {focal_id}")
    present, first, own = np.unique(track, return_index=True, return_inverse=True)
    types = np.where(present == focal, AGENT, OTHERS)
    if AV_TRACK in track_ids and focal_id != AV_TRACK:
        types[present == track_ids.index(AV_TRACK)] = AV
    rank = np.empty(len(present), dtype=np.int64)
    rank[np.lexsort((first, types))] = np.arange(len(present))
    rows = np.lexsort((step, rank[own]))
    step, ranks, xy = step[rows], rank[own][rows], xy[rows]
    twice = np.flatnonzero((np.diff(step) == 0) & (np.diff(ranks) == 0))
    if twice.size:
        again = track_ids[present[np.flatnonzero(rank == ranks[twice[0]])[0]]]
        raise InputError(where, f"track {again!r} twice at one step", "one row for each track and step")
    origin = xy[timing.last_observed]
    relative = xy - origin
    farthest = float(np.abs(relative).max())
    if farthest > FARTHEST:
        raise InputError(where, f"a point {farthest:.0f} m from the focal track", f"at most {FARTHEST:.0f} m")
    return RecordedScene(
        scene_id=name,
        city=_constant_text(table, "city", where),
        origin=origin,
        xy=relative.astype(np.float32),
        step=step.astype(np.uint8),
        track_lengths=np.bincount(ranks).astype(np.int64),
        track_types=np.sort(types).astype(np.uint8),
        start_time=begin,
        times=np.arange(timing.steps if future else timing.history_steps, dtype=np.float64) * seconds,
        agent_track_id=focal_id,
        agent_type=_focal_type(table, focal, where),
    )


def _read_table(content: bytes, where: str) -> pa.Table:
    """Read the required columns and check that no value is missing; strings are dictionary-encoded to save memory."""
    try:
        with pq.ParquetFile(
            pa.BufferReader(content), read_dictionary=list(TEXTS), thrift_container_size_limit=MOST_PARTS
        ) as file:
            _check_schema(file.schema_arrow, where)
            rows, groups = file.metadata.num_rows, range(file.metadata.num_row_groups)
            size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            if not 0 < rows <= MOST_ROWS or size > MOST_BYTES:
                raise InputError(where, f"{rows} rows, {size} bytes", f"1 to {MOST_ROWS} rows, {MOST_BYTES} bytes")
            table = file.read([*TEXTS, *FLOATS, *INTEGERS], use_threads=False)
        if groups != range(1):
            table = table.unify_dictionaries().combine_chunks()
        table.validate(full=True)  # checks that strings are UTF-8 and dictionary indices valid
    except KeyError as error:  # a column in `read_dictionary` is missing
        found = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else error.args[0]
        raise InputError(where, f"no {found}", f"a column {found}") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(where, f"unreadable Parquet ({str(error)[:200]})", "a whole scenario file") from None
    for column in table.column_names:
        if table[column].null_count:
            raise InputError(where, f"{table[column].null_count} rows without {column}", "a value in every row")
    return table


def _check_schema(schema: pa.Schema, where: str) -> None:
    kinds = dict.fromkeys(TEXTS, "text") | dict.fromkeys(FLOATS, "double")
    for name, kind in (kinds | dict.fromkeys(INTEGERS, "int64")).items():
        if schema.get_field_index(name) < 0:
            raise InputError(where, f"columns {', '.join(schema.names)[:200]}", f"a column {name}")
        found = schema.field(name).type
        text = pa.types.is_dictionary(found) and found.value_type == pa.string() and found.index_type == pa.int32()
        if not (text if kind == "text" else str(found) == kind):
            raise InputError(f"{where}: column {name}", f"type {found}", kind)


def _constant_text(table: pa.Table, column: str, where: str) -> str:
    rows, texts = categories(table, column)
    if (rows != rows[0]).any():
        raise InputError(where, f"several values of {column}", "one in all rows")
    text: str = texts[rows[0]]
    if not text or len(text) > LONGEST_TEXT or not text.isprintable():
        raise InputError(f"{where}: {column}", repr(text)[:80], f"1 to {LONGEST_TEXT} printable characters")
    return text


def _steps(table: pa.Table, where: str, timing: Timing) -> tuple[npt.NDArray[np.int64], float, float]:
    """Return the step of each row (R,) relative to the first step of `timing`, the time of that step, and the interval.

    Times are in seconds.
    """
    step, count = integers(table, "timestep"), integers(table, "num_timestamps")
    start, end = floats(table, "start_timestamp"), floats(table, "end_timestamp")
    if (count != count[0]).any() or (start != start[0]).any() or (end != end[0]).any():
        raise InputError(where, "several start, end or num_timestamps", "one in all rows")
    if count[0] != ARGOVERSE2.steps or step.min() < 0 or step.max() >= ARGOVERSE2.steps:
        found = f"{count[0]} time stamps, steps {step.min()} to {step.max()}"
        raise InputError(where, found, f"{ARGOVERSE2.steps}, and steps from 0")
    seconds = float(end[0] - start[0]) * 1e-9 / (ARGOVERSE2.steps - 1)
    if not abs(seconds - timing.step_seconds) <= UNEVEN * timing.step_seconds:
        raise InputError(where, f"steps of {seconds:.4g} s", f"{timing.step_seconds} s")
    before = ARGOVERSE2.history_steps - timing.history_steps
    return step - before, float(start[0]) * 1e-9 + before * seconds, round(seconds, 9)


def _check_focal(steps: npt.NDArray[np.int64], wanted: int, timing: Timing, where: str) -> None:
    present = np.unique(steps)
    if len(present) != wanted:
        missing = int(np.setdiff1d(np.arange(wanted), present)[0]) + ARGOVERSE2.history_steps - timing.history_steps
        raise InputError(where, f"a focal track without step {missing}", f"all {wanted} steps")


def _focal_type(table: pa.Table, focal: int, where: str) -> str:
    track, _ = categories(table, "track_id")
    kind, kinds = categories(table, "object_type")
    own = np.unique(kind[track == focal])
    if len(own) != 1 or kinds[own[0]] not in TYPES:
        found = " and ".join(repr(kinds[each])[:40] for each in own[:3])
        raise InputError(f"{where}: object_type of the focal track", found, f"one of {', '.join(TYPES)}")
    text: str = kinds[own[0]]
    return text
