"""Tests of groups of tensors: they are sent between processes as one block and keep cached sizes when moved."""

from __future__ import annotations

import io
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
import torch
from made_scenes import make_batch, make_scene
from torch import Tensor
from torch.multiprocessing import reductions

from given_parameters import paper
from synthdrive.config.training import ModelParameters, PretrainParameters
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.batch import Batch
from synthdrive.models.densetnt import DenseTNT
from synthdrive.models.ragged import Ragged
from synthdrive.models.tensor_group import TensorGroup
from synthdrive.pretraining.pretrain import pretraining_model

SMALL = paper(ModelParameters, hidden_size=32, sub_graph_layers=1, dense_from_goals=4, max_goal_acceleration=5.0)
SCENES = [make_scene(seed, others, lanes) for seed, (others, lanes) in enumerate([(3, 6), (0, 5), (6, 8), (2, 12)])]


def network_of(objective: str) -> Any:
    torch.manual_seed(0)
    if objective == "finetune":
        return DenseTNT(SMALL, ARGOVERSE1)
    return pretraining_model(SMALL, paper(PretrainParameters, objective=objective, map_probability=0.5), ARGOVERSE1)


def prepared(objective: str) -> Batch:
    batch = make_batch(SCENES, [3, 4, 5, 6], torch.float32)
    return replace(batch, prepared=network_of(objective).prepare(batch))


def parts(value: Any, name: str = "") -> dict[str, Any]:
    """All values in a group, including cached ones, by dotted name."""
    if not isinstance(value, TensorGroup):
        return {name: value}
    return {key: part for one, inner in vars(value).items() for key, part in parts(inner, f"{name}.{one}").items()}


def same(ours: TensorGroup, theirs: TensorGroup) -> bool:
    one, other = parts(ours), parts(theirs)
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, Tensor):
            assert value.dtype == other[name].dtype, name
            assert torch.equal(value, other[name]), name
        else:
            assert value == other[name], name
    return True


@pytest.mark.parametrize("objective", ["finetune", "masked", "scene"])
def test_a_batch_is_sent_to_another_process_through_one_handle(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = prepared(objective)
    handles = []
    reduce = reductions.reduce_storage

    def counted(storage: Any) -> Any:
        handles.append(storage)
        return reduce(storage)

    stream = io.BytesIO()
    pickler = ForkingPickler(stream)
    monkeypatch.setattr(reductions, "reduce_storage", counted)
    pickler.dispatch_table = {
        **pickler.dispatch_table,
        **{kind: counted for kind, function in list(pickler.dispatch_table.items()) if function is reduce},
    }
    pickler.dump(batch)
    assert len(handles) == 1
    received = ForkingPickler.loads(stream.getvalue())
    assert isinstance(received, Batch)
    assert same(batch, received)
    network = network_of(objective)
    assert torch.equal(network(received).total, network(batch).total)


def test_moving_keeps_cached_sizes_and_pickling_keeps_shared_tensors() -> None:
    rows = Ragged.from_counts(torch.tensor([2, 0, 3]))
    assert rows.longest == 3
    moved = rows.to("cpu")
    assert "longest" in vars(moved)
    assert "slot" not in vars(moved)
    batch = replace(make_batch(SCENES), prepared=rows, track_counts=rows.counts)
    unpickled = ForkingPickler.loads(ForkingPickler.dumps(batch))
    assert isinstance(unpickled.prepared, Ragged)
    assert unpickled.prepared.counts is unpickled.track_counts


@pytest.mark.parametrize("objective", ["finetune", "forecast", "masked", "scene"])
def test_prepared_inputs_give_the_same_losses_as_computed_ones(objective: str) -> None:
    network, batch = network_of(objective), make_batch(SCENES, [3, 4, 5, 6], torch.float32)
    ours, theirs = (network(one) for one in (prepared(objective), batch))
    assert torch.equal(ours.total, theirs.total)
    assert all(torch.equal(ours.parts[name], theirs.parts[name]) for name in theirs.parts)
    wrongly_prepared = replace(batch, prepared=network.prepare(make_batch(SCENES[:1] * 4, [3, 4, 5, 6], torch.float32)))
    assert not torch.equal(network(wrongly_prepared).total, theirs.total)  # the network uses the prepared inputs


def test_an_explicit_angle_replaces_the_prepared_one() -> None:
    network, batch = network_of("masked"), prepared("masked")
    prepared_prediction = network.predict(batch)
    rotated = network.predict(batch, angle=torch.ones(4))
    assert not torch.equal(prepared_prediction.lanes.vectors, rotated.lanes.vectors)
