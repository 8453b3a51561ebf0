"""Lane segments as one block of arrays: what a scene's map crop is made of."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from synthdrive.core.artifacts import read_arrays, write_arrays
from synthdrive.core.errors import InputError
from synthdrive.scenes.stored_arrays import COPIED_AT_A_TIME, open_safetensors

MAX_POINTS = 10  # Argoverse 1 lane centrelines have 2 to 10 points (docs/method.md 1.4)
LANE_WIDTH = 3.8  # metres; the official helper hallucinates lanes of this width (docs/method.md 1.4)

SEGMENT_ARRAYS = {  # name: (dtype, dimensions)
    "lane_ids": ("int64", 1),
    "points": ("float64", 3),
    "counts": ("int64", 1),
    "turn": ("int8", 1),
    "is_intersection": ("bool", 1),
    "has_traffic_control": ("bool", 1),
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
        InputError: shapes, types or counts do not fit.
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
        """(L, 10) bool, True where `points` holds a point."""
        return np.arange(MAX_POINTS) < self.counts[:, None]

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Self:
        """The segments at these rows, in this order."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def with_points(self, points: npt.NDArray[np.float64], counts: npt.NDArray[np.int64] | None = None) -> Self:
        """The same segments along other centrelines."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(**{**values, "points": points, "counts": self.counts if counts is None else counts})

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """All segments of the parts, in order."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in SEGMENT_ARRAYS})

    def bounding_boxes(self) -> npt.NDArray[np.float64]:
        """(L, 4) float64, x_min, y_min, x_max, y_max in metres of each lane's polygon, `LANE_WIDTH` wide.

        The polygon is the centreline moved half a lane to either side along the normals of its central differences,
        as the official map builds the boxes of its lane query (docs/method.md 1.4). As there, a point that stands at an
        earlier one's place is left out first.
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
        """Points and counts as in `points` and `counts`, without points that an earlier one of the lane equals."""
        x, y = self.points[..., 0], self.points[..., 1]
        same = (x[:, :, None] == x[:, None, :]) & (y[:, :, None] == y[:, None, :])  # [L, 10, 10]
        repeated = np.tril(same, k=-1).any(axis=2) & self.valid
        if not repeated.any():
            return self.points, self.counts
        kept = self.valid & ~repeated
        order = np.argsort(~kept, axis=1, kind="stable")
        return np.take_along_axis(self.points, order[..., None], axis=1), kept.sum(axis=1)

    def save(self, path: Path) -> None:
        """Write as one safetensors file."""
        write_arrays(path, {name: getattr(self, name) for name in SEGMENT_ARRAYS})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; raises InputError naming the file and the array."""
        arrays, _ = read_arrays(path, SEGMENT_ARRAYS)
        return cls(**{name: arrays[name] for name in SEGMENT_ARRAYS})

    @classmethod
    def open(cls, path: Path) -> Self:
        """As `load`, but the arrays stay on disk until they are read."""
        return cls(**open_safetensors(path, SEGMENT_ARRAYS))


class LaneSegmentsWriter:
    """Writes lane segments block by block in constant memory; the file is the one that `LaneSegments.save` writes.

    Args:
        path: the file; until it is closed, a file for each array stands beside it.
    """

    # The order in which safetensors writes them: by type, then by name
    _ORDER = ("counts", "lane_ids", "points", "turn", "has_traffic_control", "is_intersection")
    _TYPES = {"int64": "I64", "float64": "F64", "int8": "I8", "bool": "BOOL"}

    def __init__(self, path: Path) -> None:
        self.path, self._lanes = Path(path), 0
        self._files = {name: path.with_name(f"{path.name}.{name}.raw").open("wb") for name in self._ORDER}

    def append(self, lanes: LaneSegments) -> int:
        """Add lanes; returns the row of the first of them."""
        first, self._lanes = self._lanes, self._lanes + len(lanes)
        for name, stream in self._files.items():
            stream.write(np.ascontiguousarray(getattr(lanes, name)).tobytes())
        return first

    def close(self) -> None:
        """Join the arrays into one file."""
        header: dict[str, Any] = {"__metadata__": {}}
        end = 0
        for name, stream in self._files.items():
            start, end = end, end + stream.tell()
            stream.close()
            shape = [self._lanes, MAX_POINTS, 2] if name == "points" else [self._lanes]
            kind = self._TYPES[SEGMENT_ARRAYS[name][0]]
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with self.path.open("wb") as target:
            target.write(len(text).to_bytes(8, "little") + text)
            for stream in self._files.values():
                raw = Path(stream.name)
                with raw.open("rb") as source:
                    shutil.copyfileobj(source, target, COPIED_AT_A_TIME)
                raw.unlink()
