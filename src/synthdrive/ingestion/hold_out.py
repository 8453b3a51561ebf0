"""Validation folds made from training scenes: whole blocks of a city are held back, as the official split does.

Scenes of one street look alike, so a fold drawn scene by scene would flatter; choices are to be made on such folds and
never on the validation scenes themselves.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthdrive.config.data import IngestParameters
from synthdrive.core.artifacts import atomic_directory
from synthdrive.core.errors import InputError
from synthdrive.core.seeding import item_seed
from synthdrive.ingestion.packing import SKIPPED
from synthdrive.scenes.scene_store import CITY_MAPS, SceneStore, SceneStoreWriter

WRITTEN_AT_ONCE = 1024  # scenes


def fold_of_scenes(store: SceneStore, folds: int, block: float) -> npt.NDArray[np.int64]:
    """(S,) int64 from 0 below `folds`: the fold of the block, `block` metres wide, that each scene's AGENT is in.

    A pure function of city and place: a scene keeps its fold whatever other scenes the store holds.
    """
    cells = np.floor(store.origins / block).astype(np.int64)
    places = zip(store.cities, cells.tolist(), strict=True)
    return np.array([item_seed(0, "fold", city, *cell) % folds for city, cell in places], dtype=np.int64)


def hold_out(scenes: Path, train_out: Path, held_out: Path, parameters: IngestParameters) -> int:
    """Split a store of train scenes into a store to train on and one to judge by.

    Args:
        scenes: what `ingest_scenes` wrote of the train scenes.
        train_out, held_out: folders to write, in that order; the list of skipped scenes goes to both.
        parameters: which fold of how many, and the side of a block.

    Returns:
        How many scenes are held out.

    Raises:
        InputError: all scenes, or none, are of that fold; its folder is then as it was.
    """
    store = SceneStore.load(scenes)
    held = fold_of_scenes(store, parameters.folds, parameters.fold_block) == parameters.fold
    for out, inside in ((train_out, ~held), (held_out, held)):
        with atomic_directory(out) as partial:
            write_scenes(store, np.flatnonzero(inside), partial)
            shutil.copy(scenes / SKIPPED, partial)
    return int(held.sum())


def write_scenes(store: SceneStore, rows: npt.NDArray[np.int64], directory: Path) -> None:
    """Write some scenes of a store as a store of their own; use inside `artifacts.atomic_directory`.

    Raises:
        InputError: there is none to write.
    """
    if not len(rows):
        raise InputError(directory, "no scenes for it", "one at least: other folds, or smaller blocks")
    writer = SceneStoreWriter(directory, store.timing, store.steps == store.timing.steps, store.maps)
    for start in range(0, len(rows), WRITTEN_AT_ONCE):
        writer.append_scenes(store, rows[start : start + WRITTEN_AT_ONCE])
    writer.close(store.manifest.take(rows), store.lanes if store.maps == CITY_MAPS else None)
