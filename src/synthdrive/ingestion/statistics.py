"""Statistics of lanes and scenes for the manifests: a row of plain numbers for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.scenes.lane_map import MAX_POINTS, NO_LANE, LaneMap, LaneSegments, Links

REACH = 10.0  # metres; more distant lanes are searched only if no lane is nearer


@dataclass(frozen=True)
class Centrelines:
    """The line segments of L centrelines, prepared for distance queries; metres, city frame.

    Attributes:
        start, step: (L, 9, 2) float64, start of each line segment and the vector to its end.
        inverse_square: (L, 9) float64, 1 / |step|^2, 0 for a segment of length 0.
        valid: (L, 9) bool, True where there is a segment.
        boxes: (L, 4) float64, x_min, y_min, x_max, y_max of each lane with its width.
    """

    start: npt.NDArray[np.float64]
    step: npt.NDArray[np.float64]
    inverse_square: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_]
    boxes: npt.NDArray[np.float64]

    @classmethod
    def of(cls, segments: LaneSegments, boxes: npt.NDArray[np.float64] | None = None) -> Self:
        """Prepare the centrelines of lane segments; `boxes` are their bounding boxes (L, 4), if known."""
        start, step = segments.points[:, :-1], np.diff(segments.points, axis=1)
        valid = np.arange(1, MAX_POINTS) < segments.counts[:, None]
        square = np.where(valid, (step**2).sum(axis=-1), 0.0)
        inverse = np.divide(1.0, square, out=np.zeros_like(square), where=square > 0)
        return cls(start, step, inverse, valid, segments.bounding_boxes() if boxes is None else boxes)

    def nearest(
        self, points: npt.NDArray[np.floating[Any]], rows: npt.NDArray[np.integer[Any]]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Find the nearest lane of each point.

        Args:
            points: (N, 2) metres, city frame.
            rows: (M,) rows of the lanes to consider.

        Returns:
            (N,) float64, the distance to it in metres, infinite if `rows` is empty; (N,) int64, its row, or -1.
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


def map_manifest(maps: list[LaneMap]) -> pa.Table:
    """Return a table with a row for each lane, in the order of the maps and of their files.

    Columns: city, lane_id, n_points, length (m), min_spacing, max_spacing (m, between neighbouring points), finite,
    turn (LEFT -1, NONE 0, RIGHT +1), is_intersection, has_traffic_control, n_successors, n_predecessors,
    successors_link_back (each successor names this lane as a predecessor, and vice versa), neighbours_link_back (each
    neighbour names this lane as a neighbour), successor_gap (m, the largest distance from this lane's end to a
    successor's start; 0 without successors).
    """
    return pa.concat_tables([_lanes(lane_map) for lane_map in maps])


def _lanes(lane_map: LaneMap) -> pa.Table:
    segments, size = lane_map.segments, len(lane_map)
    spacing = np.where(segments.valid[:, 1:], np.linalg.norm(np.diff(segments.points, axis=1), axis=2), np.nan)
    finite = np.isfinite(np.where(segments.valid[..., None], segments.points, 0.0)).all(axis=(1, 2))
    columns: dict[str, Any] = {
        "city": pa.array([lane_map.city] * size, pa.string()),
        "lane_id": segments.lane_ids,
        "n_points": segments.counts,
        "length": np.nansum(spacing, axis=1),
        "min_spacing": np.nanmin(spacing, axis=1),
        "max_spacing": np.nanmax(spacing, axis=1),
        "finite": finite,
        "turn": segments.turn.astype(np.int64),
        "is_intersection": segments.is_intersection,
        "has_traffic_control": segments.has_traffic_control,
        "n_successors": np.diff(lane_map.successors.offsets),
        "n_predecessors": np.diff(lane_map.predecessors.offsets),
        "successors_link_back": _successors_link_back(lane_map),
        "neighbours_link_back": _neighbours_link_back(lane_map),
        "successor_gap": _successor_gaps(segments, lane_map.successors),
    }
    return pa.table(columns)


def _pairs(links: Links) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows (N,) from which and to which each link leads."""
    return np.repeat(np.arange(len(links.offsets) - 1), np.diff(links.offsets)), links.rows


def _successors_link_back(lane_map: LaneMap) -> npt.NDArray[np.bool_]:
    (lane, follower), (later, earlier) = _pairs(lane_map.successors), _pairs(lane_map.predecessors)
    size = len(lane_map)
    forward, backward = lane * size + follower, earlier * size + later
    good = np.ones(size, dtype=np.bool_)
    good[lane[~np.isin(forward, backward)]] = False
    good[later[~np.isin(backward, forward)]] = False
    return good


def _neighbours_link_back(lane_map: LaneMap) -> npt.NDArray[np.bool_]:
    good, rows = np.ones(len(lane_map), dtype=np.bool_), np.arange(len(lane_map))
    for neighbour in (lane_map.left, lane_map.right):
        back = (lane_map.left[neighbour] == rows) | (lane_map.right[neighbour] == rows)
        good &= (neighbour == NO_LANE) | back
    return good


def _successor_gaps(segments: LaneSegments, successors: Links) -> npt.NDArray[np.float64]:
    lane, follower = _pairs(successors)
    ends = segments.points[np.arange(len(segments)), segments.counts - 1]
    gaps = np.zeros(len(segments))
    np.maximum.at(gaps, lane, np.linalg.norm(segments.points[follower, 0] - ends[lane], axis=1))
    return gaps


HEADING_STEPS = 5  # half a second; docs/method.md 1.2 takes the observed heading over the last 6 points
HEADING_TRAVEL = 1.0  # metres; over shorter distances, the heading is mostly tracking noise
SPEED_STEPS = 5  # half a second; over one step, the speed is mostly tracking noise
HEADING_DECIMALS = 9  # decimals of radians in the manifest


def agent_statistics(
    agents: npt.NDArray[np.floating[Any]],
    times: npt.NDArray[np.float64],
    turn_angle: float,
    last_observed: int,
) -> dict[str, npt.NDArray[Any]]:
    """Compute manifest columns about the focal agent's motion in B scenes.

    Args:
        agents: (B, steps, 2) positions of the focal agents, metres, city axes.
        times: (B, steps) seconds, rising.
        turn_angle: change of heading, radians, from which a scene counts as a turn.
        last_observed: index of the last observed step.

    Returns:
        (B,) each: agent_mean_speed (m/s, path length over time), agent_max_speed (m/s, largest mean over half a
        second), agent_displacement (m, straight from the first step to the last), agent_heading_change (see
        `future_heading_changes`), turn (left, right, straight), min_interval, max_interval (s), max_step (m).
    """
    path = agents.astype(np.float64)
    steps = np.linalg.norm(np.diff(path, axis=1), axis=-1)  # [B, steps - 1]
    travelled = np.concatenate([np.zeros((len(path), 1)), np.cumsum(steps, axis=1)], axis=1)
    intervals = np.diff(times, axis=1)
    over = times[:, SPEED_STEPS:] - times[:, :-SPEED_STEPS]
    change = future_heading_changes(path, last_observed)
    turn = np.where(change >= turn_angle, "left", np.where(change <= -turn_angle, "right", "straight"))
    return {
        "agent_mean_speed": travelled[:, -1] / (times[:, -1] - times[:, 0]),
        "agent_max_speed": ((travelled[:, SPEED_STEPS:] - travelled[:, :-SPEED_STEPS]) / over).max(axis=1),
        "agent_displacement": np.linalg.norm(path[:, -1] - path[:, 0], axis=-1),
        # The arc tangent's last bits differ between processors.
        "agent_heading_change": change.round(HEADING_DECIMALS),
        "turn": turn,
        "min_interval": intervals.min(axis=1),
        "max_interval": intervals.max(axis=1),
        "max_step": steps.max(axis=1),
    }


def future_heading_changes(agents: npt.NDArray[np.float64], last_observed: int) -> npt.NDArray[np.float64]:
    """Return (B,) changes of heading from the last observed step to the last step, radians in (-pi, pi], left positive.

    The heading at a step is the direction from the latest point at least half a second and 1 m back. If an agent has
    moved less than that by the last observed step, it is the direction in which it sets off; if it never moves as far,
    the change is 0.

    Args:
        agents: (B, steps, 2) metres, city axes.
        last_observed: index of the last observed step.
    """
    observed, known = _heading_back(agents, last_observed)
    ahead, moves = _heading_ahead(agents, last_observed)
    final, arrived = _heading_back(agents, agents.shape[1] - 1)
    start = np.where(known, observed, ahead)
    change = np.angle(np.exp(1j * (final - start)))
    return np.where((known | moves) & arrived, change, 0.0)


def _heading_back(agents: npt.NDArray[np.float64], step: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the (B,) heading at a step from the latest earlier point that is far enough away, and whether one is."""
    chords = agents[:, step, None] - agents[:, : step - HEADING_STEPS + 1][:, ::-1]
    return _first_long_chord(chords)


def _heading_ahead(agents: npt.NDArray[np.float64], step: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the (B,) heading from a step to the first later point that is far enough away, and whether one is."""
    return _first_long_chord(agents[:, step + HEADING_STEPS :] - agents[:, step, None])


def _first_long_chord(
    chords: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    enough = np.linalg.norm(chords, axis=-1) >= HEADING_TRAVEL
    chord = chords[np.arange(len(chords)), enough.argmax(axis=1)]
    return np.arctan2(chord[:, 1], chord[:, 0]), enough.any(axis=1)
