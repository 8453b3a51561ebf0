"""The data of each fold: training scenes, evaluated scenes, synthetic windows; made once, in the work folder.

`<work>/maps`, `<work>/all` and `<work>/augmented` are shared by all folds. `<work>/<fold>/` contains the data of one
fold, and `<work>/<fold>-inner/` the data on which its recipes are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from studies.argoverse1_folds.plan import NONE, REALISTIC, Plan, Run
from studies.argoverse1_folds.realism import fitted
from synthdrive.augmentation.augment_maps import augment_maps
from synthdrive.config.data import IngestParameters
from synthdrive.config.synthetic_data import AugmentParameters, SynthesizeParameters
from synthdrive.core.artifacts import atomic_directory, atomic_file
from synthdrive.core.parallel import local_executor
from synthdrive.core.schema import from_values
from synthdrive.ingestion.argoverse1 import ingest_maps, ingest_scenes
from synthdrive.ingestion.scene_subsets import (
    balanced_folds,
    blocks_of_scenes,
    near_held_out,
    pool_scenes,
    write_scenes,
)
from synthdrive.scenes.lane_map import load_maps
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.data import subset

Rows = npt.NDArray[np.int64]
Stage = Callable[[str, Mapping[str, object]], float]
"""Runs a stage with its options and returns the CPU seconds it took."""


@dataclass(frozen=True)
class Stores:
    """All data of the study.

    Attributes:
        work: work folder; parameters: whole content of the study's parameter file; plan: the study's plan.
    """

    work: Path
    parameters: Mapping[str, Any]
    plan: Plan
    _locks: dict[Path, Lock] = field(default_factory=dict, repr=False, compare=False)

    def only_one(self, path: Path) -> Lock:
        """Return the lock to hold while making this path, since parallel runs may need it too."""
        return self._locks.setdefault(path, Lock())

    @property
    def ingest(self) -> IngestParameters:
        """Parameters by which scenes are read and divided into folds."""
        return from_values(IngestParameters, self.parameters["ingest"], "ingest")

    def make_shared(self, raw: Path) -> None:
        """Make maps, the store of all scenes and augmented scenes, unless they exist."""
        half_width = float(self.parameters["scene"]["map_half_width"])
        if not (self.work / "all").is_dir():
            ingest_maps(raw, self.work / "maps", self.ingest)
            parts = {split: self.work / f"official-{split}" for split in ("train", "val")}
            ingest_scenes(raw, parts, self.work / "maps", self.ingest, half_width)
            pool_scenes(list(parts.values()), self.work / "all")
        if not (self.work / "augmented").is_dir():
            augment = from_values(AugmentParameters, self.parameters["augment"], "augment")
            with local_executor() as executor:
                scenes = augment_maps(load_maps(self.work / "maps"), augment, half_width, executor)
            with atomic_directory(self.work / "augmented") as partial:
                scenes.save(partial)

    def folds(self, store: SceneStore) -> Rows:
        """Return the (S,) folds of the scenes."""
        return balanced_folds(store, self.plan.folds, self.ingest.fold_block)

    def describe_scenes(self) -> dict[str, list[Any]]:
        """Return columns scene, city, fold and block of all scenes, ordered by fold, as lists of equal length."""
        store = SceneStore.load(self.work / "all")
        folds = self.folds(store)
        blocks = blocks_of_scenes(store, self.ingest.fold_block)
        order = np.argsort(folds, kind="stable").tolist()
        return {
            "scene": [store.scene_ids[row] for row in order],
            "city": [store.cities[row] for row in order],
            "fold": [int(folds[row]) for row in order],
            "block": ["_".join(map(str, blocks[row])) for row in order],
        }

    def folder(self, run: Run) -> Path:
        """Return the folder with the data of a run's fold."""
        return self.work / (f"{run.fold}" if run.trial is None else f"{run.fold}-inner")

    def make_scenes(self, run: Run) -> Path:
        """Make the fold's stores unless they exist: `train`, `judged` (evaluated) and `away` (windows avoid these).

        Recipes are tried on an inner validation fold, split from the training scenes; the test fold is in neither part.

        Returns:
            The folder with the three stores.
        """
        folder = self.folder(run)
        with self.only_one(folder):
            if not (folder / "away").is_dir():
                self._write_scenes(run, folder)
        return folder

    def _write_scenes(self, run: Run, folder: Path) -> None:
        store = SceneStore.load(self.work / "all")
        folds, inner = self.folds(store), run.inner(self.plan.folds)
        judged = folds == (run.fold if inner is None else inner)
        away = judged | (folds == run.fold)
        train = ~away & ~near_held_out(store, away, self.ingest.fold_distance)
        for name, inside in (("train", train), ("judged", judged), ("away", away)):
            with atomic_directory(folder / name) as partial:
                write_scenes(store, np.flatnonzero(inside), partial)

    def make_windows(self, run: Run, stage: Stage) -> tuple[Path | None, float]:
        """Make the windows for pre-training a run's variant, unless they exist.

        Realistic windows are fitted to the smallest fraction of the scenes that the run's seed trains on. The larger
        fractions contain these scenes, so no windows use information from a scene that their run does not train on.

        Returns:
            The store of windows (None if the variant needs none) and the CPU seconds spent.
        """
        windows = self.plan.variants[run.variant].windows
        if windows == NONE:
            return None, 0.0
        folder, seed = self.make_scenes(run), run.seed(self.plan.folds)
        name = f"{windows}-{seed}" if windows == REALISTIC else windows
        with self.only_one(folder / name):
            if (folder / name).is_dir():
                return folder / name, 0.0
            parameters, scenes = deepcopy(dict(self.parameters)), folder / "train"
            if windows == REALISTIC:
                scenes = self._write_few(folder, seed)
                defaults = from_values(SynthesizeParameters, parameters["synthesize"], "synthesize")
                merge(parameters["synthesize"], fitted(SceneStore.load(scenes), defaults))
            file = folder / f"{name}.yaml"
            write_parameters(parameters, file)
            given: dict[str, object] = {"params": file, "maps": self.work / "maps", "scenes": scenes, "workers": 1}
            given |= {"augmented": self.work / "augmented", "judged": folder / "away", "out": folder / name}
            return folder / name, stage("synthesize", given)

    def _write_few(self, folder: Path, seed: int) -> Path:
        """Write the store of the smallest fraction of the scenes that a seed trains on; returns its folder."""
        store, few = SceneStore.load(folder / "train"), folder / f"few-{seed}"
        usable = np.flatnonzero(np.diff(store.lane_offsets) > 0)
        with atomic_directory(few) as partial:
            write_scenes(store, usable[subset(len(usable), min(self.plan.percents) / 100.0, seed)], partial)
        return few


def merge(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Replace values in place, recursively in nested sections."""
    for key, value in changes.items():
        if isinstance(value, Mapping):
            merge(values.setdefault(key, {}), value)
        else:
            values[key] = value


def write_parameters(parameters: Mapping[str, Any], path: Path) -> None:
    """Write a parameter file for a stage."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        partial.write_text(yaml.safe_dump(dict(parameters), sort_keys=False), encoding="utf-8")
