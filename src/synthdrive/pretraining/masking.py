"""Random masking of lanes or the focal agent, drawn from each sample's seed (docs/method.md 4.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from synthdrive.config.training import ObjectiveParameters
from synthdrive.core.timing import Timing
from synthdrive.models.batch import Batch, check_timing, uniform
from synthdrive.models.polylines import AgentFrame, Polylines, actor_polylines, lane_polylines
from synthdrive.models.ragged import Ragged
from synthdrive.models.tensor_group import TensorGroup

_ANGLE, _KIND, _LANES, _NUMBERS = range(4)  # streams of random numbers


@dataclass(frozen=True)
class Masking(TensorGroup):
    """Masking of B samples with M lanes in all.

    Attributes:
        is_map: (B,) bool, True if lanes of the sample are hidden, False if the focal agent is.
        lanes: (M,) bool, True at hidden lanes.
        numbers: (M,) int64, the number that identifies each lane in the decoder's queries, from 0 in each sample; None
            for the order of the lanes in the batch.
    """

    is_map: Tensor
    lanes: Tensor
    numbers: Tensor | None = None

    @cached_property
    def map_rows(self) -> Tensor:
        """Indices of the map samples, ascending."""
        return torch.nonzero(self.is_map).squeeze(1)

    @cached_property
    def agent_rows(self) -> Tensor:
        """Indices of the trajectory samples, ascending."""
        return torch.nonzero(~self.is_map).squeeze(1)

    @cached_property
    def hidden(self) -> Tensor:
        """Indices of the hidden lanes, ascending."""
        return torch.nonzero(self.lanes).squeeze(1)

    @cached_property
    def shown(self) -> Tensor:
        """Indices of the visible lanes, ascending."""
        return torch.nonzero(~self.lanes).squeeze(1)


@dataclass(frozen=True)
class MaskedScenes(TensorGroup):
    """B scenes with their masking, in the agent frame, turned by `angle`.

    Attributes:
        actors: tracks as given to the encoder, including those that are hidden.
        lanes: all lanes, including those that are hidden.
        agents: the focal agents' complete trajectories, one polyline in each sample.
        masking: which of them are hidden.
        angle: (B,) radians by which each sample is turned; None for no rotation.
    """

    actors: Polylines
    lanes: Polylines
    agents: Polylines
    masking: Masking
    angle: Tensor | None = None

    @cached_property
    def seen_actors(self) -> Polylines:
        """The visible actors."""
        scene, is_map = self.actors.items.scene, self.masking.is_map
        return self.actors.take(torch.nonzero((self.actors.items.position > 0) | is_map[scene]).squeeze(1))

    @cached_property
    def seen_lanes(self) -> Polylines:
        """The visible lanes."""
        return self.lanes.take(self.masking.shown)

    @cached_property
    def hidden_lanes(self) -> Polylines:
        """The hidden lanes."""
        return self.lanes.take(self.masking.hidden)


@dataclass(frozen=True)
class MaskedPreparation:
    """Function that makes `MaskedScenes` from a batch, on the batch's device.

    Attributes:
        objective: parameters of masking and rotation.
        timing: timing of the scenes.
        with_index: whether the features contain the polyline index, which then also identifies hidden lanes.
    """

    objective: ObjectiveParameters
    timing: Timing
    with_index: bool

    def __call__(self, batch: Batch, angle: Tensor | None = None, masking: Masking | None = None) -> MaskedScenes:
        """Prepare a batch; angle (B,) and masking are drawn from the samples' seeds unless they are given."""
        check_timing(self.timing, batch)
        objective = self.objective
        if angle is None and objective.random_rotation:
            angle = draw_angle(batch.sample_seeds)
        if masking is None:
            fraction, ratio = objective.map_probability, objective.mask_ratio
            masking = draw_masking(batch.sample_seeds, batch.lanes, fraction, ratio)
        if self.with_index:
            masking = Masking(masking.is_map, masking.lanes)
        frame = AgentFrame.of(batch.agent, self.timing, angle)
        tracks = actor_polylines(batch, frame, False, self.with_index)
        agents = tracks.take(tracks.items.starts)  # the focal agent is the first track of its scene
        actors = actor_polylines(batch, frame, True, self.with_index) if objective.history_only else tracks
        lanes = lane_polylines(batch, frame, actors.items.counts, self.with_index)
        scenes = MaskedScenes(actors, lanes, agents, masking, angle)
        # Cached properties travel to the device with the rest.
        for polylines in (scenes.seen_actors, scenes.seen_lanes, scenes.hidden_lanes):
            _ = (
                polylines.items.longest,
                masking.map_rows,
                masking.agent_rows,
            )
        return scenes


def draw_angle(seeds: Tensor) -> Tensor:
    """Draw angles (B,) float64 in radians, uniform over the circle."""
    return uniform(seeds, _ANGLE) * (2.0 * math.pi)


def draw_masking(seeds: Tensor, lanes: Ragged, map_probability: float, mask_ratio: float) -> Masking:
    """Draw whether each sample is a map sample, and hide all but int(n (1 - mask_ratio)) of the n lanes of map samples.

    Lanes are hidden with equal probability. They are numbered in random order in each sample, so that no network can
    learn the order in which a map lists them.

    Args:
        seeds: (B,) int64, seeds of the samples.
        lanes: the sample of each lane.
        map_probability: probability of a map sample.
        mask_ratio: fraction of lanes to hide.
    """
    is_map = uniform(seeds, _KIND) < map_probability
    keep = (lanes.counts.to(torch.float64) * (1.0 - mask_ratio)).floor().long()
    hidden = _random_ranks(seeds, _LANES, lanes) >= keep[lanes.scene]
    return Masking(is_map, is_map[lanes.scene] & hidden, _random_ranks(seeds, _NUMBERS, lanes))


def _random_ranks(seeds: Tensor, stream: int, lanes: Ragged) -> Tensor:
    """Return the positions (M,) int64 of the lanes in a random order of their sample's lanes."""
    draw = lanes.pad(uniform(seeds[lanes.scene], stream, lanes.position), torch.inf)  # [B, longest]
    return lanes.pack(draw.argsort(dim=1).argsort(dim=1))
