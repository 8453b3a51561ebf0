"""The HD map of one city: lane segments and the graph that joins them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from synthdrive.core.artifacts import read_arrays, write_arrays
from synthdrive.core.errors import InputError
from synthdrive.scenes.lane_segments import SEGMENT_ARRAYS, LaneSegments

NO_LANE = -1

_GRAPH_ARRAYS = {
    "left": ("int64", 1),
    "right": ("int64", 1),
    "successor_offsets": ("int64", 1),
    "successor_rows": ("int64", 1),
    "predecessor_offsets": ("int64", 1),
    "predecessor_rows": ("int64", 1),
}


@dataclass(frozen=True)
class Links:
    """For each of L lanes, the rows of the lanes it leads to (or comes from): a compressed sparse row list.

    Attributes:
        offsets: (L + 1,) int64; lane i's links are `rows[offsets[i]:offsets[i + 1]]`.
        rows: (N,) int64, rows of the map's segments.
    """

    offsets: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    def of(self, lane: int) -> npt.NDArray[np.int64]:
        """Rows linked from this lane's row."""
        return self.rows[self.offsets[lane] : self.offsets[lane + 1]]

    @classmethod
    def from_lists(cls, lists: list[list[int]]) -> Self:
        """Links from one list of rows a lane."""
        offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in lists])]).astype(np.int64)
        return cls(offsets, np.array([row for rows in lists for row in rows], dtype=np.int64))


@dataclass(frozen=True)
class LaneMap:
    """A city's lanes and their graph.

    Attributes:
        city: the city's name as the scenes give it (MIA, PIT, ...).
        segments: its L lane segments, in the order of the map file.
        left, right: (L,) int64, row of the neighbour lane, NO_LANE where there is none.
        successors, predecessors: rows of the lanes that follow and precede.
    """

    city: str
    segments: LaneSegments
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    successors: Links
    predecessors: Links

    def __post_init__(self) -> None:
        size = len(self.segments)
        for name in ("successors", "predecessors"):
            links: Links = getattr(self, name)
            where = f"LaneMap {self.city}: {name}"
            if links.offsets.shape != (size + 1,):
                raise InputError(where, f"{len(links.offsets) - 1} lanes", f"{size} lanes")
            if links.offsets[0] != 0 or links.offsets[-1] != len(links.rows) or np.any(np.diff(links.offsets) < 0):
                raise InputError(where, "offsets that do not fit", f"offsets that rise from 0 to {len(links.rows)}")
            _check_rows(where, links.rows, 0, size)
        for name in ("left", "right"):
            rows = getattr(self, name)
            if rows.shape != (size,):
                raise InputError(f"LaneMap {self.city}: {name}", f"{len(rows)} lanes", f"{size} lanes")
            _check_rows(f"LaneMap {self.city}: {name}", rows, NO_LANE, size)

    def __len__(self) -> int:
        return len(self.segments)

    @cached_property
    def bounding_boxes(self) -> npt.NDArray[np.float64]:
        """(L, 4) float64, see `LaneSegments.bounding_boxes`."""
        return self.segments.bounding_boxes()

    def lanes_near(self, x: float, y: float, half_width: float) -> npt.NDArray[np.int64]:
        """Rows, rising, of the lanes whose box overlaps the square of +-half_width metres around (x, y), city axes."""
        boxes = self.bounding_boxes
        inside = (boxes[:, 0] <= x + half_width) & (boxes[:, 2] >= x - half_width)
        inside &= (boxes[:, 1] <= y + half_width) & (boxes[:, 3] >= y - half_width)
        return np.flatnonzero(inside)

    def save(self, path: Path) -> None:
        """Write as one safetensors file."""
        arrays = {name: getattr(self.segments, name) for name in SEGMENT_ARRAYS}
        arrays |= {"left": self.left, "right": self.right}
        arrays |= {"successor_offsets": self.successors.offsets, "successor_rows": self.successors.rows}
        arrays |= {"predecessor_offsets": self.predecessors.offsets, "predecessor_rows": self.predecessors.rows}
        write_arrays(path, arrays, {"city": self.city})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; raises InputError naming the file and the array."""
        arrays, metadata = read_arrays(path, {**SEGMENT_ARRAYS, **_GRAPH_ARRAYS})
        if "city" not in metadata:
            raise InputError(path, "no city in the file's metadata", "a lane map written by SynthDrive")
        return cls(
            city=metadata["city"],
            segments=LaneSegments(**{name: arrays[name] for name in SEGMENT_ARRAYS}),
            left=arrays["left"],
            right=arrays["right"],
            successors=Links(arrays["successor_offsets"], arrays["successor_rows"]),
            predecessors=Links(arrays["predecessor_offsets"], arrays["predecessor_rows"]),
        )


def _check_rows(where: str, rows: npt.NDArray[np.int64], lowest: int, size: int) -> None:
    wrong = np.flatnonzero((rows < lowest) | (rows >= size))
    if wrong.size:
        raise InputError(where, f"row {rows[wrong[0]]}", f"rows from {lowest} below {size}")


def load_maps(directory: Path) -> dict[str, LaneMap]:
    """The lane maps of an artifact directory (`<CITY>.safetensors`), by city, in the order of their names."""
    files = sorted(Path(directory).glob("*.safetensors"))
    if not files:
        raise InputError(directory, "no lane map", "one <CITY>.safetensors for each city, as ingest writes them")
    maps = [LaneMap.load(file) for file in files]
    return {lane_map.city: lane_map for lane_map in maps}
