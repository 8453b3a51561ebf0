"""Tests of `model.coordinate_scale` and `second_coordinate_scale`: only positions are scaled."""

from __future__ import annotations

import pytest
import torch
from made_scenes import make_batch, make_scene
from torch.nn import functional

from given_parameters import paper
from synthdrive.config.training import ModelParameters, ObjectiveParameters
from synthdrive.core.errors import ParameterError
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.densetnt import TrajectoryCompletion
from synthdrive.models.encoder import SubGraph
from synthdrive.models.goal_scorer import GoalEncoder, SceneByScene
from synthdrive.models.layers import column_factors
from synthdrive.models.polylines import ACTOR_COLUMNS, ACTOR_XY, LANE_COLUMNS, LANE_XY
from synthdrive.models.ragged import Ragged
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder, masked_queries

SIZE, SCALE = 32, 10.0


def columns_in_metres(columns: tuple[int, ...]) -> list[int]:
    """Indices of the columns that are divided by the scale."""
    return torch.nonzero(column_factors(SIZE, SCALE)[list(columns)] != 1).flatten().tolist()


def test_only_positions_are_scaled() -> None:
    assert columns_in_metres(ACTOR_COLUMNS) == [0, 1, 2, 3]  # previous and current x, y
    assert columns_in_metres(LANE_COLUMNS) == [0, 1, 8, 9, 10, 11]  # point before, current and previous y, x
    assert set(ACTOR_XY) < set(columns_in_metres(ACTOR_COLUMNS))
    assert set(LANE_XY) < set(columns_in_metres(LANE_COLUMNS))


@pytest.mark.parametrize("columns", [ACTOR_COLUMNS, LANE_COLUMNS])
def test_the_sub_graph_divides_positions_by_the_scale(columns: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    plain, scaled = SubGraph(SIZE, 2, 2), SubGraph(SIZE, 2, 2, SCALE)
    scaled.load_state_dict(plain.state_dict())  # the scale is not part of a checkpoint
    vectors, valid = 20 * torch.randn(3, 5, len(columns)), torch.ones(3, 5, dtype=torch.bool)
    smaller = vectors.clone()
    smaller[..., columns_in_metres(columns)] /= SCALE
    torch.testing.assert_close(scaled(vectors, valid, columns), plain(smaller, valid, columns))
    assert not torch.allclose(scaled(vectors, valid, columns), plain(vectors, valid, columns))


def test_the_completion_divides_endpoints_and_multiplies_trajectories_by_the_scale() -> None:
    torch.manual_seed(0)
    plain, scaled = (TrajectoryCompletion(SIZE, False, 30, scale) for scale in (1.0, SCALE))
    scaled.load_state_dict(plain.state_dict())
    endpoints, tokens = 20 * torch.randn(2, 6, 2), torch.randn(2, 4, SIZE)
    rest = (torch.randn(2, SIZE), tokens, torch.ones(2, 4, dtype=torch.bool))
    torch.testing.assert_close(scaled(endpoints, *rest), SCALE * plain(endpoints / SCALE, *rest))


def test_reconstructed_positions_are_multiplied_by_the_scale() -> None:
    torch.manual_seed(0)
    model = paper(ModelParameters, hidden_size=SIZE, coordinate_scale=SCALE)
    network = MaskedAutoencoder(model, paper(ObjectiveParameters, map_probability=0.5), ARGOVERSE1)
    for head in (network.lane_decoder.head, network.agent_decoder.head):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.ones_(head.bias)
    prediction = network.predict(
        make_batch([make_scene(seed, 3, 6) for seed in range(8)], list(range(8)), torch.float32)
    )
    for predicted, columns in ((prediction.hidden_lanes, LANE_COLUMNS), (prediction.hidden_agents, ACTOR_COLUMNS)):
        metres = columns_in_metres(columns)
        others = [column for column in range(len(columns)) if column not in metres]
        assert predicted.numel()
        assert (predicted[..., metres] == SCALE).all()
        assert (predicted[..., others] == 1.0).all()


def test_a_query_contains_the_start_of_a_polyline_divided_by_the_scale() -> None:
    vectors, token, code = torch.full((1, 3, 10), 20.0), torch.zeros(10), torch.zeros(1, 3, SIZE)
    queries = masked_queries(vectors, token, ACTOR_COLUMNS, code, column_factors(SIZE, SCALE), False)
    assert queries[0, 0, :10].tolist() == pytest.approx([2.0] * 4 + [20.0] * 6)
    assert not queries[0, 1:].any()


def test_without_a_scale_distant_goals_in_one_direction_have_similar_features() -> None:
    """The reason for the scale: the layer norm after the first linear map keeps only the direction."""
    ray = torch.tensor([[29.0, 0.0], [31.0, 0.0]])
    layout = SceneByScene(Ragged.from_counts(torch.tensor([2])))
    differences = []
    for scale in (1.0, SCALE):
        torch.manual_seed(1)
        encoder = GoalEncoder(SIZE, scale)
        agent = encoder.agent_parts(torch.zeros(1, SIZE))
        feature = encoder(ray, agent, layout).detach()
        differences.append(float(1 - functional.cosine_similarity(feature[0], feature[1], dim=0)))
    assert differences[1] > 20 * differences[0]


def test_two_scales_distinguish_both_nearby_directions_and_far_distances() -> None:
    """Each scale has its own norm: with one norm for both, the features of the smaller scale would dominate."""
    layout = SceneByScene(Ragged.from_counts(torch.tensor([2])))
    ray, turn = torch.tensor([[29.0, 0.0], [31.0, 0.0]]), torch.tensor([[0.3, 0.0], [0.0, 0.3]])
    differences = {}
    for scales in ((1.0,), (SCALE,), (SCALE, 1.0)):
        torch.manual_seed(1)
        first = GoalEncoder(SIZE, *scales).layers[0]
        features = [first(goals).detach() for goals in (ray, turn)]
        differences[scales] = [float((goals[0] - goals[1]).norm()) for goals in features]
        assert features[0].shape[-1] == len(scales) * SIZE // 2
        encoder = GoalEncoder(SIZE, *scales)
        assert encoder(ray, encoder.agent_parts(torch.zeros(1, SIZE)), layout).shape == (2, SIZE)
    assert differences[(SCALE, 1.0)][0] > 5 * differences[(1.0,)][0]  # far distances
    assert differences[(SCALE, 1.0)][1] > 1.5 * differences[(SCALE,)][1]  # nearby directions


@pytest.mark.parametrize("columns", [ACTOR_COLUMNS, LANE_COLUMNS])
def test_the_second_scale_divides_only_positions(columns: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    graph = SubGraph(SIZE, 1, 2, SCALE, 2.0)
    assert graph.second_input_mlp is not None
    vectors, valid = 20 * torch.randn(3, 5, len(columns)), torch.ones(3, 5, dtype=torch.bool)
    rows = torch.zeros(3, 5, SIZE)
    rows[..., [column % SIZE for column in columns]] = vectors
    parts = []
    for mlp, scale in ((graph.input_mlp, SCALE), (graph.second_input_mlp, 2.0)):
        scaled = rows.clone()
        scaled[..., [columns[place] % SIZE for place in columns_in_metres(columns)]] /= scale
        parts.append(mlp(scaled))
    hidden = graph.hidden_mlp(torch.cat(parts, dim=-1))
    mask = torch.zeros(3, 5)
    for attention, norm in zip(graph.attention, graph.norms, strict=True):
        hidden = norm(hidden + functional.relu(attention(hidden, mask)))
    torch.testing.assert_close(graph(vectors, valid, columns), hidden.amax(dim=1))


def test_without_a_second_scale_its_tensors_do_not_exist() -> None:
    names = SubGraph(SIZE, 1, 2, SCALE).state_dict().keys()
    assert not [name for name in names if "second" in name]
    wider = SubGraph(SIZE, 1, 2, SCALE, 1.0).state_dict()
    assert {name.split(".")[0] for name in wider.keys() - names} == {"second_input_mlp"}


def test_two_equal_scales_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"second_coordinate_scale: found 10.0; expected 0, or a value other"):
        paper(ModelParameters, coordinate_scale=10.0, second_coordinate_scale=10.0)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_scale_that_is_not_positive_and_finite_is_refused(scale: float) -> None:
    with pytest.raises(ParameterError, match="coordinate_scale"):
        paper(ModelParameters, coordinate_scale=scale)
