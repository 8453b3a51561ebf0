"""Batches of raw scene points, as data loaders pass them to the device, and random numbers from each sample's seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from synthdrive.core.errors import InputError
from synthdrive.core.seeding import GAMMA, shift_right, splitmix64
from synthdrive.core.timing import Timing
from synthdrive.models.ragged import Ragged
from synthdrive.models.tensor_group import TensorGroup
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import AGENT, SceneStore

_MANTISSA = (1 << 53) - 1


@dataclass(frozen=True)
class Batch(TensorGroup):
    """B scenes with K tracks and M lanes in all, packed scene by scene.

    Positions are in metres, along the city's axes, relative to each scene's origin. T is the number of steps in a
    scene, or of its observed steps where the scenes have no future.

    Attributes:
        timing: timing of the scenes.
        track_xy: (K, T, 2) float32, each track's rows in order of time, zero beyond its length. The first track of a
            scene is AGENT, with all T rows.
        track_step: (K, T) int64, the step of each row; 0 beyond the track's length.
        track_valid: (K, T) bool, True where there is a row.
        track_type: (K,) int64, AGENT, AV or OTHERS of `scenes.scene_store`.
        track_counts: (B,) int64, number of tracks in each scene.
        times: (B, T) float32, seconds from the scene's first row to each step.
        lane_xy: (M, 10, 2) float32, centreline points, zero beyond the lane's count.
        lane_valid: (M, 10) bool, True where there is a point.
        lane_turn: (M,) int64, LEFT -1, NONE 0, RIGHT +1.
        lane_is_intersection, lane_has_traffic_control: (M,) bool.
        lane_counts: (B,) int64, number of lanes in each scene.
        sample_seeds: (B,) int64, seeds of each sample's random draws.
        prepared: output of the network's `prepare` for these scenes, which needs no weights; None if not computed yet.
    """

    timing: Timing
    track_xy: Tensor
    track_step: Tensor
    track_valid: Tensor
    track_type: Tensor
    track_counts: Tensor
    times: Tensor
    lane_xy: Tensor
    lane_valid: Tensor
    lane_turn: Tensor
    lane_is_intersection: Tensor
    lane_has_traffic_control: Tensor
    lane_counts: Tensor
    sample_seeds: Tensor
    prepared: TensorGroup | None = None

    def __len__(self) -> int:
        return len(self.sample_seeds)

    @cached_property
    def tracks(self) -> Ragged:
        """Scene of each track."""
        return Ragged.from_counts(self.track_counts, len(self.track_type))

    @cached_property
    def lanes(self) -> Ragged:
        """Scene of each lane."""
        return Ragged.from_counts(self.lane_counts, len(self.lane_turn))

    @property
    def agent(self) -> Tensor:
        """(B, T, 2) the focal agents' tracks, metres, city axes, relative to each scene's origin."""
        return self.track_xy[self.track_counts.cumsum(0) - self.track_counts]


def check_timing(timing: Timing, batch: Batch) -> None:
    """Raise InputError if a batch has another timing than the network; not checked while torch.compile traces."""
    if not torch.compiler.is_compiling():
        timing.require(batch.timing, "batch")


def collate(
    store: SceneStore,
    indices: Sequence[int],
    sample_seeds: Sequence[int] | None = None,
    prepare: Callable[[Batch], TensorGroup] | None = None,
) -> Batch:
    """Gather scenes of a store into a batch.

    Args:
        store: the scenes. Lane points are shifted from city coordinates to each scene's origin in float64.
        indices: (B,) scenes to gather, at least one.
        sample_seeds: (B,) seed of each sample; defaults to the scene's index.
        prepare: computes `Batch.prepared`: the `prepare` of the network that will read the batch.

    Raises:
        InputError: `indices` is empty, or a scene's first track is not a complete AGENT track.
    """
    scenes = np.asarray(indices, dtype=np.int64)
    if scenes.size == 0:
        raise InputError("collate", "no scene", "at least one scene in a batch")
    tracks, track_counts = _ranges(store.scene_tracks, scenes)
    rows, lengths = _ranges(store.track_offsets, tracks)
    lanes, lane_counts = _ranges(store.lane_offsets, scenes)
    segments = store.lanes.take(store.lane_rows[lanes])
    points = segments.points - np.repeat(store.origins[scenes], lane_counts, axis=0)[:, None]
    seeds = scenes if sample_seeds is None else np.asarray(sample_seeds, dtype=np.int64)
    batch = pack(
        xy=store.xy[rows],
        step=store.step[rows],
        track_lengths=lengths,
        track_types=store.track_types[tracks],
        track_counts=track_counts,
        times=store.times[scenes],
        lanes=segments.with_points(points),
        lane_counts=lane_counts,
        sample_seeds=seeds,
        timing=store.timing,
    )
    return batch if prepare is None else replace(batch, prepared=prepare(batch))


def pack(
    xy: npt.NDArray[Any],
    step: npt.NDArray[Any],
    track_lengths: npt.NDArray[np.int64],
    track_types: npt.NDArray[Any],
    track_counts: npt.NDArray[np.int64],
    times: npt.NDArray[Any],
    lanes: LaneSegments,
    lane_counts: npt.NDArray[np.int64],
    sample_seeds: npt.NDArray[np.int64],
    timing: Timing,
    dtype: torch.dtype = torch.float32,
) -> Batch:
    """Make a batch from concatenated arrays, track by track and scene by scene.

    Args:
        xy, step: (R, 2) metres, relative to each scene's origin, and (R,) steps: the rows of all tracks.
        track_lengths: (K,) number of rows in each track.
        track_types: (K,) types of the tracks, AGENT first in every scene.
        track_counts, lane_counts: (B,) numbers of tracks and lanes in each scene.
        times: (B, T) seconds.
        lanes: M lanes, with points relative to their scene's origin.
        sample_seeds: (B,) seeds of the samples' random draws.
        timing: timing of the scenes.
        dtype: type of positions and times.

    Raises:
        InputError: a scene's first track is not AGENT, or does not have a row for each step.
    """
    steps = times.shape[1]
    first = np.cumsum(track_counts) - track_counts
    if np.any(track_counts == 0) or np.any(track_types[first] != AGENT) or np.any(track_lengths[first] != steps):
        raise InputError("batch", "a scene without a complete AGENT track", f"AGENT first, with {steps} rows")
    size = len(track_lengths)
    valid = np.arange(steps) < track_lengths[:, None]
    track_xy, track_step = np.zeros((size, steps, 2)), np.zeros((size, steps), dtype=np.int64)
    track_xy[valid], track_step[valid] = xy, step
    points = np.where(lanes.valid[..., None], lanes.points, 0.0)
    return Batch(
        timing=timing,
        track_xy=torch.from_numpy(track_xy).to(dtype),
        track_step=torch.from_numpy(track_step),
        track_valid=torch.from_numpy(valid),
        track_type=_integers(track_types),
        track_counts=_integers(track_counts),
        times=torch.from_numpy(np.array(times)).to(dtype),
        lane_xy=torch.from_numpy(points).to(dtype),
        lane_valid=torch.from_numpy(lanes.valid),
        lane_turn=_integers(lanes.turn),
        lane_is_intersection=torch.from_numpy(np.array(lanes.is_intersection)),
        lane_has_traffic_control=torch.from_numpy(np.array(lanes.has_traffic_control)),
        lane_counts=_integers(lane_counts),
        sample_seeds=_integers(sample_seeds),
    )


def _integers(array: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.int64))


def _ranges(
    offsets: npt.NDArray[np.int64], items: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the indices in the spans `offsets[i]:offsets[i + 1]` of all items, joined, and the spans' lengths."""
    starts = offsets[items]
    lengths = offsets[items + 1] - starts
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths), lengths


def uniform(seeds: Tensor, stream: int, counter: Tensor | None = None) -> Tensor:
    """Draw a number in [0, 1) from each seed, the same on any device, in any batch and in any process.

    Args:
        seeds: (N,) int64, the samples' seeds.
        stream: number of the purpose; different streams give independent numbers.
        counter: (N,) int64, to draw several numbers from one seed; defaults to 0.

    Returns:
        (N,) float64.
    """
    state = splitmix64(splitmix64(seeds) + stream)
    bits = splitmix64(state if counter is None else state + counter * GAMMA)
    mantissa: Tensor = shift_right(bits, 11) & _MANTISSA
    return mantissa.to(torch.float64) / float(1 << 53)
