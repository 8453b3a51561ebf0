"""Base of networks that reconstruct hidden parts of a scene: decoder, predictions, losses (docs/method.md 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthdrive.config.training import XY, ModelParameters, ObjectiveParameters
from synthdrive.core.timing import Timing
from synthdrive.models.batch import Batch
from synthdrive.models.encoder import VectorEncoder
from synthdrive.models.layers import MLP, Losses, SelfAttention, coordinates_exact, full_precision
from synthdrive.models.polylines import (
    ACTOR_COLUMNS,
    ACTOR_INDEX,
    ACTOR_XY,
    LANE_COLUMNS,
    LANE_INDEX,
    LANE_XY,
    Polylines,
    cached_tensor,
)
from synthdrive.pretraining.masking import MaskedPreparation, MaskedScenes, Masking


class ReconstructionDecoder(nn.Module):
    """A pre-norm transformer layer over queries and encoder outputs, and a head for the queries.

    Args:
        size: width of the features.
        outputs: number of values to predict for each query.
        sees_encoder: whether queries attend to the encoder's outputs. In the paper's release they do not, so that the
            encoder's gradient is exactly zero.
    """

    def __init__(self, size: int, outputs: int, sees_encoder: bool) -> None:
        super().__init__()
        self.sees_encoder = sees_encoder
        self.embedding = nn.Linear(size, size)
        self.attention_norm = nn.LayerNorm(size, eps=1e-5)
        self.attention = SelfAttention(size, heads=2)
        self.feed_forward_norm = nn.LayerNorm(size, eps=1e-5)
        self.feed_forward = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))
        self.norm = nn.LayerNorm(size, eps=1e-5)
        self.head_mlp = MLP(size, size)
        self.head = nn.Linear(size, outputs)

    def forward(self, queries: Tensor, query_valid: Tensor, encoded: Tensor, encoded_valid: Tensor) -> Tensor:
        """Decode queries.

        Args:
            queries: (B, Q, S) and `query_valid` (B, Q) bool.
            encoded: (B, P, S) outputs of the encoder and `encoded_valid` (B, P) bool.

        Returns:
            (B, Q, outputs) predictions.
        """
        visible = encoded_valid & self.sees_encoder
        valid = torch.cat([query_valid, visible], dim=1)
        valid[:, 0] |= ~valid.any(dim=1)
        with coordinates_exact(queries.device):
            hidden = self.embedding(torch.cat([queries, full_precision(encoded)], dim=1))  # [B, Q + P, S]
        normed = self.attention_norm(hidden)
        count = queries.shape[1]
        hidden = hidden[:, :count] + self.attention(normed, valid, normed[:, :count])
        hidden = hidden + self.feed_forward(self.feed_forward_norm(hidden))
        hidden = self.norm(hidden)
        hidden = full_precision(hidden + self.head_mlp(hidden))
        with coordinates_exact(queries.device):
            return self.head(hidden)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Prediction:
    """Predictions for the hidden polylines of B samples, and the truth, in the agent frame, turned by a sample's angle.

    Attributes:
        masking: masking of the samples.
        lanes: true vectors of all lanes.
        agents: true vectors of the focal agents' complete trajectories, one polyline in each sample.
        hidden_lanes: (N, 9, 12) predicted vectors of the N hidden lanes.
        hidden_agents: (T, modes, V, 10) predicted vectors of the T hidden focal agents.
        agent_rows: (T,) int64, samples of the hidden focal agents, ascending.
        first_hidden: index of the first hidden one among a focal agent's V vectors.
    """

    masking: Masking
    lanes: Polylines
    agents: Polylines
    hidden_lanes: Tensor
    hidden_agents: Tensor
    agent_rows: Tensor
    first_hidden: int = 0


@dataclass(frozen=True)
class Reconstruction:
    """Truth and reconstruction as points for pictures, in metres, agent frame, turned by the sample's angle.

    Attributes:
        is_map: (B,) bool, True if lanes of the sample were hidden, False if the focal agent was.
        lane_scene: (M,) int64, the sample of each lane.
        lane_hidden: (M,) bool, True at hidden lanes.
        lane_points: (M, 9, 2) true end points of the lanes' vectors, `lane_valid` (M, 9) bool.
        lane_predicted: (M, 9, 2) reconstructed end points; NaN for lanes that were not hidden.
        agent_points: (B, V, 2) true trajectory of the focal agent, from its second row.
        agent_predicted: (B, modes, V, 2) reconstructed trajectories; NaN if the focal agent was not hidden.
        agent_best: (B,) int64, mode with the smallest mean distance from the truth.
    """

    is_map: Tensor
    lane_scene: Tensor
    lane_hidden: Tensor
    lane_points: Tensor
    lane_valid: Tensor
    lane_predicted: Tensor
    agent_points: Tensor
    agent_predicted: Tensor
    agent_best: Tensor


class Reconstructor(nn.Module):
    """Base class of networks that encode the visible part of a scene and decode the hidden one.

    Args:
        model: sizes of the network.
        objective: parameters of masking and loss.
        timing: timing of the scenes.

    Attributes:
        hides_both: whether lanes and the focal agent are hidden in the same sample.
    """

    hides_both = False

    def __init__(self, model: ModelParameters, objective: ObjectiveParameters, timing: Timing) -> None:
        super().__init__()
        self.timing = timing
        self.size = model.hidden_size
        self.with_index = model.polyline_index
        self.objective = objective
        self.prepare = MaskedPreparation(objective, timing, self.with_index)
        self.encoder = VectorEncoder(model, timing)

    def predict(
        self, batch: Batch, angle: Tensor | None = None, masking: Masking | None = None, blind: bool = False
    ) -> Prediction:
        """Hide, encode and decode.

        Args:
            batch: B samples.
            angle: (B,) radians by which to turn each sample; by default drawn from its seed, or 0 without rotation.
            masking: what to hide; by default drawn from the seeds.
            blind: decode without running the encoder.
        """
        given = batch.prepared if angle is None and masking is None else None
        scenes = given if isinstance(given, MaskedScenes) else self.prepare(batch, angle, masking)
        return self.reconstruct_hidden(scenes, blind)

    def reconstruct_hidden(self, scenes: MaskedScenes, blind: bool = False) -> Prediction:
        """Encode the visible part of the scenes and decode the hidden one; see `predict`."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Losses:
        """Return the mean reconstruction loss of the batch's samples.

        Only the dead-mode term depends on the batch, because it counts which modes have been the best for an earlier
        sample of the same forward pass. Everything else is a function of the sample and its seed.
        """
        return self.losses(self.predict(batch))

    def losses(self, prediction: Prediction) -> Losses:
        """Return the losses of a prediction; the parts map, trajectory and dead_mode sum to the total.

        The part modes_won is the number of modes that are the best for at least one sample; 1 shows mode collapse.
        """
        is_map, lanes = prediction.masking.is_map, self.lane_losses(prediction)
        modes = self.mode_losses(prediction)
        best, winner = modes.min(dim=1)
        dead = dead_mode_losses(modes, winner) * self.objective.dead_mode_weight
        parts = {
            "map": lanes.sum() / len(is_map),
            "trajectory": best.sum() / len(is_map),
            "dead_mode": dead.sum() / len(is_map),
        }
        total = parts["map"] + parts["trajectory"] + parts["dead_mode"]
        parts["modes_won"] = wins_of(winner, modes.shape[1]).any(dim=0).sum().to(total.dtype)
        return Losses(total, {name: part.detach() for name, part in parts.items()})

    def lane_losses(self, prediction: Prediction) -> Tensor:
        """Return the mean errors (B,) of the samples' hidden lanes; 0 if a sample has none."""
        lanes = prediction.lanes.take(prediction.masking.hidden)
        counted = lanes.valid | self.objective.lane_padding_in_loss
        weight = counted[..., None] * self._target_columns(LANE_XY, LANE_INDEX, len(LANE_COLUMNS), counted.device)
        error = absolute_error(full_precision(prediction.hidden_lanes), lanes.vectors, weight)  # [N]
        total = error.new_zeros(len(lanes.items.counts)).index_add(0, lanes.items.scene, error)
        return total / lanes.items.counts.clamp(min=1)

    def mode_losses(self, prediction: Prediction) -> Tensor:
        """Return the mean errors (T, modes) of the modes over the hidden vectors of the T hidden focal agents."""
        agents = prediction.agents.take(prediction.agent_rows)
        columns = self._target_columns(ACTOR_XY, ACTOR_INDEX, len(ACTOR_COLUMNS), agents.valid.device)
        place = torch.arange(agents.valid.shape[1], device=agents.valid.device)
        counted = agents.valid & (place >= prediction.first_hidden)
        weight = (counted[..., None] * columns)[:, None]
        return absolute_error(full_precision(prediction.hidden_agents), agents.vectors[:, None], weight)

    @torch.no_grad()
    def reconstruct(self, batch: Batch, masking: Masking | None = None) -> Reconstruction:
        """Reconstruct the hidden parts of a batch as points; `masking` as in `predict`."""
        prediction = self.predict(batch, masking=masking)
        is_map, hidden = prediction.masking.is_map, prediction.masking.lanes
        lane_points = prediction.lanes.vectors[..., LANE_XY]
        agent_points = prediction.agents.vectors[..., ACTOR_XY]
        lane_predicted = torch.full_like(lane_points, torch.nan)
        lane_predicted[hidden] = prediction.hidden_lanes[..., LANE_XY].to(lane_points.dtype)
        modes = self.objective.modes
        agent_predicted = agent_points.new_full((len(is_map), modes, *agent_points.shape[1:]), torch.nan)
        agent_predicted[prediction.agent_rows] = prediction.hidden_agents[..., ACTOR_XY].to(agent_points.dtype)
        agent_predicted[is_map] = torch.nan
        distance = torch.linalg.vector_norm(agent_predicted - agent_points[:, None], dim=-1).mean(-1)
        return Reconstruction(
            is_map=is_map,
            lane_scene=prediction.lanes.items.scene,
            lane_hidden=hidden,
            lane_points=lane_points,
            lane_valid=prediction.lanes.valid,
            lane_predicted=lane_predicted,
            agent_points=agent_points,
            agent_predicted=agent_predicted,
            agent_best=distance.nan_to_num(torch.inf).argmin(dim=1),
        )

    def _target_columns(self, xy: tuple[int, int], index: int, columns: int, device: torch.device) -> Tensor:
        """Return (columns,) int64, 1 at columns that are targets, else 0."""
        every = self.objective.targets != XY
        counts = [(every or column in xy) and (column != index or self.with_index) for column in range(columns)]
        return cached_tensor(tuple(int(counted) for counted in counts), device)


def absolute_error(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean absolute error over the last two dimensions.

    Args:
        predicted, target: (..., V, C).
        weight: weights, broadcastable to (..., V, C).

    Returns:
        (...,) errors; 0 if all weights are 0.
    """
    weight = weight.to(predicted.dtype).expand_as(predicted)
    error = functional.l1_loss(predicted, target.expand_as(predicted), reduction="none") * weight
    return error.sum((-2, -1)) / weight.sum((-2, -1)).clamp(min=1.0)


def dead_mode_losses(modes: Tensor, winner: Tensor) -> Tensor:
    """Return the losses (T,) of the first dead mode: one that has not yet been the best mode of any sample.

    The loss is 0 for samples at which every mode has been the best of some sample (docs/method.md 4.3).

    Args:
        modes: (T, modes) losses of the modes.
        winner: (T,) int64, the best mode of each sample.
    """
    dead = wins_of(winner, modes.shape[1]).cumsum(0) == 0  # [T, modes], including this sample's best mode
    first = dead.to(torch.int8).argmax(dim=1)
    loss = modes.gather(1, first[:, None]).squeeze(1)
    return torch.where(dead.any(dim=1), loss, torch.zeros_like(loss))


def wins_of(winner: Tensor, modes: int) -> Tensor:
    """Return (T, modes) int64, 1 at the best mode of each sample, else 0."""
    return functional.one_hot(winner, modes)
