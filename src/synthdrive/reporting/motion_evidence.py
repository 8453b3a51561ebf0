"""Motion of recorded and synthetic target agents, measured alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import savgol_filter

from synthdrive.scenes.scene_store import SceneStore
from synthdrive.seeding import generator
from synthdrive.synthesis.motion import MotionDistributions, agent_tracks, compare, motion_distributions

SMOOTHING_STEPS = 31  # 3.1 s: tracking noise would otherwise make most of the recorded acceleration
SMOOTHING_DEGREE = 3


@dataclass(frozen=True)
class MotionEvidence:
    """Both sets, and how far apart they are.

    Attributes:
        synthetic, recorded: distributions of the target agents' motion.
        synthetic_tracks, recorded_tracks: how many tracks are behind them.
        distances: Wasserstein distance by quantity, in its unit.
    """

    synthetic: MotionDistributions
    recorded: MotionDistributions
    synthetic_tracks: int
    recorded_tracks: int
    distances: dict[str, float]


def motion_evidence(synthetic: SceneStore, recorded: SceneStore, most: int, seed: int) -> MotionEvidence:
    """At most `most` tracks of each store, drawn at random; both smoothed alike (local cubics over 3.1 s)."""
    ours, ours_count = _distributions(synthetic, most, seed)
    theirs, theirs_count = _distributions(recorded, most, seed)
    return MotionEvidence(ours, theirs, ours_count, theirs_count, compare(ours, theirs))


def _distributions(store: SceneStore, most: int, seed: int) -> tuple[MotionDistributions, int]:
    chosen = np.arange(len(store))
    if len(store) > most:
        chosen = np.sort(generator(seed, "motion").choice(len(store), most, replace=False))
    smooth = savgol_filter(agent_tracks(store, chosen), SMOOTHING_STEPS, SMOOTHING_DEGREE, axis=1)
    return motion_distributions(smooth), len(chosen)
