"""A small city: a two-lane road of 300 m eastwards, then straight on or left into a road of 200 m northwards."""

import numpy as np

from synthdrive.scenes.lane_map import MAX_POINTS, NO_LANE, LaneMap, LaneSegments, Links

STEP, WIDTH, RADIUS = 25.0, 3.7, 14.0


def straight(start, heading, length=STEP, count=5):
    direction = np.array([np.cos(heading), np.sin(heading)])
    return np.asarray(start, dtype=float) + np.linspace(0.0, length, count)[:, None] * direction


def left_turn(start, radius=RADIUS):
    angle = np.linspace(0.0, np.pi / 2, MAX_POINTS)
    return np.asarray(start, dtype=float) + radius * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=1)


def grid_city(city="TOY"):
    """Rows 0..11: the road east; 12..23: its left neighbour; 24: the turn; 25..32: north; 33..36: further east."""
    lanes, successors = [], {}
    for side in (0.0, WIDTH):
        for k in range(12):
            lanes.append(straight([STEP * k, side], 0.0))
    for first in (0, 12):
        successors |= {row: [row + 1] for row in range(first, first + 11)}
    end = [STEP * 12, WIDTH]
    lanes.append(left_turn(end))  # 24
    successors[23] = [24]
    north = np.array(end) + RADIUS
    for k in range(8):
        lanes.append(straight(north + [0.0, STEP * k], np.pi / 2))
    successors[24] = [25]
    successors |= {row: [row + 1] for row in range(25, 32)}
    for k in range(4):
        lanes.append(straight([STEP * (12 + k), 0.0], 0.0))
    successors[11] = [33]
    successors |= {row: [row + 1] for row in range(33, 36)}
    size = len(lanes)
    points, counts = np.zeros((size, MAX_POINTS, 2)), np.array([len(lane) for lane in lanes])
    for row, lane in enumerate(lanes):
        points[row, : len(lane)] = lane
    left, right = np.full(size, NO_LANE), np.full(size, NO_LANE)
    left[:12], right[12:24] = np.arange(12, 24), np.arange(12)
    turn = np.zeros(size, dtype=np.int8)
    turn[24] = -1
    segments = LaneSegments(
        lane_ids=1000 + np.arange(size),
        points=points,
        counts=counts,
        turn=turn,
        is_intersection=turn != 0,
        has_traffic_control=np.zeros(size, dtype=bool),
    )
    successor_lists = [successors.get(row, []) for row in range(size)]
    predecessor_lists = [[row for row in range(size) if other in successor_lists[row]] for other in range(size)]
    return LaneMap(city, segments, left, right, Links.from_lists(successor_lists), Links.from_lists(predecessor_lists))
