"""The reference's weights under this library's parameter names, and its inputs as this library's polylines."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from given_parameters import paper
from synthdrive.config.training import ModelParameters
from synthdrive.models.polylines import ACTOR_COLUMNS, LANE_COLUMNS, Polylines
from synthdrive.models.ragged import Ragged

PAPER = paper(ModelParameters, polyline_index=True)

NETWORK_TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}  # as the reference data states, float32

_ENCODER = {
    "encoder.sub_graph.input_mlp": "point_level_sub_graph.layer_0",
    "encoder.sub_graph.hidden_mlp": "point_level_sub_graph.layer_0_again",
    "encoder.sub_graph.attention": "point_level_sub_graph.layers",
    "encoder.sub_graph.norms": "point_level_sub_graph.layers_2",
    "encoder.agent_to_lane": "laneGCN_A2L",
}
_GOALS = {
    "lane_scorer.attention": "decoder.stage_one_cross_attention",
    "lane_scorer.decoder.mlp": "decoder.stage_one_decoder.mlp",
    "lane_scorer.decoder.output": "decoder.stage_one_decoder.fc",
    "goal_scorer.encoder": "decoder.goals_2D_point_sub_graph",
    "goal_scorer.attention": "decoder.goals_2D_cross_attention",
    "goal_scorer.decoder.mlp": "decoder.stage_one_goals_2D_decoder.mlp",
    "goal_scorer.decoder.output": "decoder.stage_one_goals_2D_decoder.fc",
    "completion.endpoint_encoder": "decoder.goals_2D_mlps",
    "completion.attention": "decoder.complete_traj_cross_attention",
    "completion.decoder.mlp": "decoder.complete_traj_decoder.mlp",
    "completion.decoder.output": "decoder.complete_traj_decoder.fc",
}
_RECONSTRUCTION = {
    "lane_token": "map_mask_token",
    "agent_token": "traj_mask_token",
    **{
        f"{ours}_decoder.{part}": f"{theirs}_decoder_{name}"
        for ours, theirs in (("lane", "map"), ("agent", "traj"))
        for part, name in (
            ("embedding", "emb"),
            ("attention_norm", "self_att_ln"),
            ("attention", "self_att"),
            ("feed_forward_norm", "self_ff_ln"),
            ("feed_forward", "self_ff"),
            ("norm", "ln"),
        )
    },
    **{
        f"{ours}_decoder.{part}": f"pred_{theirs}.{name}"
        for ours, theirs in (("lane", "map"), ("agent", "traj"))
        for part, name in (("head_mlp", "mlp"), ("head", "fc"))
    },
}
PREFIXES = {**_ENCODER, **_GOALS, **_RECONSTRUCTION}


def reference_names(name: str) -> list[str]:
    """The reference's names of one of our parameters: two if it stores the heads of the attention separately."""
    for ours, theirs in PREFIXES.items():
        if name == ours or name.startswith(ours + "."):
            tail = name[len(ours) :].replace(".norm.", ".layer_norm.")
            if "norms" not in ours and theirs.endswith("sub_graph") and ours.endswith("encoder"):
                tail = ".layers" + tail.removeprefix(".layers")
            if theirs.endswith("self_att"):
                return [f"{theirs}.global_graph{head}{tail}" for head in ("", "2")]
            return [theirs + tail]
    if name.startswith("encoder.global_graph."):
        return [f"global_graph.global_graph{head}{name[len('encoder.global_graph') :]}" for head in ("", "2")]
    raise KeyError(name)


def load_reference(network: nn.Module, golden: Any) -> None:
    """Set every parameter of the network to the reference's weights."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            value = np.concatenate([golden[f"w/{theirs}"] for theirs in reference_names(name)])
            parameter.copy_(torch.from_numpy(value).reshape(parameter.shape))


def gradient_norms(network: nn.Module) -> dict[str, float]:
    """L2 norm of each parameter's gradient by the reference's name, separately for each head of an attention."""
    norms = {}
    for name, parameter in network.named_parameters():
        theirs = reference_names(name)
        assert parameter.grad is not None, name
        for label, part in zip(theirs, parameter.grad.chunk(len(theirs)), strict=True):
            norms[label] = float(part.double().norm())
    return norms


def polylines(golden: Any, key: str, actors: int | None = None, theta: float = 0.0) -> tuple[Polylines, Polylines]:
    """Actors and lanes of one scene from the reference's matrix, rotated by theta radians about the origin."""
    spans = golden[f"{key}/polyline_spans"]
    actors = int(golden[f"{key}/map_start_polyline_idx"]) if actors is None else actors
    matrix = rotated(golden[f"{key}/matrix"], golden["columns"].tolist(), theta)
    parts = []
    for rows, columns in ((spans[:actors], ACTOR_COLUMNS), (spans[actors:], LANE_COLUMNS)):
        picked = matrix[:, [golden["columns"].tolist().index(column % 128) for column in columns]]
        longest = max(int(np.diff(rows, axis=1).max()), 9)
        vectors = torch.zeros(len(rows), longest, len(columns))
        valid = torch.zeros(len(rows), longest, dtype=torch.bool)
        for row, (start, stop) in enumerate(rows):
            vectors[row, : stop - start] = torch.from_numpy(picked[start:stop]).float()
            valid[row, : stop - start] = True
        parts.append(Polylines(vectors, valid, Ragged.from_counts(torch.tensor([len(rows)]))))
    return parts[0], parts[1]


def rotated(matrix: np.ndarray, columns: list[int], theta: float) -> np.ndarray:
    """The matrix with all its x, y columns rotated by theta."""
    matrix = matrix.copy()
    for x, y in ((0, 1), (2, 3), (127, 126), (125, 124), (111, 110)):
        x, y = columns.index(x), columns.index(y)
        matrix[:, x], matrix[:, y] = (
            matrix[:, x] * np.cos(theta) - matrix[:, y] * np.sin(theta),
            matrix[:, x] * np.sin(theta) + matrix[:, y] * np.cos(theta),
        )
    return matrix


def join(parts: list[Polylines]) -> Polylines:
    """Concatenate the polylines of several scenes into one batch."""
    longest = max(part.vectors.shape[1] for part in parts)
    vectors, valid = [], []
    for part in parts:
        padding = longest - part.vectors.shape[1]
        vectors.append(nn.functional.pad(part.vectors, (0, 0, 0, padding)))
        valid.append(nn.functional.pad(part.valid, (0, padding)))
    counts = torch.cat([part.items.counts for part in parts])
    return Polylines(torch.cat(vectors), torch.cat(valid), Ragged.from_counts(counts))
