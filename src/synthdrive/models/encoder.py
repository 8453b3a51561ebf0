"""Encoder of pre-training and fine-tuning: VectorNet with agent-to-lane attention (docs/method.md 4.1, 5)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import pad

from synthdrive.config.training import ModelParameters
from synthdrive.core.timing import Timing
from synthdrive.models.layers import (
    MLP,
    CrossAttention,
    SelfAttention,
    additive_mask,
    column_factors,
    coordinates_exact,
)
from synthdrive.models.polylines import ACTOR_COLUMNS, LANE_COLUMNS, Polylines, cached_tensor
from synthdrive.models.ragged import Ragged


class SubGraph(nn.Module):
    """Network from the vectors of a polyline to one feature.

    Two MLPs, then layers of self-attention, each followed by ReLU, residual and layer norm, then the maximum over the
    valid vectors.

    Args:
        size: width of the features.
        layers: number of attention layers.
        heads: number of attention heads in each layer.
        coordinate_scale: metres that count as 1 in the input of the first MLP.
        second_scale: scale of a second MLP beside the first, see `layers.CoordinateMLP`; 0 for none.
    """

    factors: Tensor
    second_factors: Tensor

    def __init__(
        self, size: int, layers: int, heads: int, coordinate_scale: float = 1.0, second_scale: float = 0.0
    ) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("factors", column_factors(size, coordinate_scale), persistent=False)
        self.input_mlp = MLP(size, size)
        self.second_input_mlp: MLP | None = None
        if second_scale:
            self.register_buffer("second_factors", column_factors(size, second_scale), persistent=False)
            self.second_input_mlp = MLP(size, size)
        self.hidden_mlp = MLP(2 * size if second_scale else size, size)
        self.attention = nn.ModuleList(SelfAttention(size, heads) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(size, eps=1e-5) for _ in range(layers))

    def forward(self, vectors: Tensor, valid: Tensor, columns: tuple[int, ...]) -> Tensor:
        """Return the features of polylines.

        Args:
            vectors: (N, V, C) vectors of N polylines, zero padded.
            valid: (N, V) bool, True for at least one vector in each row.
            columns: (C,) positions of the C columns in a full row of `size` numbers; the other columns are zero.

        Returns:
            (N, size) features.
        """
        at = cached_tensor(tuple(column % self.size for column in columns), vectors.device)
        with coordinates_exact(vectors.device):
            hidden = _apply_to_columns(vectors, at, self.input_mlp, self.factors)
            if self.second_input_mlp is not None:
                second = _apply_to_columns(vectors, at, self.second_input_mlp, self.second_factors)
                hidden = torch.cat([hidden, second], dim=-1)
        hidden = self.hidden_mlp(hidden)
        mask = additive_mask(valid, hidden)
        for attention, norm in zip(self.attention, self.norms, strict=True):
            hidden = norm(hidden + functional.relu(attention(hidden, mask)))
        feature: Tensor = hidden.masked_fill(~valid[..., None], -torch.inf).amax(dim=1)
        return feature


def _apply_to_columns(vectors: Tensor, at: Tensor, mlp: MLP, factors: Tensor) -> Tensor:
    """Apply an MLP to rows times `factors` whose only nonzero columns are `at`, the columns of `vectors`."""
    weight = (mlp.linear.weight * factors).index_select(1, at)
    return mlp.activate(functional.linear(vectors, weight, mlp.linear.bias))


@dataclass(frozen=True)
class SceneFeatures:
    """Features of the polylines of B scenes, padded to the scene with the most polylines.

    Attributes:
        tokens: (B, P, S) features of actors, then lanes, after the agent-to-lane attention.
        valid: (B, P) bool, False at padding.
        lanes: (B, M, S) features of the lanes before that attention.
        lane_valid: (B, M) bool, False at padding.
    """

    tokens: Tensor
    valid: Tensor
    lanes: Tensor
    lane_valid: Tensor


class VectorEncoder(nn.Module):
    """Encoder of actors and lanes: sub-graph, agent-to-lane attention, global graph.

    Args:
        model: sizes of the network.
        timing: timing of the scenes; no weight depends on it.
    """

    def __init__(self, model: ModelParameters, timing: Timing) -> None:
        super().__init__()
        self.actor_lengths = (timing.history_steps - 1, timing.steps - 1)  # vectors in observed and complete tracks
        self.sub_graph = SubGraph(
            model.hidden_size,
            model.sub_graph_layers,
            model.sub_graph_heads,
            model.coordinate_scale,
            model.second_coordinate_scale,
        )
        self.agent_to_lane = CrossAttention(model.hidden_size)
        # No residual and no norm (docs/method.md 8.4).
        self.global_graph = SelfAttention(model.hidden_size, heads=2)

    def forward(self, actors: Polylines, lanes: Polylines, agent_visible: Tensor | None = None) -> SceneFeatures:
        """Return the features of every polyline.

        Args:
            actors: tracks, the focal agent first in each scene where it is visible.
            lanes: lanes; a scene may have none.
            agent_visible: (B,) bool, False where the focal agent is hidden and therefore not among the actors.
                Defaults to True in every scene with actors.
        """
        actor_features, lane_features = self.polyline_features(actors, lanes)  # [K, S], [M, S]
        lane_states, lane_valid = lanes.items.pad(lane_features), lanes.items.valid  # [B, M, S], [B, M]
        packed_actors = actors.items.pad(actor_features)
        visible = actors.items.counts > 0 if agent_visible is None else agent_visible
        keys = torch.cat([packed_actors[:, :1], lane_states], dim=1)  # [B, 1 + M, S]
        key_valid = torch.cat([visible[:, None], lane_valid], dim=1)
        # A scene with neither the focal agent nor lanes has no lane to update, but its softmax must be finite.
        key_valid[:, 0] |= ~key_valid.any(dim=1)
        lane_tokens = lane_states + self.agent_to_lane(lane_states, keys, key_valid)
        tokens, valid = join_polylines(actors.items, actor_features, lanes.items, lanes.items.pack(lane_tokens))
        return SceneFeatures(tokens, valid, lane_states, lane_valid)

    def polyline_features(self, actors: Polylines, lanes: Polylines) -> tuple[Tensor, Tensor]:
        """Return the sub-graph's features of every actor (K, S) and lane (M, S).

        Polylines are processed in groups of similar length, to save padding: tracks no longer than a lane together
        with the lanes, longer ones in groups of their own.
        """
        lane_length, longest = lanes.vectors.shape[1], actors.vectors.shape[1]
        # The greatest length in each group.
        edges = [lane_length] + [
            edge for before, edge in pairwise((lane_length, *self.actor_lengths)) if before < longest
        ]
        bounds, groups = (cached_tensor(tuple(row), actors.valid.device) for row in (edges[:-1], range(len(edges))))
        group = (actors.valid.sum(dim=1)[:, None] > bounds).sum(dim=1)  # [K]
        order = group.argsort(stable=True)
        sizes = (group[:, None] == groups).sum(dim=0).tolist()
        short, *longer = order.split_with_sizes(sizes)
        actor_width, lane_width = len(ACTOR_COLUMNS), len(LANE_COLUMNS)
        joined = [
            pad(_cut_or_pad(actors.vectors[short], lane_length), (0, lane_width)),
            pad(lanes.vectors, (actor_width, 0)),
        ]
        valid = torch.cat([_cut_or_pad(actors.valid[short], lane_length), lanes.valid])
        together = self.sub_graph(torch.cat(joined), valid, (*ACTOR_COLUMNS, *LANE_COLUMNS))
        features = [together[: len(short)]]
        for edge, rows in zip(edges[1:], longer, strict=True):
            features.append(self.sub_graph(actors.vectors[rows, :edge], actors.valid[rows, :edge], ACTOR_COLUMNS))
        return torch.cat(features)[order.argsort()], together[len(short) :]

    def agent_state(self, features: SceneFeatures) -> Tensor:
        """Return the focal agent's row of the global graph (B, S); the focal agent is the first token of its scene."""
        return self.global_graph(features.tokens, features.valid, features.tokens[:, :1]).squeeze(1)  # type: ignore[no-any-return]

    def global_states(self, features: SceneFeatures) -> Tensor:
        """Return the global graph's output (B, P, S) for every polyline."""
        return self.global_graph(features.tokens, features.valid)  # type: ignore[no-any-return]


def _cut_or_pad(values: Tensor, length: int) -> Tensor:
    """Cut or pad (N, V, ...) values to (N, length, ...)."""
    missing = length - values.shape[1]
    return values[:, :length] if missing <= 0 else pad(values, (*[0] * (2 * values.ndim - 4), 0, missing))


def join_polylines(
    actors: Ragged, actor_features: Tensor, lanes: Ragged, lane_features: Tensor
) -> tuple[Tensor, Tensor]:
    """Join packed actors and lanes: padded features (B, P, S), each scene's actors first, and their mask (B, P)."""
    counts = actors.counts + lanes.counts
    longest = max(int(counts.max()), 1)
    slots = torch.cat(
        [actors.scene * longest + actors.position, lanes.scene * longest + actors.counts[lanes.scene] + lanes.position]
    )
    features = torch.cat([actor_features, lane_features.to(actor_features.dtype)])
    tokens = features.new_zeros(len(counts) * longest, features.shape[-1]).index_copy(0, slots, features)
    valid = torch.arange(longest, device=counts.device) < counts[:, None]
    return tokens.view(len(counts), longest, features.shape[-1]), valid
