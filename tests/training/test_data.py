"""Tests of sampling: a step's scenes depend only on seed and epoch, not on devices, parts or loading processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import tiny_batches, write_store

from synthdrive.core.errors import InputError
from synthdrive.training.data import Part, Sharing, epoch_parts, sample_seeds, steps_per_epoch, subset

SIZES = np.random.default_rng(0).integers(2, 90, 101)


def _parts(sharing: Sharing, epoch: int = 0, seed: int = 5) -> list[Part]:
    return list(epoch_parts(np.arange(101), SIZES, seed, epoch, sharing))


def _by_step(parts: list[Part]) -> dict[int, set[int]]:
    steps: dict[int, set[int]] = {}
    for part in parts:
        if part.weight:
            steps.setdefault(part.step, set()).update(part.indices.tolist())
    return steps


def test_every_epoch_has_each_scene_once_in_a_new_order() -> None:
    first, second = _parts(Sharing(16, 16)), _parts(Sharing(16, 16), epoch=1)
    assert sorted(np.concatenate([part.indices for part in first])) == list(range(101))
    assert len(first) == steps_per_epoch(101, 16) == 7
    assert _by_step(first) != _by_step(second)
    assert _by_step(first) != _by_step(_parts(Sharing(16, 16), seed=6))


@pytest.mark.parametrize(("micro_batch_size", "processes"), [(16, 1), (5, 1), (16, 2), (3, 4), (1, 7)])
def test_scenes_of_a_step_do_not_depend_on_how_it_is_divided(micro_batch_size: int, processes: int) -> None:
    undivided = _by_step(_parts(Sharing(16, 16)))
    ranks = [_parts(Sharing(16, micro_batch_size, processes, rank)) for rank in range(processes)]
    assert {len(parts) for parts in ranks} == {
        len(ranks[0])
    }  # devices with different numbers of parts would wait for each other for ever
    together: dict[int, set[int]] = {}
    for parts in ranks:
        assert all(1 <= len(part.indices) <= micro_batch_size for part in parts)
        for step, scenes in _by_step(parts).items():
            assert not together.setdefault(step, set()) & scenes
            together[step] |= scenes
    assert together == undivided
    for step in undivided:
        weight = sum(part.weight for parts in ranks for part in parts if part.step == step)
        assert weight == pytest.approx(1.0)
    assert [part.last for part in ranks[0]].count(True) == 7


def test_a_scenes_seed_does_not_depend_on_the_other_scenes_of_its_part() -> None:
    all_seeds = dict(zip(range(101), sample_seeds(5, 0, np.arange(101)).tolist(), strict=True))
    for part in _parts(Sharing(16, 3, 2, 1)):
        assert [all_seeds[index] for index in part.indices.tolist()] == part.sample_seeds.tolist()
    assert min(all_seeds.values()) >= 0
    assert len(set(all_seeds.values())) == 101
    assert not set(all_seeds.values()) & set(sample_seeds(5, 1, np.arange(101)).tolist())


def test_scenes_of_similar_size_share_a_part() -> None:
    mixed = np.mean([np.ptp(SIZES[part.indices]) for part in _parts(Sharing(64, 64))])
    sorted_parts = np.mean([np.ptp(SIZES[part.indices]) for part in _parts(Sharing(64, 8))])
    assert sorted_parts < mixed / 3


def test_subsets_with_the_same_seed_are_nested() -> None:
    sets = [set(subset(1000, fraction, 3).tolist()) for fraction in (0.01, 0.1, 0.5, 1.0)]
    assert [len(rows) for rows in sets] == [10, 100, 500, 1000]
    assert all(small < large for small, large in zip(sets, sets[1:], strict=False))
    assert set(subset(1000, 0.1, 4).tolist()) != sets[1]
    assert len(subset(3, 0.01, 0)) == 1


@pytest.mark.parametrize(("global_batch_size", "micro_batch_size"), [(8, 8), (8, 3), (7, 2), (50, 4), (21, 21)])
def test_number_of_forward_passes_per_epoch_is_known_in_advance(
    tmp_path: Path, global_batch_size: int, micro_batch_size: int
) -> None:
    batches = tiny_batches(write_store(tmp_path / "store", 21), Sharing(global_batch_size, micro_batch_size))
    assert len(list(batches.parts(0))) == batches.parts_per_epoch


def test_loading_processes_do_not_change_the_batches(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", 21)
    without_workers, with_workers = (tiny_batches(store, Sharing(8, 3), workers) for workers in (0, 2))
    for epoch in (0, 1):
        for (part, batch), (other_part, other) in zip(
            without_workers.epoch(epoch), with_workers.epoch(epoch), strict=True
        ):
            assert part.indices.tolist() == other_part.indices.tolist()
            assert torch.equal(batch.agent, other.agent)
            assert torch.equal(batch.sample_seeds, other.sample_seeds)


def test_training_without_scenes_is_refused(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", 3)
    with pytest.raises(InputError, match="no scenes to train on"):
        tiny_batches(store, Sharing(8, 8), scenes=0)
