"""Scene autoencoder: hide lanes and the focal agent's future in the same sample, and reconstruct each from one query.

After Forecast-MAE (Cheng, Mei & Liu, ICCV 2023), with this project's encoder. A query contains the start and direction
of its polyline; the decoder also gets those of each visible lane. It predicts the shape of the polyline in metres,
relative to its start and direction. Only the encoder can tell how long and how curved a lane is, and how fast the focal
agent drives.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from synthdrive.config.training import XY, ModelParameters, ObjectiveParameters
from synthdrive.core.timing import Timing
from synthdrive.models.encoder import join_polylines
from synthdrive.models.layers import coordinates_exact
from synthdrive.models.polylines import ACTOR_XY, LANE_PREVIOUS, LANE_XY, Polylines
from synthdrive.pretraining.masking import MaskedScenes
from synthdrive.pretraining.reconstructor import Prediction, ReconstructionDecoder, Reconstructor
from synthdrive.scenes.lane_map import MAX_POINTS

POSE = 4  # size of a pose: x, y in metres, and the direction as a unit vector
LANE_VECTORS = MAX_POINTS - 1


class SceneAutoencoder(Reconstructor):
    """Encoder of the visible polylines, and a decoder with one query for each hidden lane and for the hidden future.

    Args:
        model: sizes of the network.
        objective: `mask_ratio`, `random_rotation`, `modes` and `dead_mode_weight` are used. The other options do not
            apply: every sample hides lanes and the future, the encoder sees only observed rows, and the targets are
            positions.
        timing: timing of the scenes.
    """

    hides_both = True

    def __init__(self, model: ModelParameters, objective: ObjectiveParameters, timing: Timing) -> None:
        # Every sample hides lanes, as map samples do.
        objective = replace(objective, map_probability=1.0, history_only=True, targets=XY, lane_padding_in_loss=False)
        super().__init__(replace(model, polyline_index=False), objective, timing)
        self.scale = model.coordinate_scale
        self.place = nn.Sequential(nn.Linear(POSE, self.size), nn.ReLU(), nn.Linear(self.size, self.size))
        self.lane_token = nn.Parameter(torch.randn(self.size) * 0.02)
        self.agent_token = nn.Parameter(torch.randn(self.size) * 0.02)
        self.decoder = ReconstructionDecoder(self.size, self.size, sees_encoder=True)
        self.lane_head = _head(self.size, LANE_VECTORS * 2)
        self.agent_head = _head(self.size, self.objective.modes * timing.future_steps * 2)

    def reconstruct_hidden(self, scenes: MaskedScenes, blind: bool = False) -> Prediction:
        """See `Reconstructor`; only positions are predicted, and the focal agent's history is copied from the input."""
        actors, lanes, agents, masking = scenes.actors, scenes.lanes, scenes.agents, scenes.masking
        hidden = scenes.hidden_lanes
        poses, pose = lane_poses(lanes.vectors), agent_poses(agents.vectors, scenes.angle)
        asked = torch.cat([pose[:, None], hidden.items.pad(poses[masking.hidden])], dim=1)  # [B, 1 + H, 4]
        valid = torch.cat([torch.ones_like(masking.is_map)[:, None], hidden.items.valid], dim=1)
        tokens = torch.cat([self.agent_token[None], self.lane_token.expand(asked.shape[1] - 1, -1)])
        queries = self._embed(asked) + tokens
        if blind:
            encoded, visible = queries[:, :1], torch.zeros_like(valid[:, :1])
        else:
            encoded, visible = self._encode(actors, scenes.seen_lanes, poses[masking.shown])
        decoded = self.decoder(queries, valid, encoded, visible)
        shapes = self.lane_head(hidden.items.pack(decoded[:, 1:])).view(-1, LANE_VECTORS, 2) * self.scale
        now, shape = self.timing.last_observed, (len(agents), self.objective.modes, self.timing.future_steps, 2)
        futures = self.agent_head(decoded[:, 0]).view(shape) * self.scale
        hidden_lanes = torch.zeros_like(hidden.vectors)
        hidden_lanes[..., LANE_XY] = pose_to_agent_frame(poses[masking.hidden], shapes)
        hidden_agents = agents.vectors[:, None].repeat(1, self.objective.modes, 1, 1)
        hidden_agents[:, :, now:, ACTOR_XY] = pose_to_agent_frame(pose, futures)
        every = torch.arange(len(agents), device=poses.device)
        return Prediction(masking, lanes, agents, hidden_lanes, hidden_agents, every, now)

    def _encode(self, actors: Polylines, lanes: Polylines, poses: Tensor) -> tuple[Tensor, Tensor]:
        """Return the visible polylines' features (B, 2 P, S) before and after the global graph, and their mask."""
        features = self.encoder(actors, lanes)
        unplaced = poses.new_zeros(len(actors), self.size)
        places, _ = join_polylines(actors.items, unplaced, lanes.items, self._embed(poses))
        encoded = torch.cat([features.tokens, self.encoder.global_states(features) + places], dim=1)
        return encoded, features.valid.repeat(1, 2)

    def _embed(self, poses: Tensor) -> Tensor:
        """Return features (..., S) of poses (..., 4)."""
        with coordinates_exact(poses.device):
            scaled = torch.cat([poses[..., :2] / self.scale, poses[..., 2:]], dim=-1)
            return self.place(scaled)  # type: ignore[no-any-return]


def lane_poses(vectors: Tensor) -> Tensor:
    """Return the poses (N, 4) of lanes (N, 9, 12): their start, and the direction of their first vector."""
    start = vectors[:, 0, LANE_PREVIOUS]
    move = vectors[:, 0, LANE_XY] - start
    return torch.cat([start, move / torch.linalg.vector_norm(move, dim=-1, keepdim=True).clamp(min=1e-6)], dim=-1)


def agent_poses(agent: Tensor, angle: Tensor | None) -> Tensor:
    """Return the poses (B, 4) of the focal agents: at the origin, heading to +y turned by `angle` (B,) in radians."""
    turn = agent.new_zeros(len(agent)) if angle is None else angle.to(agent.dtype)
    return torch.stack([torch.zeros_like(turn), torch.zeros_like(turn), -turn.sin(), turn.cos()], dim=-1)


def pose_to_agent_frame(poses: Tensor, points: Tensor) -> Tensor:
    """Transform points from the frames of poses (x ahead, y to the left) to the agent frame.

    Args:
        poses: (N, 4) poses in the agent frame.
        points: (N, ..., 2) metres, each in the frame of its pose.
    """
    shape = (len(poses), *[1] * (points.ndim - 2))
    (x, y, cos, sin), (ahead, left) = (part.reshape(shape) for part in poses.unbind(-1)), points.unbind(-1)
    return torch.stack([x + ahead * cos - left * sin, y + ahead * sin + left * cos], dim=-1)


def _head(size: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, 2 * size), nn.ReLU(), nn.Linear(2 * size, outputs))
