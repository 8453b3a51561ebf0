"""Scenes as one block of raw points, what a data loader hands to the device, and each sample's own random numbers."""

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
    """B scenes with K tracks and M lanes, packed scene by scene; positions in metres, city axes, relative to each
    scene's origin. T is the number of steps of a scene: of the whole timing, or where there is no future, the observed.

    Attributes:
        timing: of the scenes.
        track_xy: (K, T, 2) float32, each track's rows in order of time, zero beyond its length. The first track of a
            scene is AGENT, with all T rows.
        track_step: (K, T) int64, each row's step; 0 beyond the length.
        track_valid: (K, T) bool, True where there is a row.
        track_type: (K,) int64, AGENT, AV or OTHERS of `scenes.scene_store`.
        track_counts: (B,) int64, tracks of each scene.
        times: (B, T) float32, seconds since the scene's first row, of each step.
        lane_xy: (M, 10, 2) float32, centreline points, zero beyond the lane's count.
        lane_valid: (M, 10) bool, True where there is a point.
        lane_turn: (M,) int64, LEFT -1, NONE 0, RIGHT +1.
        lane_is_intersection, lane_has_traffic_control: (M,) bool.
        lane_counts: (B,) int64, lanes of each scene.
        sample_seeds: (B,) int64, from which each sample's random draws follow.
        prepared: what the network that is trained computes of these scenes without its weights (its `prepare`), where
            that is done already.
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
        """Which scene each track belongs to."""
        return Ragged.from_counts(self.track_counts, len(self.track_type))

    @cached_property
    def lanes(self) -> Ragged:
        """Which scene each lane belongs to."""
        return Ragged.from_counts(self.lane_counts, len(self.lane_turn))

    @property
    def agent(self) -> Tensor:
        """(B, T, 2) the focal agent's track, metres, city axes."""
        return self.track_xy[self.track_counts.cumsum(0) - self.track_counts]


def check_timing(timing: Timing, batch: Batch) -> None:
    """Raise InputError unless a network's timing is the batch's; while torch.compile looks, nothing is compared."""
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
        store: scenes; their lanes' city coordinates are taken relative to each scene's origin in float64.
        indices: (B,) which scenes, at least one.
        sample_seeds: (B,) a seed for each; the scene's index where absent.
        prepare: makes `Batch.prepared`; the preparation of the network that is to read the batch.

    Raises:
        InputError: no scene is asked for, or a scene's first track is not a whole AGENT track.
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
    """A batch from arrays joined end to end, track by track and scene by scene.

    Args:
        xy, step: (R, 2) metres relative to each scene's origin, and (R,), the rows of all tracks.
        track_lengths: (K,) rows of each track.
        track_types: (K,) AGENT first in every scene.
        track_counts, lane_counts: (B,) tracks and lanes of each scene.
        times: (B, T) seconds.
        lanes: M lanes whose points are relative to their scene's origin.
        sample_seeds: (B,).
        timing: of the scenes.
        dtype: of the positions and times.

    Raises:
        InputError: a scene's first track is not AGENT's, or does not have a row for each step.
    """
    steps = times.shape[1]
    first = np.cumsum(track_counts) - track_counts
    if np.any(track_counts == 0) or np.any(track_types[first] != AGENT) or np.any(track_lengths[first] != steps):
        raise InputError("batch", "a scene without a whole AGENT track", f"AGENT first, with {steps} rows")
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
    """All indices of the items' spans `offsets[i]:offsets[i + 1]`, joined, and each span's length."""
    starts = offsets[items]
    lengths = offsets[items + 1] - starts
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths), lengths


def uniform(seeds: Tensor, stream: int, counter: Tensor | None = None) -> Tensor:
    """Numbers in [0, 1), float64, one for each seed: the same on any device, in any batch, on any rank.

    Args:
        seeds: (N,) int64, the samples' seeds.
        stream: what the numbers are for; other streams give independent numbers.
        counter: (N,) int64, to draw several numbers from one seed; 0 where absent.
    """
    state = splitmix64(splitmix64(seeds) + stream)
    bits = splitmix64(state if counter is None else state + counter * GAMMA)
    mantissa: Tensor = shift_right(bits, 11) & _MANTISSA
    return mantissa.to(torch.float64) / float(1 << 53)
