"""Small made-up scenes, and changes to them that should or should not change a result."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.batch import Batch, pack
from synthdrive.scenes.lane_map import MAX_POINTS, LaneSegments
from synthdrive.scenes.scene_store import AGENT, AV, OTHERS

STEPS = ARGOVERSE1.steps


@dataclass(frozen=True)
class MadeScene:
    tracks: list[tuple[int, np.ndarray, np.ndarray]]  # type, steps, (T, 2) metres
    lanes: list[tuple[np.ndarray, int, bool, bool]]  # points, turn, intersection, traffic control

    def moved(self, angle: float, shift: tuple[float, float]) -> MadeScene:
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

        def move(points: np.ndarray) -> np.ndarray:
            return points @ turn.T + np.array(shift)

        return MadeScene(
            [(kind, steps, move(points)) for kind, steps, points in self.tracks],
            [(move(points), *rest) for points, *rest in self.lanes],
        )

    def reordered(self, random: np.random.Generator) -> MadeScene:
        """The scene with lanes and OTHERS in another order; AGENT and AV stay first."""
        others = [track for track in self.tracks if track[0] == OTHERS]
        first = [track for track in self.tracks if track[0] != OTHERS]
        return MadeScene(
            first + [others[i] for i in random.permutation(len(others))],
            [self.lanes[i] for i in random.permutation(len(self.lanes))],
        )

    def with_agent(self, change) -> MadeScene:
        kind, steps, points = self.tracks[0]
        return replace(self, tracks=[(kind, steps, change(points.copy())), *self.tracks[1:]])


def make_scene(seed: int, others: int = 3, lanes: int = 6) -> MadeScene:
    random = np.random.default_rng(seed)

    def track(start: np.ndarray, steps: np.ndarray) -> np.ndarray:
        heading = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, 0.03, len(steps)))
        speed = random.uniform(2, 12)
        return start + np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * speed * 0.1, axis=0)

    tracks = [(AGENT, np.arange(STEPS), track(np.zeros(2), np.arange(STEPS)))]
    if others:
        tracks.append((AV, np.arange(STEPS), track(random.normal(0, 10, 2), np.arange(STEPS))))
    for _ in range(others - 1):
        first = int(random.integers(0, 30))
        steps = np.arange(first, int(random.integers(first + 1, STEPS + 1)))  # some have one row, some start late
        tracks.append((OTHERS, steps, track(random.normal(0, 20, 2), steps)))
    made = []
    for _ in range(lanes):
        count = int(random.choice([2, 5, 10, 10, 10]))
        heading, start = random.uniform(0, 2 * np.pi), random.normal(0, 20, 2)
        along = np.linspace(0, random.uniform(5, 30), count)[:, None]
        points = start + along * np.array([np.cos(heading), np.sin(heading)])
        made.append((points, int(random.integers(-1, 2)), bool(random.random() < 0.5), bool(random.random() < 0.5)))
    return MadeScene(tracks, made)


def lane_segments(scenes: list[MadeScene]) -> LaneSegments:
    lanes = [lane for scene in scenes for lane in scene.lanes]
    points = np.zeros((len(lanes), MAX_POINTS, 2))
    for row, (line, *_) in enumerate(lanes):
        points[row, : len(line)] = line
    return LaneSegments(
        lane_ids=np.arange(len(lanes)),
        points=points,
        counts=np.array([len(lane[0]) for lane in lanes], dtype=np.int64),
        turn=np.array([lane[1] for lane in lanes], dtype=np.int8),
        is_intersection=np.array([lane[2] for lane in lanes], dtype=np.bool_),
        has_traffic_control=np.array([lane[3] for lane in lanes], dtype=np.bool_),
    )


def make_batch(scenes: list[MadeScene], seeds: list[int] | None = None, dtype: torch.dtype = torch.float64) -> Batch:
    tracks = [track for scene in scenes for track in scene.tracks]
    return pack(
        xy=np.concatenate([points for _, _, points in tracks]),
        step=np.concatenate([steps for _, steps, _ in tracks]),
        track_lengths=np.array([len(steps) for _, steps, _ in tracks]),
        track_types=np.array([kind for kind, _, _ in tracks]),
        track_counts=np.array([len(scene.tracks) for scene in scenes]),
        times=np.tile(np.arange(STEPS) * 0.1, (len(scenes), 1)),
        lanes=lane_segments(scenes),
        lane_counts=np.array([len(scene.lanes) for scene in scenes]),
        sample_seeds=np.array(seeds if seeds is not None else range(len(scenes)), dtype=np.int64),
        timing=ARGOVERSE1,
        dtype=dtype,
    )
