"""Tests of the sub-graph: a polyline's feature depends only on its own vectors."""

from __future__ import annotations

import torch

from given_parameters import paper
from synthdrive.config.training import ModelParameters
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.encoder import SubGraph, VectorEncoder
from synthdrive.models.polylines import ACTOR_COLUMNS, LANE_COLUMNS, Polylines
from synthdrive.models.ragged import Ragged


def random_polylines(counts: list[int], width: int, columns: int) -> Polylines:
    valid = torch.arange(width) < torch.tensor(counts)[:, None]
    vectors = torch.randn(len(counts), width, columns, dtype=torch.float64) * valid[..., None]
    return Polylines(vectors, valid, Ragged.from_counts(torch.tensor([len(counts)])))


@torch.no_grad()
def test_padding_does_not_change_features():
    torch.manual_seed(0)
    sub_graph = SubGraph(32, 3, 2).double()
    lines = random_polylines([1, 4, 9], 9, len(LANE_COLUMNS))
    padded = torch.cat([lines.vectors, torch.zeros(3, 6, len(LANE_COLUMNS))], dim=1)
    valid = torch.cat([lines.valid, torch.zeros(3, 6, dtype=torch.bool)], dim=1)
    expected = [
        sub_graph(line[None, :count], torch.ones(1, count, dtype=torch.bool), LANE_COLUMNS)
        for line, count in zip(lines.vectors, (1, 4, 9), strict=True)
    ]
    for vectors, mask in ((lines.vectors, lines.valid), (padded, valid)):
        torch.testing.assert_close(sub_graph(vectors, mask, LANE_COLUMNS), torch.cat(expected))


@torch.no_grad()
def test_grouping_polylines_by_length_does_not_change_features():
    torch.manual_seed(0)
    encoder = VectorEncoder(paper(ModelParameters, hidden_size=32), ARGOVERSE1).double()
    lanes = random_polylines([9, 2, 9, 5], 9, len(LANE_COLUMNS))
    for counts, width in (([19, 3, 9, 12, 1], 19), ([49, 10, 20, 4, 19], 49), ([2, 2], 19)):
        actors = random_polylines(counts, width, len(ACTOR_COLUMNS))
        ours = encoder.polyline_features(actors, lanes)
        torch.testing.assert_close(ours[0], encoder.sub_graph(actors.vectors, actors.valid, ACTOR_COLUMNS))
        torch.testing.assert_close(ours[1], encoder.sub_graph(lanes.vectors, lanes.valid, LANE_COLUMNS))
