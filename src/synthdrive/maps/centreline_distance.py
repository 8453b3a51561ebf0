"""How far points lie from the centrelines of a map, and which lane is nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from synthdrive.maps.lane_segments import MAX_POINTS, LaneSegments

REACH = 10.0  # metres; lanes further from the points than this are looked at only if nothing nearer is found


@dataclass(frozen=True)
class Centrelines:
    """The straight pieces of L centrelines, ready for distance queries; metres, city frame.

    Attributes:
        start, step: (L, 9, 2) float64, where each piece starts, and the vector to its end.
        inverse_square: (L, 9) float64, 1 / |step|^2, 0 for a piece without length.
        valid: (L, 9) bool, True where there is a piece.
        boxes: (L, 4) float64, x_min, y_min, x_max, y_max of each lane, its width included.
    """

    start: npt.NDArray[np.float64]
    step: npt.NDArray[np.float64]
    inverse_square: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_]
    boxes: npt.NDArray[np.float64]

    @classmethod
    def of(cls, segments: LaneSegments, boxes: npt.NDArray[np.float64] | None = None) -> Self:
        """The centrelines of these segments, in their order; `boxes` are their bounding boxes, where known."""
        start, step = segments.points[:, :-1], np.diff(segments.points, axis=1)
        valid = np.arange(1, MAX_POINTS) < segments.counts[:, None]
        square = np.where(valid, (step**2).sum(axis=-1), 0.0)
        inverse = np.divide(1.0, square, out=np.zeros_like(square), where=square > 0)
        return cls(start, step, inverse, valid, segments.bounding_boxes() if boxes is None else boxes)

    def nearest(
        self, points: npt.NDArray[np.floating[Any]], rows: npt.NDArray[np.integer[Any]]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Distance to the nearest of the lanes at `rows`, and that lane's row.

        Args:
            points: (N, 2) metres, city frame.
            rows: (M,) lanes to look at.

        Returns:
            (N,) float64 metres, infinite where `rows` is empty; (N,) int64 rows, -1 where it is.
        """
        boxes = self.boxes[rows]
        low, high = points.min(axis=0) - REACH, points.max(axis=0) + REACH
        close = rows[(boxes[:, :2] <= high).all(axis=1) & (boxes[:, 2:] >= low).all(axis=1)]
        distance, nearest = self._nearest(points, close)
        if np.all(distance <= REACH):
            return distance, nearest
        return self._nearest(points, rows)

    def _nearest(
        self, points: npt.NDArray[np.floating[Any]], rows: npt.NDArray[np.integer[Any]]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        if len(rows) == 0:
            return np.full(len(points), np.inf), np.full(len(points), -1, dtype=np.int64)
        valid = self.valid[rows]
        start, step, inverse = self.start[rows][valid], self.step[rows][valid], self.inverse_square[rows][valid]
        dx, dy = points[:, :1] - start[:, 0], points[:, 1:] - start[:, 1]  # [N, Q]
        along = np.clip((dx * step[:, 0] + dy * step[:, 1]) * inverse, 0.0, 1.0)
        square = (dx - along * step[:, 0]) ** 2 + (dy - along * step[:, 1]) ** 2
        best = square.argmin(axis=1)
        lanes = np.repeat(rows, valid.sum(axis=1))[best].astype(np.int64)
        return np.sqrt(np.take_along_axis(square, best[:, None], axis=1)[:, 0]), lanes
