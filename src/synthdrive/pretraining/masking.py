"""What a pre-training sample hides, drawn from its own seed (docs/method.md 4.2)."""

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
    """What is hidden in each of B samples with M lanes in all.

    Attributes:
        is_map: (B,) bool; True: some lanes are hidden, False: the focal agent is.
        lanes: (M,) bool, True at hidden lanes.
        numbers: (M,) int64, the number by which each lane is asked for, from 0 in each sample; None: as they stand.
    """

    is_map: Tensor
    lanes: Tensor
    numbers: Tensor | None = None

    @cached_property
    def map_rows(self) -> Tensor:
        """The samples whose lanes are hidden, rising."""
        return torch.nonzero(self.is_map).squeeze(1)

    @cached_property
    def agent_rows(self) -> Tensor:
        """The samples whose focal agent is hidden, rising."""
        return torch.nonzero(~self.is_map).squeeze(1)

    @cached_property
    def hidden(self) -> Tensor:
        """The hidden lanes, rising."""
        return torch.nonzero(self.lanes).squeeze(1)

    @cached_property
    def shown(self) -> Tensor:
        """The other lanes, rising."""
        return torch.nonzero(~self.lanes).squeeze(1)


@dataclass(frozen=True)
class MaskedScenes(TensorGroup):
    """B scenes and what is hidden of them, in the (turned) agent frame.

    Attributes:
        actors: the tracks that the encoder may see, if they are not hidden.
        lanes: every lane.
        agents: the focal agent's whole trajectory, one polyline a sample.
        masking: what is hidden.
        angle: (B,) radians by which each sample is turned; None: as it is.
    """

    actors: Polylines
    lanes: Polylines
    agents: Polylines
    masking: Masking
    angle: Tensor | None = None

    @cached_property
    def seen_actors(self) -> Polylines:
        """The actors that are not hidden."""
        scene, is_map = self.actors.items.scene, self.masking.is_map
        return self.actors.take(torch.nonzero((self.actors.items.position > 0) | is_map[scene]).squeeze(1))

    @cached_property
    def seen_lanes(self) -> Polylines:
        """The lanes that are not hidden."""
        return self.lanes.take(self.masking.shown)

    @cached_property
    def hidden_lanes(self) -> Polylines:
        """The lanes that are hidden."""
        return self.lanes.take(self.masking.hidden)


@dataclass(frozen=True)
class MaskedPreparation:
    """Makes `MaskedScenes`, on the device that the batch is on.

    Attributes:
        objective: what is hidden, and whether samples are turned.
        timing: of the scenes.
        with_index: whether the features hold the polylines' index; hidden lanes are then asked for by it.
    """

    objective: ObjectiveParameters
    timing: Timing
    with_index: bool

    def __call__(self, batch: Batch, angle: Tensor | None = None, masking: Masking | None = None) -> MaskedScenes:
        """Angle and masking are drawn from each sample's seed where they are absent."""
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
        agents = tracks.take(tracks.items.starts)  # the focal agent is each scene's first
        actors = actor_polylines(batch, frame, True, self.with_index) if objective.history_only else tracks
        lanes = lane_polylines(batch, frame, actors.items.counts, self.with_index)
        scenes = MaskedScenes(actors, lanes, agents, masking, angle)
        for polylines in (scenes.seen_actors, scenes.seen_lanes, scenes.hidden_lanes):
            _ = polylines.items.longest, masking.map_rows, masking.agent_rows  # kept from here on
        return scenes


def draw_angle(seeds: Tensor) -> Tensor:
    """(B,) float64 radians, uniform over the circle."""
    return uniform(seeds, _ANGLE) * (2.0 * math.pi)


def draw_masking(seeds: Tensor, lanes: Ragged, map_probability: float, mask_ratio: float) -> Masking:
    """Draw each sample's kind, and in map samples keep int(n (1 - mask_ratio)) of its n lanes, any as likely.

    The lanes are numbered anew in each sample, so that no network can learn the order in which a map lists them.

    Args:
        seeds: (B,) int64.
        lanes: which sample each lane belongs to.
        map_probability: fraction of map samples.
        mask_ratio: fraction of lanes to hide.
    """
    is_map = uniform(seeds, _KIND) < map_probability
    keep = (lanes.counts.to(torch.float64) * (1.0 - mask_ratio)).floor().long()
    hidden = _random_ranks(seeds, _LANES, lanes) >= keep[lanes.scene]
    return Masking(is_map, is_map[lanes.scene] & hidden, _random_ranks(seeds, _NUMBERS, lanes))


def _random_ranks(seeds: Tensor, stream: int, lanes: Ragged) -> Tensor:
    """(M,) int64, each lane's place in a random order of its sample's lanes."""
    draw = lanes.pad(uniform(seeds[lanes.scene], stream, lanes.position), torch.inf)  # [B, longest]
    return lanes.pack(draw.argsort(dim=1).argsort(dim=1))
