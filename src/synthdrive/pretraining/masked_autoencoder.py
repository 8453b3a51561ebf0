"""Masked pre-training: hide lanes or the focal agent's trajectory, and reconstruct them (docs/method.md 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synthdrive.config.training import PLACE, ModelParameters, ObjectiveParameters
from synthdrive.core.timing import ARGOVERSE1, Timing
from synthdrive.models.batch import Batch, check_timing
from synthdrive.models.layers import column_factors
from synthdrive.models.polylines import (
    ACTOR_COLUMNS,
    LANE_COLUMNS,
    AgentFrame,
    Polylines,
    actor_polylines,
    lane_polylines,
)
from synthdrive.models.ragged import Ragged
from synthdrive.pretraining.masking import Masking, draw_angle, draw_masking, masked_queries, position_code
from synthdrive.pretraining.reconstruction import Prediction, Reconstructor
from synthdrive.pretraining.reconstruction_decoder import ReconstructionDecoder


class MaskedAutoencoder(Reconstructor):
    """Encoder of what is left, and two decoders for what was hidden.

    Args:
        model: sizes.
        objective: what is hidden and what counts as an error.
        timing: of the scenes.
    """

    factors: Tensor
    lane_units: Tensor
    agent_units: Tensor

    def __init__(self, model: ModelParameters, objective: ObjectiveParameters, timing: Timing = ARGOVERSE1) -> None:
        super().__init__(model, objective, timing)
        self.lane_token = nn.Parameter(torch.randn(len(LANE_COLUMNS)) * 0.02)
        self.agent_token = nn.Parameter(torch.randn(len(ACTOR_COLUMNS)) * 0.02)
        self.register_buffer("factors", column_factors(self.size, model.coordinate_scale), persistent=False)
        sees = objective.decoder_sees_encoder
        self.lane_decoder = ReconstructionDecoder(self.size, len(LANE_COLUMNS), sees)
        self.agent_decoder = ReconstructionDecoder(self.size, objective.modes * len(ACTOR_COLUMNS), sees)
        # The heads predict in the unit in which the networks read coordinates
        factors = column_factors(self.size, model.coordinate_scale)
        self.register_buffer("lane_units", 1.0 / factors[list(LANE_COLUMNS)], persistent=False)
        self.register_buffer("agent_units", 1.0 / factors[list(ACTOR_COLUMNS)], persistent=False)

    def predict(
        self, batch: Batch, angle: Tensor | None = None, masking: Masking | None = None, blind: bool = False
    ) -> Prediction:
        """See `Reconstructor`."""
        check_timing(self.timing, batch)
        objective = self.objective
        if angle is None and objective.random_rotation:
            angle = draw_angle(batch.sample_seeds)
        frame = AgentFrame.of(batch.agent, self.timing, angle)
        if masking is None:
            fraction, ratio = objective.map_probability, objective.mask_ratio
            masking = draw_masking(batch.sample_seeds, batch.lanes, fraction, ratio)
        tracks = actor_polylines(batch, frame, False, self.with_index)
        agents = tracks.take(tracks.items.starts)  # The focal agent is each scene's first
        actors = actor_polylines(batch, frame, True, self.with_index) if objective.history_only else tracks
        lanes = lane_polylines(batch, frame, actors.items.counts, self.with_index)
        if self.with_index:  # the numbers that the features carry
            masking = Masking(masking.is_map, masking.lanes)
        return self.reconstruct_hidden(actors, lanes, agents, masking, blind)

    def reconstruct_hidden(
        self, actors: Polylines, lanes: Polylines, agents: Polylines, masking: Masking, blind: bool = False
    ) -> Prediction:
        """Encode what is left of the scenes and decode what is hidden; see `Prediction`."""
        is_map = masking.is_map
        if blind:
            encoded = lanes.vectors.new_zeros(len(is_map), 1, self.size)
            valid = torch.zeros_like(is_map)[:, None]
        else:
            seen = torch.nonzero((actors.items.position > 0) | is_map[actors.items.scene]).squeeze(1)
            features = self.encoder(actors.take(seen), lanes.take(masking.shown), is_map)
            encoded, valid = self.encoder.global_states(features), features.valid
        hidden_lanes = self._decode_lanes(lanes, actors.items, masking, encoded, valid)
        hidden_agents = self._decode_agents(agents, ~is_map, encoded, valid)
        return Prediction(masking, lanes, agents, hidden_lanes, hidden_agents, ~is_map)

    def _decode_lanes(
        self, lanes: Polylines, actors: Ragged, masking: Masking, encoded: Tensor, encoded_valid: Tensor
    ) -> Tensor:
        """(N, 9, 12) predictions for the hidden lanes; the decoder runs for the map samples alone.

        Every query says which lane it asks for: by the code of the lane's number, or by the lane's first vector.
        """
        by_place = self.objective.lane_query == PLACE
        numbers = lanes.items.position if masking.numbers is None else masking.numbers
        number = (actors.counts[lanes.items.scene] + numbers)[masking.hidden]
        lanes = lanes.take(masking.hidden)
        places = torch.arange(lanes.vectors.shape[1], device=number.device)
        half = self.size // 2
        which = position_code(torch.zeros_like(number) if by_place else number, half)
        code = torch.cat(
            [
                which[:, None].expand(-1, len(places), -1),
                position_code(places, half).expand(len(number), -1, -1),
            ],
            dim=-1,
        )
        queries = masked_queries(
            lanes.vectors, self.lane_token, LANE_COLUMNS, code, self.factors, by_place
        )  # [N, 9, S]
        asked = lanes.valid | self.objective.lane_padding_in_loss
        rows = masking.map_rows
        items = Ragged.from_scene((masking.is_map.cumsum(0) - 1)[lanes.items.scene], len(rows))
        predicted: Tensor = self.lane_decoder(
            items.pad(queries).flatten(1, 2), items.pad(asked, False).flatten(1, 2), encoded[rows], encoded_valid[rows]
        )
        predicted = predicted.view(len(rows), items.longest, len(places), len(LANE_COLUMNS)) * self.lane_units
        return items.pack(predicted)

    def _decode_agents(self, agents: Polylines, hidden: Tensor, encoded: Tensor, encoded_valid: Tensor) -> Tensor:
        """(T, modes, V, 10) predictions for the samples where the focal agent is hidden.

        The decoder runs for them alone.
        """
        rows = torch.nonzero(hidden).squeeze(1)
        agents = agents.take(rows)
        places = torch.arange(agents.vectors.shape[1], device=rows.device)
        code = position_code(places, self.size).expand(len(rows), -1, -1)
        queries = masked_queries(agents.vectors, self.agent_token, ACTOR_COLUMNS, code, self.factors)
        predicted: Tensor = self.agent_decoder(
            queries, agents.valid, encoded[rows], encoded_valid[rows]
        )  # [T, V, modes 10]
        shape = (len(rows), len(places), self.objective.modes, len(ACTOR_COLUMNS))
        return (predicted.view(shape) * self.agent_units).transpose(1, 2)
