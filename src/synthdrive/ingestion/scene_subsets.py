"""Subsets of recorded scenes: the scenes of a list, extracted from an official tarball, and folds by place.

Scenes on the same street are alike, so folds drawn scene by scene would give results that are too good. Instead, whole
blocks of a city are held out, as in the official split. A fold of the train scenes serves to make choices without the
validation scenes; folds of the pooled train and validation scenes evaluate every scene once.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.spatial import cKDTree

from synthdrive.config.data import POOLED, IngestParameters
from synthdrive.core.artifacts import atomic_directory, atomic_file, read_json, write_json
from synthdrive.core.errors import InputError
from synthdrive.core.parallel import track
from synthdrive.core.seeding import item_seed
from synthdrive.formats.archives import Limits, add_member, read_files, reproducible_tar
from synthdrive.ingestion.packing import SKIPPED, scene_order
from synthdrive.scenes.lane_map import LaneSegments
from synthdrive.scenes.scene_store import CITY_MAPS, SceneStore
from synthdrive.scenes.scene_store_writer import SceneStoreWriter

WRITTEN_AT_ONCE = 1024  # scenes


def fold_of_scenes(store: SceneStore, folds: int, block: float) -> npt.NDArray[np.int64]:
    """Return (S,) int64, the fold of each scene, from 0: that of the block in which its focal agent is.

    The fold depends only on city and position, not on the other scenes of the store.

    Args:
        folds: number of folds.
        block: side of a block, metres.
    """
    return np.array([item_seed(0, "fold", *place) % folds for place in blocks_of_scenes(store, block)], dtype=np.int64)


def balanced_folds(store: SceneStore, folds: int, block: float) -> npt.NDArray[np.int64]:
    """Return (S,) int64, the fold of each scene, from 0, with folds of similar size in each city and overall.

    Blocks are assigned from the fullest to the emptiest, each to the fold with the fewest scenes of its city and, among
    equals, the smallest fold. A scene's fold thus depends on the other scenes of the store.

    Args:
        folds: number of folds.
        block: side of a block, metres.
    """
    places = blocks_of_scenes(store, block)
    fold_of: dict[tuple[str, int, int], int] = {}
    in_city: Counter[tuple[str, int]] = Counter()
    overall: Counter[int] = Counter()
    for place, size in sorted(Counter(places).items(), key=lambda item: (-item[1], item[0])):
        city = place[0]
        fold_of[place] = chosen = min(range(folds), key=lambda fold: (in_city[city, fold], overall[fold], fold))
        in_city[city, chosen] += size
        overall[chosen] += size
    return np.array([fold_of[place] for place in places], dtype=np.int64)


def blocks_of_scenes(store: SceneStore, block: float) -> list[tuple[str, int, int]]:
    """Return city, column and row of the block, `block` metres wide, in which each scene's focal agent is."""
    cells = np.floor(store.origins / block).astype(np.int64)
    return [(city, int(column), int(row)) for city, (column, row) in zip(store.cities, cells, strict=True)]


def pool_scenes(sources: Sequence[Path], out: Path) -> None:
    """Join stores written by `ingest_scenes` with the same maps, in the order of the scenes' ids.

    Raises:
        InputError: two stores contain the same scene.
    """
    stores = [SceneStore.load(source) for source in sources]
    names = [name for store in stores for name in store.scene_ids]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        where = ", ".join(map(str, sources))
        raise InputError(where, f"scene {twice[0]} and {len(twice) - 1} others in both", "each scene once")
    with atomic_directory(out) as partial:
        writer = _writer_like(stores[0], partial)
        for store in stores:
            _append(writer, store, np.arange(len(store)))
        order = np.array(sorted(range(len(names)), key=lambda row: scene_order(names[row])), dtype=np.int64)
        manifest = pa.concat_tables([store.manifest for store in stores])
        writer.close(manifest, _city_lanes(stores[0]), order)
        write_json(partial / SKIPPED, [item for source in sources for item in read_json(source / SKIPPED)])


def hold_out(scenes: Path, train_out: Path, held_out: Path, parameters: IngestParameters) -> tuple[int, int]:
    """Split a store into a store of train scenes and one of held-out scenes.

    Args:
        scenes: the store of train scenes, or of all scenes as written by `pool_scenes`.
        train_out, held_out: folders to write to; both get the list of skipped scenes.
        parameters: fold, number of folds, size of a block, and the smallest distance between train and held-out scenes.
            Pooled scenes get balanced folds.

    Returns:
        The number of held-out scenes, and of scenes left out because they are too near to one of these.

    Raises:
        InputError: the fold contains all scenes or none; the folder of the empty part is then unchanged.
    """
    store = SceneStore.load(scenes)
    folds_of = balanced_folds if parameters.validation == POOLED else fold_of_scenes
    held = folds_of(store, parameters.folds, parameters.fold_block) == parameters.fold
    near = ~held & near_held_out(store, held, parameters.fold_distance)
    for out, inside in ((train_out, ~held & ~near), (held_out, held)):
        with atomic_directory(out) as partial:
            write_scenes(store, np.flatnonzero(inside), partial)
            shutil.copy(scenes / SKIPPED, partial)
    return int(held.sum()), int(near.sum())


def near_held_out(store: SceneStore, held: npt.NDArray[np.bool_], distance: float) -> npt.NDArray[np.bool_]:
    """Return (S,) bool, True if the focal agent is less than `distance` metres from that of a held-out scene.

    Args:
        held: (S,) bool, the held-out scenes.
    """
    near = np.zeros(len(store), dtype=np.bool_)
    if distance > 0:
        cities = np.array(store.cities)
        for city in np.unique(cities[held]):
            rows = np.flatnonzero(cities == city)
            away, _ = cKDTree(store.origins[rows[held[rows]]]).query(store.origins[rows])
            near[rows] = away < distance
    return near


def write_scenes(store: SceneStore, rows: npt.NDArray[np.int64], directory: Path) -> None:
    """Write the scenes `rows` (N,) of a store as a new store; use it inside `artifacts.atomic_directory`.

    Raises:
        InputError: `rows` is empty.
    """
    if not len(rows):
        raise InputError(directory, "no scenes for it", "at least one scene", "Choose other folds or smaller blocks.")
    writer = _writer_like(store, directory)
    _append(writer, store, rows)
    writer.close(store.manifest.take(rows), _city_lanes(store))


def _writer_like(store: SceneStore, directory: Path) -> SceneStoreWriter:
    return SceneStoreWriter(directory, store.timing, store.steps == store.timing.steps, store.maps)


def _append(writer: SceneStoreWriter, store: SceneStore, rows: npt.NDArray[np.int64]) -> None:
    for start in range(0, len(rows), WRITTEN_AT_ONCE):
        writer.append_scenes(store, rows[start : start + WRITTEN_AT_ONCE])


def _city_lanes(store: SceneStore) -> LaneSegments | None:
    """Return the lanes for `SceneStoreWriter.close`; None for local maps, which are written with their scenes."""
    return store.lanes if store.maps == CITY_MAPS else None


def read_ids(path: Path) -> list[str]:
    """Read the scene ids of a text file, one per line.

    Raises:
        InputError: the file is missing, empty, not plain ASCII text, or names a scene twice.
    """
    try:
        lines = Path(path).read_text(encoding="ascii").split()
    except FileNotFoundError:
        raise InputError(path, "no such file", "scene ids, one per line") from None
    except OSError as error:
        raise InputError(path, f"a file that cannot be read ({error.strerror})", "scene ids, one per line") from None
    except UnicodeDecodeError:
        raise InputError(path, "characters that are not ASCII", "scene ids, one per line") from None
    if not lines:
        raise InputError(path, "no id", "scene ids, one per line")
    if len(set(lines)) < len(lines):
        twice = next(name for place, name in enumerate(lines) if name in lines[:place])
        raise InputError(path, f"{twice} twice", "each id once")
    return lines


def select_scenes(source: Path, ids: list[str], split: str, out: Path, limits: Limits) -> None:
    """Copy the files of some scenes to a reproducible tarball, as `<split>/data/<id>.csv`.

    Args:
        source: an official tarball of any split, or a folder with its contents.
        ids: ids of the scenes; the tarball has them in the order of scene stores (`packing.scene_order`).
        split: split under which they are written.

    Raises:
        InputError: the source is missing or damaged, or lacks a scene; nothing is then written to `out`.
    """
    wanted = set(ids)
    found: dict[str, bytes] = {}
    files = read_files(source, lambda name: _is_wanted(name, wanted), limits)
    for name, content in track(files, "select_scenes", len(wanted), "scenes"):
        scene = PurePosixPath(name).stem
        if scene in found:
            raise InputError(f"{source}: {name}", f"scene {scene} again", "each scene once")
        found[scene] = content
        if len(found) == len(wanted):
            break
    missing = sorted(wanted - found.keys())
    if missing:
        raise InputError(source, f"no scene {', '.join(missing[:5])} ({len(missing)} missing)", f"all {len(wanted)}")
    with atomic_file(out) as partial, partial.open("wb") as stream, reproducible_tar(stream) as archive:
        for name in sorted(found, key=scene_order):
            add_member(archive, f"{split}/data/{name}.csv", found[name])


def _is_wanted(name: str, wanted: set[str]) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() == ".csv" and path.stem in wanted
