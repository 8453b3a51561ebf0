"""Motion of recorded, synthetic and released target agents, measured alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.signal import savgol_filter

from synthdrive.core.seeding import generator
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.synthesis.released import ReleasedDrive, round_as_released
from synthdrive.synthesis.windows import MotionDistributions, agent_tracks, compare, motion_distributions

Floats = npt.NDArray[np.float64]

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


@dataclass(frozen=True)
class ReleasedMotion:
    """Recorded, released and synthetic motion, all rounded as the released files are.

    Attributes:
        sets: `recorded`, `released` and `synthetic`: distributions of the target agents' motion.
        tracks: how many tracks are behind each set.
        distances: Wasserstein distance by pair of sets, then by quantity, in its unit.
    """

    sets: dict[str, MotionDistributions]
    tracks: dict[str, int]
    distances: dict[tuple[str, str], dict[str, float]]


def motion_evidence(synthetic: SceneStore, recorded: SceneStore, most: int, seed: int) -> MotionEvidence:
    """At most `most` tracks of each store, drawn at random; both smoothed alike (local cubics over 3.1 s)."""
    ours, ours_count = _distributions(synthetic, most, seed)
    theirs, theirs_count = _distributions(recorded, most, seed)
    return MotionEvidence(ours, theirs, ours_count, theirs_count, compare(ours, theirs))


def released_motion(
    drives: Sequence[ReleasedDrive], synthetic: SceneStore, recorded: SceneStore, most: int, seed: int
) -> ReleasedMotion | None:
    """The authors' released windows beside at most `most` tracks of each store; None without windows.

    The released files keep 6 significant digits of a city coordinate, up to a centimetre: the tracks of both stores are
    put into the city's frame and rounded to as many, then all three sets are smoothed alike.
    """
    if not drives:
        return None
    tracks = {
        "recorded": _rounded_tracks(recorded, _chosen(recorded, most, seed)),
        "released": np.stack([drive.xy for drive in drives]),
        "synthetic": _rounded_tracks(synthetic, _chosen(synthetic, most, seed)),
    }
    sets = {name: _smooth_distributions(xy) for name, xy in tracks.items()}
    return ReleasedMotion(
        sets=sets,
        tracks={name: len(xy) for name, xy in tracks.items()},
        distances={pair: compare(sets[pair[0]], sets[pair[1]]) for pair in combinations(sets, 2)},
    )


def _rounded_tracks(store: SceneStore, chosen: npt.NDArray[np.int64]) -> Floats:
    return round_as_released(agent_tracks(store, chosen) + store.origins[chosen][:, None])


def _distributions(store: SceneStore, most: int, seed: int) -> tuple[MotionDistributions, int]:
    chosen = _chosen(store, most, seed)
    return _smooth_distributions(agent_tracks(store, chosen)), len(chosen)


def _chosen(store: SceneStore, most: int, seed: int) -> npt.NDArray[np.int64]:
    chosen = np.arange(len(store))
    if len(store) > most:
        chosen = np.sort(generator(seed, "motion").choice(len(store), most, replace=False))
    return chosen


def _smooth_distributions(tracks: Floats) -> MotionDistributions:
    return motion_distributions(savgol_filter(tracks, SMOOTHING_STEPS, SMOOTHING_DEGREE, axis=1))
