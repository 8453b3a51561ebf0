"""Which scenes make up each step, and how they reach the device; pure functions of (seed, epoch).

The batch of a step does not depend on the number of devices or loading processes, nor on the variant: a device takes
its share of the same global batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset, Sampler

from synthdrive.core.errors import InputError
from synthdrive.core.seeding import GAMMA, generator, item_seed, shift_right, splitmix64
from synthdrive.scenes.scene_store import SceneStore

Collate = Callable[[SceneStore, Sequence[int], Sequence[int] | None], Any]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sharing:
    """How one global batch is divided.

    Attributes:
        global_batch_size: scenes per optimiser step, over all devices.
        micro_batch_size: most scenes in one forward pass.
        processes: number of devices.
        rank: which of them this process drives.
    """

    global_batch_size: int
    micro_batch_size: int
    processes: int = 1
    rank: int = 0

    def parts(self, size: int) -> int:
        """Forward passes per device for a batch of `size` scenes; the same on every device."""
        share = -(-size // self.processes)
        return -(-share // self.micro_batch_size)


@dataclass(frozen=True)
class Part:
    """The scenes of one forward pass.

    Attributes:
        indices: (N,) int64, scenes of the store.
        sample_seeds: (N,) int64, seed of each scene in this epoch.
        weight: this part's share of the global batch; 0 where a device has no scene left and takes one along unseen.
        step: optimiser step within the epoch.
        last: whether the optimiser steps after it.
    """

    indices: Indices
    sample_seeds: npt.NDArray[np.int64]
    weight: float
    step: int
    last: bool


def steps_per_epoch(scenes: int, batch: int) -> int:
    """Optimiser steps of an epoch; the last one takes what is left (docs/method.md 1.1: 3,218 steps of 64)."""
    return -(-scenes // batch)


def subset(size: int, fraction: float, seed: int) -> Indices:
    """Rows of a fraction of `size` scenes, rising; for one seed the smaller subsets lie within the larger."""
    count = max(1, round(size * fraction))
    if count >= size:
        return np.arange(size, dtype=np.int64)
    return np.sort(generator(seed, "subset").permutation(size)[:count]).astype(np.int64)


def sample_seeds(seed: int, epoch: int, indices: Indices) -> npt.NDArray[np.int64]:
    """(N,) int64, at least 0: the seed of each scene's random draws in this epoch."""
    state = item_seed(seed, "sample", epoch) + indices * GAMMA
    seeds: npt.NDArray[np.int64] = shift_right(splitmix64(state), 1)
    return seeds


def epoch_parts(
    indices: Indices, sizes: npt.NDArray[np.int64], seed: int, epoch: int, sharing: Sharing
) -> Iterator[Part]:
    """The forward passes of one epoch on one device, in order.

    Args:
        indices: (N,) scenes to train on.
        sizes: (S,) cost of every scene of the store; scenes of a batch are passed on in this order, so that those
            padded to one another are of a kind. The sum over the batch stays the same.
        seed, epoch: settle the order of the scenes.
    """
    order = indices[generator(seed, "order", epoch).permutation(len(indices))]
    for step in range(steps_per_epoch(len(order), sharing.global_batch_size)):
        whole = order[step * sharing.global_batch_size : (step + 1) * sharing.global_batch_size]
        whole = whole[np.argsort(sizes[whole], kind="stable")]
        parts = np.array_split(whole[sharing.rank :: sharing.processes], sharing.parts(len(whole)))
        for number, part in enumerate(parts):
            scenes = part if len(part) else whole[:1]
            yield Part(
                scenes, sample_seeds(seed, epoch, scenes), len(part) / len(whole), step, number == len(parts) - 1
            )


def scene_sizes(store: SceneStore) -> npt.NDArray[np.int64]:
    """(S,) int64, polylines (tracks and lanes) of every scene."""
    return np.diff(store.scene_tracks) + np.diff(store.lane_offsets)


class SceneBatches:
    """Collated scenes of a store, epoch by epoch, in constant memory: the arrays stay memory-mapped.

    Args:
        store: directory of the scene store; loading processes open it themselves.
        indices: (N,) scenes to train on.
        seed: settles order and sample seeds.
        sharing: how a global batch is divided.
        collate: makes a batch of scenes.
        workers: loading processes; 0 loads in this one. It changes no number.
        pin: page-locked memory, for a CUDA device.

    Raises:
        InputError: the store is damaged or holds no future, or there is nothing to train on.
    """

    def __init__(
        self,
        store: Path,
        indices: Indices,
        seed: int,
        sharing: Sharing,
        collate: Collate,
        workers: int = 0,
        pin: bool = False,
    ) -> None:
        if not len(indices):
            raise InputError(store, "no scenes to train on", "one at least")
        self.indices, self.seed, self.sharing = indices, seed, sharing
        self._scenes = _Scenes(store, collate)
        self._plan = _Plan(self)
        self._loader = DataLoader(
            self._scenes,
            sampler=self._plan,
            batch_size=None,
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=workers > 0,
            multiprocessing_context="forkserver" if workers else None,
        )

    @property
    def steps(self) -> int:
        """Optimiser steps of an epoch."""
        return steps_per_epoch(len(self.indices), self.sharing.global_batch_size)

    @property
    def parts_per_epoch(self) -> int:
        """Forward passes of an epoch on each device."""
        whole, rest = divmod(len(self.indices), self.sharing.global_batch_size)
        return whole * self.sharing.parts(self.sharing.global_batch_size) + self.sharing.parts(rest)

    @property
    def store(self) -> SceneStore:
        """The store, as this process sees it."""
        return self._scenes.store

    def parts(self, epoch: int) -> Iterator[Part]:
        """What each forward pass of an epoch is made of, without loading it."""
        return epoch_parts(self.indices, self._scenes.sizes, self.seed, epoch, self.sharing)

    def epoch(self, epoch: int) -> Iterator[tuple[Part, Any]]:
        """Every forward pass of an epoch on this device: what it is made of, and its batch."""
        self._plan.epoch = epoch
        yield from zip(self.parts(epoch), self._loader, strict=True)

    def collate(self, part: Part) -> Any:
        """The batch of one part, made in this process."""
        return self._scenes[part]


class _Scenes(Dataset[Any]):
    """Collates a part; travels to loading processes as a path alone."""

    def __init__(self, directory: Path, collate: Collate, check: bool = True) -> None:
        self._directory, self._collate = Path(directory), collate
        self.store = SceneStore.load(self._directory, check)
        self.store.require_future(self._directory)
        self.sizes = scene_sizes(self.store)

    def __getitem__(self, part: Part) -> Any:
        return self._collate(self.store, part.indices.tolist(), part.sample_seeds.tolist())

    def __getstate__(self) -> dict[str, Any]:
        return {"directory": self._directory, "collate": self._collate}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["directory"], state["collate"], check=False)  # type: ignore[misc]


class _Plan(Sampler[Part]):
    """The parts of the current epoch."""

    def __init__(self, batches: SceneBatches) -> None:
        self._batches, self.epoch = batches, 0

    def __iter__(self) -> Iterator[Part]:
        return self._batches.parts(self.epoch)
