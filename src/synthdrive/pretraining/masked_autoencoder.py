"""Masked autoencoder: hide lanes or the focal agent's trajectory, and reconstruct them (docs/method.md 4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from synthdrive.config.training import PLACE, ModelParameters, ObjectiveParameters
from synthdrive.core.timing import Timing
from synthdrive.models.layers import column_factors
from synthdrive.models.polylines import ACTOR_COLUMNS, LANE_COLUMNS, Polylines, cached_tensor
from synthdrive.models.ragged import Ragged
from synthdrive.pretraining.masking import MaskedScenes, Masking
from synthdrive.pretraining.reconstructor import Prediction, ReconstructionDecoder, Reconstructor


class MaskedAutoencoder(Reconstructor):
    """Encoder of the visible polylines, and two decoders of the hidden lanes and trajectories.

    Args:
        model: sizes of the network.
        objective: parameters of masking and loss.
        timing: timing of the scenes.
    """

    factors: Tensor

    def __init__(self, model: ModelParameters, objective: ObjectiveParameters, timing: Timing) -> None:
        super().__init__(model, objective, timing)
        self.lane_token = nn.Parameter(torch.randn(len(LANE_COLUMNS)) * 0.02)
        self.agent_token = nn.Parameter(torch.randn(len(ACTOR_COLUMNS)) * 0.02)
        self.register_buffer("factors", column_factors(self.size, model.coordinate_scale), persistent=False)
        self.by_place = objective.queries == PLACE
        sees = objective.decoder_sees_encoder
        self.lane_decoder = ReconstructionDecoder(self.size, len(LANE_COLUMNS), sees)
        self.agent_decoder = ReconstructionDecoder(self.size, objective.modes * len(ACTOR_COLUMNS), sees)

    def reconstruct_hidden(self, scenes: MaskedScenes, blind: bool = False) -> Prediction:
        """See `Reconstructor`."""
        actors, lanes, agents, masking = scenes.actors, scenes.lanes, scenes.agents, scenes.masking
        is_map = masking.is_map
        if blind:
            encoded = lanes.vectors.new_zeros(len(is_map), 1, self.size)
            valid = torch.zeros_like(is_map)[:, None]
        else:
            features = self.encoder(scenes.seen_actors, scenes.seen_lanes, is_map)
            encoded, valid = self.encoder.global_states(features), features.valid
        hidden_lanes = self._decode_lanes(lanes, actors.items, masking, encoded, valid)
        hidden_agents = self._decode_agents(agents, masking.agent_rows, encoded, valid)
        return Prediction(masking, lanes, agents, hidden_lanes, hidden_agents, masking.agent_rows)

    def _decode_lanes(
        self, lanes: Polylines, actors: Ragged, masking: Masking, encoded: Tensor, encoded_valid: Tensor
    ) -> Tensor:
        """Predict the vectors (N, 9, 12) of the hidden lanes. The decoder runs on map samples only.

        Every query identifies its lane, by a code of the lane's number or by the lane's first vector.
        """
        numbers = lanes.items.position if masking.numbers is None else masking.numbers
        number = (actors.counts[lanes.items.scene] + numbers)[masking.hidden]
        lanes = lanes.take(masking.hidden)
        place = torch.arange(lanes.vectors.shape[1], device=number.device)
        half = self.size // 2
        which = position_code(torch.zeros_like(number) if self.by_place else number, half)
        code = torch.cat(
            [
                which[:, None].expand(-1, len(place), -1),
                position_code(place, half).expand(len(number), -1, -1),
            ],
            dim=-1,
        )
        queries = masked_queries(
            lanes.vectors, self.lane_token, LANE_COLUMNS, code, self.factors, self.by_place
        )  # [N, 9, S]
        asked = lanes.valid | self.objective.lane_padding_in_loss
        rows = masking.map_rows
        items = Ragged.from_scene((masking.is_map.cumsum(0) - 1)[lanes.items.scene], len(rows))
        predicted: Tensor = self.lane_decoder(
            items.pad(queries).flatten(1, 2), items.pad(asked, False).flatten(1, 2), encoded[rows], encoded_valid[rows]
        )
        predicted = predicted.view(len(rows), items.longest, len(place), len(LANE_COLUMNS))
        return items.pack(predicted * self._units(LANE_COLUMNS))

    def _decode_agents(self, agents: Polylines, rows: Tensor, encoded: Tensor, encoded_valid: Tensor) -> Tensor:
        """Predict the vectors (T, modes, V, 10) of the focal agent in the samples `rows`, in which it is hidden."""
        agents = agents.take(rows)
        place = torch.arange(agents.vectors.shape[1], device=rows.device)
        code = position_code(place, self.size).expand(len(rows), -1, -1)
        queries = masked_queries(agents.vectors, self.agent_token, ACTOR_COLUMNS, code, self.factors, self.by_place)
        predicted: Tensor = self.agent_decoder(
            queries, agents.valid, encoded[rows], encoded_valid[rows]
        )  # [T, V, modes 10]
        shape = (len(rows), len(place), self.objective.modes, len(ACTOR_COLUMNS))
        return (predicted.view(shape) * self._units(ACTOR_COLUMNS)).transpose(1, 2)

    def _units(self, columns: tuple[int, ...]) -> Tensor:
        """Return the units (C,) of predicted columns: coordinates are predicted at the scale at which they are read."""
        return 1.0 / self.factors[cached_tensor(columns, self.factors.device)]


def position_code(position: Tensor, size: int) -> Tensor:
    """Return codes (..., size) float32 of positions: sines, then cosines, of position * 10000^(-k / (size / 2))."""
    half = size // 2
    frequency = torch.exp(torch.arange(half, device=position.device) * (-math.log(10000.0) / half))
    angle = position[..., None].to(torch.float32) * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def masked_queries(
    vectors: Tensor,
    token: Tensor,
    columns: tuple[int, ...],
    code: Tensor,
    factors: Tensor,
    first_in_each: bool,
) -> Tensor:
    """Return the decoder queries of hidden polylines: the first vector, then learned tokens, all with position codes.

    If only the first query contains the first vector, the others must get it through the decoder's attention, which
    takes many times as many steps to learn (docs/objectives.md).

    Args:
        vectors: (N, V, C) vectors of the hidden polylines.
        token: (C,) learned token.
        columns: (C,) positions of the columns in a full row of S numbers.
        code: (N, V, S) position codes.
        factors: (S,) factors of the columns of a full row, see `layers.column_factors`.
        first_in_each: add the first vector to each token.

    Returns:
        (N, V, S) queries.
    """
    at = cached_tensor(tuple(column % code.shape[-1] for column in columns), vectors.device)
    first = (vectors[:, :1] * factors[at]).expand_as(vectors)
    later = token + first if first_in_each else token
    is_first = torch.arange(vectors.shape[1], device=vectors.device)[:, None] == 0
    shown = torch.where(is_first, first, later)
    rows = shown.new_zeros(*shown.shape[:2], code.shape[-1])
    rows[..., at] = shown
    return rows + code
