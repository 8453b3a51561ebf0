"""Small handmade scene stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from synthdrive.core.timing import ARGOVERSE1
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.scenes.scene_store_writer import SceneStoreWriter


def straight_lanes(*lines: list[tuple[float, float]]) -> LaneSegments:
    """Lanes through the given points, city frame."""
    points = np.zeros((len(lines), 10, 2))
    counts = np.array([len(line) for line in lines], dtype=np.int64)
    for row, line in enumerate(lines):
        points[row, : len(line)] = line
    none = np.zeros(len(lines), dtype=np.bool_)
    return LaneSegments(np.arange(len(lines)), points, counts, np.zeros(len(lines), np.int8), none, none)


def write_store(
    directory: Path,
    agents: np.ndarray,
    lanes: LaneSegments,
    names: list[str] | None = None,
    columns: dict[str, pa.Array] | None = None,
) -> SceneStore:
    """A store with one scene for each agent track (S, 50, 2), city frame; every crop contains every lane."""
    directory.mkdir(parents=True)
    writer = SceneStoreWriter(directory, ARGOVERSE1)
    origins = agents[:, 19]
    for agent, origin in zip(agents, origins, strict=True):
        writer.append(
            (agent - origin).astype(np.float32), np.arange(50, dtype=np.uint8), np.array([50]), np.zeros(1, np.uint8),
            np.arange(50, dtype=np.float32) / 10, np.arange(len(lanes), dtype=np.int32),
        )  # fmt: skip
    manifest = {
        "scene_id": pa.array(names or [str(number) for number in range(1, len(agents) + 1)], pa.string()),
        "city": pa.array(["PIT"] * len(agents), pa.string()),
        "origin_x": pa.array(origins[:, 0]),
        "origin_y": pa.array(origins[:, 1]),
    }
    writer.close(pa.table(manifest | (columns or {})), lanes)
    return SceneStore.load(directory)


def driven(heading: float, speed: float, turn: float = 0.0, start: tuple[float, float] = (100.0, 200.0)) -> np.ndarray:
    """(50, 2) track at a constant speed (m/s) whose heading (radians) changes by `turn` radians a second."""
    angle = heading + turn * np.arange(50) / 10
    steps = speed / 10 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.array(start) + np.cumsum(steps, axis=0) - steps[0]
