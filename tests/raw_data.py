"""A tiny city with scenes, in the official Argoverse 1 layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synthdrive.core.timing import ARGOVERSE1
from synthdrive.formats.argoverse1_writers import SceneRows, scene_csv, write_maps, write_scenes
from synthdrive.scenes.lane_map import NO_LANE, LaneMap, LaneSegments, Links
from synthdrive.scenes.scene_store import AGENT, AV, OTHERS

LAST_OBSERVED, STEPS = ARGOVERSE1.last_observed, ARGOVERSE1.steps

LANE_LENGTH = 20.0
CHAIN = 12  # successive lanes in each of the two rows


def straight_map(city="TST"):
    """Two parallel rows of lanes along +x, 3.5 m apart, neighbours of each other."""
    rows = np.arange(2 * CHAIN)
    place, lane = rows % CHAIN, rows // CHAIN
    points = np.zeros((len(rows), 10, 2))
    points[:, :5, 0] = place[:, None] * LANE_LENGTH + np.linspace(0, LANE_LENGTH, 5)
    points[:, :5, 1] = (lane * 3.5)[:, None]
    segments = LaneSegments(
        lane_ids=1000 + rows,
        points=points,
        counts=np.full(len(rows), 5),
        turn=np.zeros(len(rows), dtype=np.int8),
        is_intersection=place == CHAIN - 1,
        has_traffic_control=np.zeros(len(rows), dtype=np.bool_),
    )
    successors = [[row + 1] if row % CHAIN < CHAIN - 1 else [] for row in rows.tolist()]
    predecessors = [[row - 1] if row % CHAIN else [] for row in rows.tolist()]
    left = np.where(lane == 0, rows + CHAIN, NO_LANE)
    right = np.where(lane == 1, rows - CHAIN, NO_LANE)
    return LaneMap(city, segments, left, right, Links.from_lists(successors), Links.from_lists(predecessors))


def scene_rows(number, city="TST", agent=None, others=2):
    """Rows of a scene: the focal agent on the lower row of lanes, the AV 8 m behind it, and OTHERS for random spans."""
    draw = np.random.default_rng(number)
    times = 1000.0 * number + np.arange(STEPS) * 0.1
    if agent is None:
        agent = np.stack([20 + draw.uniform(5, 15) * np.arange(STEPS) * 0.1, draw.normal(0, 0.1, STEPS)], axis=1)
    rows = [(step, f"agent-{number}", AGENT, agent[step]) for step in range(STEPS)]
    rows += [(step, "av", AV, agent[step] - [8.0, 0.0]) for step in range(STEPS)]
    for other in range(others):
        first, last = sorted(draw.integers(0, STEPS, 2))
        rows += [(step, f"o{other}", OTHERS, draw.uniform(0, 90, 2)) for step in range(first, last + 1)]
    rows.sort(key=lambda row: (row[0], row[1]))
    return SceneRows(
        timestamps=np.array([times[row[0]] for row in rows]),
        track_ids=[row[1] for row in rows],
        track_types=np.array([row[2] for row in rows], dtype=np.uint8),
        xy=np.array([row[3] for row in rows]),
        city=city,
    )


def observed_only(content):
    """A scene file without the rows after the last observed step, as in the test scenes of Argoverse 1."""
    header, *rows = content.splitlines(keepends=True)
    last = sorted({float(row.split(b",")[0]) for row in rows})[LAST_OBSERVED]
    return header + b"".join(row for row in rows if float(row.split(b",")[0]) <= last)


def write_raw(folder, train=(1, 2, 10, 3), val=(5,), changes=None):
    """Write the three tarballs; `changes` replaces the content of scenes, by number."""
    folder.mkdir(parents=True, exist_ok=True)
    write_maps(folder / "hd_maps.tar.gz", {"TST": straight_map(), "ABC": straight_map("ABC")})
    for split, numbers in (("train", train), ("val", val)):
        scenes = [(number, (changes or {}).get(number, scene_csv(scene_rows(number)))) for number in numbers]
        write_scenes(Path(folder) / f"forecasting_{split}_v1.1.tar.gz", split, scenes)
    return folder
