"""HD maps as arrays: lane segments, and the lane graph of a city. Scenes store crops of such maps."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from synthdrive.core.artifacts import read_arrays, write_arrays
from synthdrive.core.errors import InputError
from synthdrive.core.geometry import heading_change
from synthdrive.scenes.stored_arrays import open_safetensors

MAX_POINTS = 10  # Argoverse 1 lane centrelines have 2 to 10 points (docs/method.md 1.4)
NO_LANE = -1  # row of a missing neighbour
LARGEST_COORDINATE = 1e7  # metres; a quarter of the Earth's circumference, the range of metric grids
TURN_ANGLE = math.radians(30.0)  # change of heading from which a lane in an intersection turns left or right
LANE_WIDTH = 3.8  # metres; the official map code assumes lanes of this width (docs/method.md 1.4)

SEGMENT_ARRAYS = {  # name: (dtype, dimensions)
    "lane_ids": ("int64", 1),
    "points": ("float64", 3),
    "counts": ("int64", 1),
    "turn": ("int8", 1),
    "is_intersection": ("bool", 1),
    "has_traffic_control": ("bool", 1),
}
_GRAPH_ARRAYS = {
    "left": ("int64", 1),
    "right": ("int64", 1),
    "successor_offsets": ("int64", 1),
    "successor_rows": ("int64", 1),
    "predecessor_offsets": ("int64", 1),
    "predecessor_rows": ("int64", 1),
}


@dataclass(frozen=True)
class LaneSegments:
    """L lane segments.

    Attributes:
        lane_ids: (L,) int64, the map's own identifiers.
        points: (L, 10, 2) float64, centreline points in metres, city frame, in driving direction; zero beyond `counts`.
        counts: (L,) int64, number of centreline points, 2 to 10.
        turn: (L,) int8, LEFT -1, NONE 0, RIGHT +1.
        is_intersection: (L,) bool.
        has_traffic_control: (L,) bool.

    Raises:
        InputError: an array has the wrong shape or type, or a lane has too few or too many points.
    """

    lane_ids: npt.NDArray[np.int64]
    points: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    turn: npt.NDArray[np.int8]
    is_intersection: npt.NDArray[np.bool_]
    has_traffic_control: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        size = len(self.lane_ids)
        for name, (dtype, dimensions) in SEGMENT_ARRAYS.items():
            array: npt.NDArray[Any] = getattr(self, name)
            if str(array.dtype) != dtype or array.ndim != dimensions or len(array) != size:
                found = f"{array.dtype} of shape {array.shape}"
                raise InputError(f"LaneSegments.{name}", found, f"{dtype}, {dimensions} dimensions, {size} lanes")
        if self.points.shape[1:] != (MAX_POINTS, 2):
            raise InputError("LaneSegments.points", f"shape {self.points.shape}", f"(L, {MAX_POINTS}, 2)")
        wrong = np.flatnonzero((self.counts < 2) | (self.counts > MAX_POINTS))
        if wrong.size:
            where = f"LaneSegments, lane {self.lane_ids[wrong[0]]}"
            raise InputError(where, f"{self.counts[wrong[0]]} points", f"2 to {MAX_POINTS} centreline points")

    def __len__(self) -> int:
        return len(self.lane_ids)

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """(L, 10) bool, True where `points` contains a point."""
        return np.arange(MAX_POINTS) < self.counts[:, None]

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Self:
        """Return the segments at these rows, in this order."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def with_points(self, points: npt.NDArray[np.float64], counts: npt.NDArray[np.int64] | None = None) -> Self:
        """Return the same segments with other centrelines.

        Args:
            points: (L, 10, 2) float64 metres, city frame.
            counts: (L,) int64 number of points; None if unchanged.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(**{**values, "points": points, "counts": self.counts if counts is None else counts})

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """Join the segments of all parts, in order."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in SEGMENT_ARRAYS})

    def bounding_boxes(self) -> npt.NDArray[np.float64]:
        """Return (L, 4) float64: x_min, y_min, x_max, y_max in metres of each lane's polygon, `LANE_WIDTH` wide.

        As in the official lane query (docs/method.md 1.4), the edges of the polygon are the centreline shifted by half
        a lane along the normals of its central differences, and points that repeat an earlier point are left out.
        """
        points, counts = self._without_repeats()
        boxes = np.empty((len(self), 4))
        for count in np.unique(counts):
            lanes = np.flatnonzero(counts == count)
            line = points[lanes, :count]  # [N, P, 2]
            slope = np.gradient(line, axis=1) if count > 1 else np.zeros_like(line)
            length = np.hypot(slope[..., 0], slope[..., 1])[..., None]
            normal = np.stack([-slope[..., 1], slope[..., 0]], axis=-1) / np.where(length > 0, length, 1.0)
            edges = np.concatenate([line + normal * LANE_WIDTH / 2, line - normal * LANE_WIDTH / 2], axis=1)
            boxes[lanes, :2], boxes[lanes, 2:] = edges.min(axis=1), edges.max(axis=1)
        return boxes

    def _without_repeats(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return `points` and `counts` without the points that equal an earlier point of their lane."""
        x, y = self.points[..., 0], self.points[..., 1]
        same = (x[:, :, None] == x[:, None, :]) & (y[:, :, None] == y[:, None, :])  # [L, 10, 10]
        repeated = np.tril(same, k=-1).any(axis=2) & self.valid
        if not repeated.any():
            return self.points, self.counts
        kept = self.valid & ~repeated
        order = np.argsort(~kept, axis=1, kind="stable")
        return np.take_along_axis(self.points, order[..., None], axis=1), kept.sum(axis=1)

    def save(self, path: Path) -> None:
        """Write the segments to a safetensors file."""
        write_arrays(path, {name: getattr(self, name) for name in SEGMENT_ARRAYS})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file written by `save`; raises InputError if it is missing or damaged."""
        arrays, _ = read_arrays(path, SEGMENT_ARRAYS)
        return cls(**{name: arrays[name] for name in SEGMENT_ARRAYS})

    @classmethod
    def open(cls, path: Path) -> Self:
        """Like `load`, but the arrays are memory-mapped."""
        return cls(**open_safetensors(path, SEGMENT_ARRAYS))


@dataclass(frozen=True)
class Links:
    """The successors (or predecessors) of each of L lanes, in compressed sparse row form.

    Attributes:
        offsets: (L + 1,) int64; lane i's links are `rows[offsets[i]:offsets[i + 1]]`.
        rows: (N,) int64, rows of the map's segments.
    """

    offsets: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    def of(self, lane: int) -> npt.NDArray[np.int64]:
        """Return the rows that the lane at row `lane` links to."""
        return self.rows[self.offsets[lane] : self.offsets[lane + 1]]

    @classmethod
    def from_lists(cls, lists: list[list[int]]) -> Self:
        """Build the links from one list of rows for each lane."""
        offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in lists])]).astype(np.int64)
        return cls(offsets, np.array([row for rows in lists for row in rows], dtype=np.int64))


@dataclass(frozen=True)
class LaneMap:
    """The lanes of a city and their graph.

    Attributes:
        city: name of the city as in the scenes (MIA, PIT, ...).
        segments: the L lane segments, in the order of the map file.
        left, right: (L,) int64, row of the neighbouring lane, or NO_LANE.
        successors, predecessors: rows of the lanes that follow and precede each lane.

    Raises:
        InputError: the graph does not match the segments.
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
                raise InputError(where, "inconsistent offsets", f"offsets that rise from 0 to {len(links.rows)}")
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
        """(L, 4) float64 metres; see `LaneSegments.bounding_boxes`."""
        return self.segments.bounding_boxes()

    def lanes_near(self, x: float, y: float, half_width: float) -> npt.NDArray[np.int64]:
        """Return the rows, ascending, of lanes whose bounding box overlaps a square around (x, y), metres, city frame.

        Args:
            half_width: half the side of the square, metres; its sides are parallel to the axes.
        """
        boxes = self.bounding_boxes
        inside = (boxes[:, 0] <= x + half_width) & (boxes[:, 2] >= x - half_width)
        inside &= (boxes[:, 1] <= y + half_width) & (boxes[:, 3] >= y - half_width)
        return np.flatnonzero(inside)

    @cached_property
    def sha256(self) -> str:
        """SHA-256, in hexadecimal, of all lanes and links in their order."""
        digest = hashlib.sha256()
        for name, array in self._arrays().items():
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest()

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays = {name: getattr(self.segments, name) for name in SEGMENT_ARRAYS}
        arrays |= {"left": self.left, "right": self.right}
        arrays |= {"successor_offsets": self.successors.offsets, "successor_rows": self.successors.rows}
        arrays |= {"predecessor_offsets": self.predecessors.offsets, "predecessor_rows": self.predecessors.rows}
        return arrays

    def save(self, path: Path) -> None:
        """Write the map to a safetensors file."""
        write_arrays(path, self._arrays(), {"city": self.city})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file written by `save`; raises InputError if it is missing or damaged."""
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


def turn_direction(line: npt.NDArray[np.float64]) -> int:
    """Return the turn of a centreline (P, 2), metres, from its change of heading: LEFT -1, NONE 0, RIGHT +1."""
    angle = heading_change(line)
    return 0 if abs(angle) < TURN_ANGLE else (-1 if angle > 0 else 1)


def _check_rows(where: str, rows: npt.NDArray[np.int64], lowest: int, size: int) -> None:
    wrong = np.flatnonzero((rows < lowest) | (rows >= size))
    if wrong.size:
        raise InputError(where, f"row {rows[wrong[0]]}", f"rows from {lowest} below {size}")


def load_maps(directory: Path) -> dict[str, LaneMap]:
    """Load the lane maps of a folder (`<CITY>.safetensors`), by city, sorted by name; raises InputError if none."""
    files = sorted(Path(directory).glob("*.safetensors"))
    if not files:
        raise InputError(directory, "no lane map", "one <CITY>.safetensors for each city, as ingest writes them")
    maps = [LaneMap.load(file) for file in files]
    return {lane_map.city: lane_map for lane_map in maps}
