"""The scenes of each training step, as functions of seed and epoch, and their loading.

The global batch of a step does not depend on the number of devices or loading processes, nor on the variant; each
device takes its share of it.
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
    """Division of a global batch among devices and forward passes.

    Attributes:
        global_batch_size: number of scenes in an optimiser step, over all devices.
        micro_batch_size: largest number of scenes in one forward pass.
        processes: number of processes, one for each device.
        rank: number of this process, from 0.
    """

    global_batch_size: int
    micro_batch_size: int
    processes: int = 1
    rank: int = 0

    def parts(self, size: int) -> int:
        """Return the number of forward passes on each device for a global batch of `size` scenes."""
        share = -(-size // self.processes)
        return -(-share // self.micro_batch_size)


@dataclass(frozen=True)
class Part:
    """The scenes of one forward pass, a part of the global batch.

    Attributes:
        indices: (N,) int64, scenes of the store.
        sample_seeds: (N,) int64, seed of each scene in this epoch.
        weight: fraction of the global batch; 0 if the device has no scene left and runs on one that does not count.
        step: optimiser step within the epoch, from 0.
        last: whether this is the last part before the optimiser step.
    """

    indices: Indices
    sample_seeds: npt.NDArray[np.int64]
    weight: float
    step: int
    last: bool


def steps_per_epoch(scenes: int, batch: int) -> int:
    """Return the number of optimiser steps in an epoch; the last batch may be smaller (docs/method.md 1.1)."""
    return -(-scenes // batch)


def subset(size: int, fraction: float, seed: int) -> Indices:
    """Draw a fraction of `size` scenes, ascending (N,); smaller subsets of a seed are contained in larger ones."""
    count = max(1, round(size * fraction))
    if count >= size:
        return np.arange(size, dtype=np.int64)
    return np.sort(generator(seed, "subset").permutation(size)[:count]).astype(np.int64)


def sample_seeds(seed: int, epoch: int, indices: Indices) -> npt.NDArray[np.int64]:
    """Return the seeds (N,) int64, at least 0, of the scenes' random draws in an epoch."""
    state = item_seed(seed, "sample", epoch) + indices * GAMMA
    seeds: npt.NDArray[np.int64] = shift_right(splitmix64(state), 1)
    return seeds


def epoch_parts(
    indices: Indices, sizes: npt.NDArray[np.int64], seed: int, epoch: int, sharing: Sharing
) -> Iterator[Part]:
    """Yield the forward passes of one epoch on one device, in order.

    Args:
        indices: (N,) scenes to train on.
        sizes: (S,) size of every scene of the store. Scenes of a batch are sorted by it, so that scenes of similar size
            are padded together; the sum over the batch stays the same.
        seed, epoch: determine the order of the scenes.
        sharing: division of the global batch.
    """
    order = indices[generator(seed, "order", epoch).permutation(len(indices))]
    for step in range(steps_per_epoch(len(order), sharing.global_batch_size)):
        batch = order[step * sharing.global_batch_size : (step + 1) * sharing.global_batch_size]
        batch = batch[np.argsort(sizes[batch], kind="stable")]
        parts = np.array_split(batch[sharing.rank :: sharing.processes], sharing.parts(len(batch)))
        for number, part in enumerate(parts):
            scenes = part if len(part) else batch[:1]
            yield Part(
                scenes, sample_seeds(seed, epoch, scenes), len(part) / len(batch), step, number == len(parts) - 1
            )


def scene_sizes(store: SceneStore) -> npt.NDArray[np.int64]:
    """Return the number (S,) int64 of polylines (tracks and lanes) in every scene."""
    return np.diff(store.scene_tracks) + np.diff(store.lane_offsets)


class SceneBatches:
    """Batches of a scene store, epoch by epoch, in constant memory: the arrays stay memory-mapped.

    Args:
        store: folder of the scene store; each loading process opens it again.
        indices: (N,) scenes to train on.
        seed: determines the order of scenes and the sample seeds.
        sharing: division of the global batch.
        collate: function that makes a batch of scenes.
        workers: number of loading processes; 0 loads in this process. The batches do not depend on it.
        pin: put batches into page-locked memory, for a CUDA device.

    Raises:
        InputError: the store is damaged or has no future, or there are no scenes to train on.
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
            raise InputError(store, "no scenes to train on", "at least one")
        self.indices, self.seed, self.sharing = indices, seed, sharing
        self._dataset = _PartDataset(store, collate)
        self._sampler = _PartSampler(self)
        self._loader = DataLoader(
            self._dataset,
            sampler=self._sampler,
            batch_size=None,
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=workers > 0,
            multiprocessing_context="forkserver" if workers else None,
        )

    @property
    def steps(self) -> int:
        """Number of optimiser steps in an epoch."""
        return steps_per_epoch(len(self.indices), self.sharing.global_batch_size)

    @property
    def parts_per_epoch(self) -> int:
        """Number of forward passes in an epoch on each device."""
        whole, rest = divmod(len(self.indices), self.sharing.global_batch_size)
        return whole * self.sharing.parts(self.sharing.global_batch_size) + self.sharing.parts(rest)

    @property
    def store(self) -> SceneStore:
        """The store, as opened by this process."""
        return self._dataset.store

    def parts(self, epoch: int) -> Iterator[Part]:
        """Yield the forward passes of an epoch without loading their batches."""
        return epoch_parts(self.indices, self._dataset.sizes, self.seed, epoch, self.sharing)

    def epoch(self, epoch: int) -> Iterator[tuple[Part, Any]]:
        """Yield the forward passes of an epoch on this device with their batches."""
        self._sampler.epoch = epoch
        yield from zip(self.parts(epoch), self._loader, strict=True)

    def collate(self, part: Part) -> Any:
        """Make the batch of a forward pass in this process."""
        return self._dataset[part]


class _PartDataset(Dataset[Any]):
    """Dataset that maps a `Part` to its batch; only the store's path is pickled for loading processes."""

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


class _PartSampler(Sampler[Part]):
    """Sampler that yields the parts of the current epoch."""

    def __init__(self, batches: SceneBatches) -> None:
        self._batches, self.epoch = batches, 0

    def __iter__(self) -> Iterator[Part]:
        return self._batches.parts(self.epoch)
