"""VectorNet whose lanes attend to the focal agent: what pre-training passes to fine-tuning (docs/method.md 4.1, 5)."""

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
from synthdrive.models.polylines import ACTOR_COLUMNS, LANE_COLUMNS, Polylines, places
from synthdrive.models.ragged import Ragged


class SubGraph(nn.Module):
    """Two MLPs, then layers of self-attention, ReLU, residual and layer norm; the maximum over the valid vectors.

    Args:
        size: width of the features.
        layers: of attention.
        heads: in each of them.
        coordinate_scale: metres that count as 1 where the first MLP reads coordinates.
        second_scale: the same of a second MLP beside it, see `layers.CoordinateMLP`; 0: there is none.
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
        """Features of polylines.

        Args:
            vectors: (N, V, C), zero padded.
            valid: (N, V) bool, at least one in each row.
            columns: (C,) which columns of the full row of `size` numbers these are; the others are zero.

        Returns:
            (N, size).
        """
        at = places(tuple(column % self.size for column in columns), vectors.device)
        with coordinates_exact(vectors.device):
            hidden = _read(vectors, at, self.input_mlp, self.factors)
            if self.second_input_mlp is not None:
                second = _read(vectors, at, self.second_input_mlp, self.second_factors)
                hidden = torch.cat([hidden, second], dim=-1)
        hidden = self.hidden_mlp(hidden)
        mask = additive_mask(valid, hidden)
        for attention, norm in zip(self.attention, self.norms, strict=True):
            hidden = norm(hidden + functional.relu(attention(hidden, mask)))
        feature: Tensor = hidden.masked_fill(~valid[..., None], -torch.inf).amax(dim=1)
        return feature


def _read(vectors: Tensor, at: Tensor, mlp: MLP, factors: Tensor) -> Tensor:
    """An MLP of full rows times `factors`, of which `vectors` hold the columns `at`; the others are zero."""
    weight = (mlp.linear.weight * factors).index_select(1, at)
    return mlp.activate(functional.linear(vectors, weight, mlp.linear.bias))


@dataclass(frozen=True)
class SceneFeatures:
    """Features of B scenes' polylines, padded to the scene with the most.

    Attributes:
        tokens: (B, P, S) polylines after the agent-to-lane attention, actors first, then lanes.
        valid: (B, P) bool.
        lanes: (B, M, S) the lanes' own features, before that attention.
        lane_valid: (B, M) bool.
    """

    tokens: Tensor
    valid: Tensor
    lanes: Tensor
    lane_valid: Tensor


class VectorEncoder(nn.Module):
    """Sub-graph, agent-to-lane attention, global graph.

    Args:
        model: sizes.
        timing: of the scenes; no tensor depends on it.
    """

    def __init__(self, model: ModelParameters, timing: Timing) -> None:
        super().__init__()
        self.actor_lengths = (timing.history_steps - 1, timing.steps - 1)  # vectors of an observed and of a whole track
        self.sub_graph = SubGraph(
            model.hidden_size,
            model.sub_graph_layers,
            model.sub_graph_heads,
            model.coordinate_scale,
            model.second_coordinate_scale,
        )
        self.agent_to_lane = CrossAttention(model.hidden_size)
        # Two independent attentions of half the size, joined: the heads of one.
        # No residual, no norm (docs/method.md 8.4).
        self.global_graph = SelfAttention(model.hidden_size, heads=2)

    def forward(self, actors: Polylines, lanes: Polylines, agent_visible: Tensor | None = None) -> SceneFeatures:
        """Features of every polyline.

        Args:
            actors: AGENT first in each scene where it is visible.
            lanes: may be none in a scene.
            agent_visible: (B,) bool, False where the focal agent is hidden and so not among the actors; None: visible
                everywhere.
        """
        actor_features, own = self.polyline_features(actors, lanes)  # [K, S], [M, S]
        lane_states, lane_valid = lanes.items.pad(own), lanes.items.valid  # [B, M, S], [B, M]
        packed_actors = actors.items.pad(actor_features)
        visible = actors.items.counts > 0 if agent_visible is None else agent_visible
        keys = torch.cat([packed_actors[:, :1], lane_states], dim=1)  # [B, 1 + M, S]
        key_valid = torch.cat([visible[:, None], lane_valid], dim=1)
        # A scene with neither the focal agent nor lanes has no lane whose update would matter, but its softmax must be
        # finite.
        key_valid[:, 0] |= ~key_valid.any(dim=1)
        lane_tokens = lane_states + self.agent_to_lane(lane_states, keys, key_valid)
        tokens, valid = join_polylines(actors.items, actor_features, lanes.items, lanes.items.pack(lane_tokens))
        return SceneFeatures(tokens, valid, lane_states, lane_valid)

    def polyline_features(self, actors: Polylines, lanes: Polylines) -> tuple[Tensor, Tensor]:
        """(K, S) and (M, S) the sub-graph's features of every actor and lane.

        Polylines are taken by length, so that none is padded to the longest of another kind: tracks no longer than a
        lane go with the lanes, the others in groups of their own.
        """
        reach, longest = lanes.vectors.shape[1], actors.vectors.shape[1]
        # Lengths up to which polylines go together.
        edges = [reach] + [edge for before, edge in pairwise((reach, *self.actor_lengths)) if before < longest]
        bounds, groups = (places(tuple(row), actors.valid.device) for row in (edges[:-1], range(len(edges))))
        group = (actors.valid.sum(dim=1)[:, None] > bounds).sum(dim=1)  # [K]
        order = group.argsort(stable=True)
        sizes = (group[:, None] == groups).sum(dim=0).tolist()
        short, *others = order.split_with_sizes(sizes)
        few, wide = len(ACTOR_COLUMNS), len(LANE_COLUMNS)
        joined = [pad(_cut(actors.vectors[short], reach), (0, wide)), pad(lanes.vectors, (few, 0))]
        valid = torch.cat([_cut(actors.valid[short], reach), lanes.valid])
        together = self.sub_graph(torch.cat(joined), valid, (*ACTOR_COLUMNS, *LANE_COLUMNS))
        features = [together[: len(short)]]
        for edge, long in zip(edges[1:], others, strict=True):
            features.append(self.sub_graph(actors.vectors[long, :edge], actors.valid[long, :edge], ACTOR_COLUMNS))
        return torch.cat(features)[order.argsort()], together[len(short) :]

    def agent_state(self, features: SceneFeatures) -> Tensor:
        """(B, S) the focal agent's row of the global graph; the focal agent is each scene's first token."""
        return self.global_graph(features.tokens, features.valid, features.tokens[:, :1]).squeeze(1)  # type: ignore[no-any-return]

    def global_states(self, features: SceneFeatures) -> Tensor:
        """(B, P, S) the global graph's output for every polyline."""
        return self.global_graph(features.tokens, features.valid)  # type: ignore[no-any-return]


def _cut(values: Tensor, length: int) -> Tensor:
    """(N, V, ...) -> (N, length, ...), cut or padded."""
    spare = length - values.shape[1]
    return values[:, :length] if spare <= 0 else pad(values, (*[0] * (2 * values.ndim - 4), 0, spare))


def join_polylines(
    actors: Ragged, actor_features: Tensor, lanes: Ragged, lane_features: Tensor
) -> tuple[Tensor, Tensor]:
    """(B, P, S) padded rows with each scene's actors first, then its lanes, and (B, P) which are valid."""
    counts = actors.counts + lanes.counts
    longest = max(int(counts.max()), 1)
    slots = torch.cat(
        [actors.scene * longest + actors.position, lanes.scene * longest + actors.counts[lanes.scene] + lanes.position]
    )
    features = torch.cat([actor_features, lane_features.to(actor_features.dtype)])
    tokens = features.new_zeros(len(counts) * longest, features.shape[-1]).index_copy(0, slots, features)
    valid = torch.arange(longest, device=counts.device) < counts[:, None]
    return tokens.view(len(counts), longest, features.shape[-1]), valid
