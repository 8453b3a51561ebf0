"""Scene stores written in the official Argoverse 1 layout, so that other tools (and our ingest) can read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthdrive.core.errors import InputError
from synthdrive.core.parallel import track
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.formats.argoverse1_writers import SceneRows, write_maps, write_scenes
from synthdrive.scenes.lane_map import NO_LANE, LaneMap, Links
from synthdrive.scenes.scene_store import Scene, SceneStore

FIRST_TRACK_ID = 1
AUGMENTED_PREFIX = "augmap_"


def export_scenes(store: SceneStore, directory: Path, split: str = "train") -> int:
    """Write `hd_maps.tar.gz` and `forecasting_<split>_v1.1.tar.gz` into an existing directory.

    Every augmented scene becomes a city of its own (MIA's 12th is `MIAaug12`), because its lanes are warped in their
    own way. A map holds the lanes of its scenes' crops, without links: a store has none.

    Args:
        store: synthetic or recorded scenes.
        split: train or val.

    Returns:
        how many scenes were written.

    Raises:
        InputError: the scenes are of another length than Argoverse 1's.
    """
    ARGOVERSE1.require(store.timing, "scenes, for the layout of Argoverse 1")
    cities = exported_cities(store)
    rows: dict[str, list[npt.NDArray[np.int64]]] = {city: [] for city in sorted(set(cities))}
    for index, city in enumerate(cities):
        rows[city].append(np.asarray(store[index].lane_rows, dtype=np.int64))
    maps = {city: _map_of(store, city, np.unique(np.concatenate(parts))) for city, parts in rows.items()}
    write_maps(directory / "hd_maps.tar.gz", maps)
    return write_scenes(directory / f"forecasting_{split}_v1.1.tar.gz", split, _scenes(store, cities))


def exported_cities(store: SceneStore) -> list[str]:
    """(S,) the name that each scene's map has in the export."""
    if "scene" not in store.manifest.column_names:
        return store.cities
    names = store.manifest["scene"].to_pylist()
    return [
        _city_name(name, city) if name.startswith(AUGMENTED_PREFIX) else city
        for name, city in zip(names, store.cities, strict=True)
    ]


def _city_name(scene: str, city: str) -> str:
    """`augmap_MIA_12` to `MIAaug12`: a city's name has letters and digits only."""
    number = scene.removeprefix(f"{AUGMENTED_PREFIX}{city}_").replace("_", "x")
    return f"{city}aug{number}"


def _map_of(store: SceneStore, city: str, rows: npt.NDArray[np.int64]) -> LaneMap:
    segments = store.lanes.take(rows)
    if len(np.unique(segments.lane_ids)) < len(segments):
        raise InputError(f"scenes of {city}", "two lanes with the same id", "one map's lanes in a city's scenes")
    none = np.full(len(rows), NO_LANE, dtype=np.int64)
    empty: list[list[int]] = [[] for _ in rows]
    return LaneMap(city, segments, none, none.copy(), Links.from_lists(empty), Links.from_lists(empty))


def _scenes(store: SceneStore, cities: list[str]) -> Iterator[tuple[str, SceneRows]]:
    for index in track(range(len(store)), "export", len(store), "scenes"):
        scene = store[index]
        yield scene.scene_id, _rows_of(scene, cities[index])


def _rows_of(scene: Scene, city: str) -> SceneRows:
    """The scene's rows by rising time, AGENT first within a step."""
    lengths = np.diff(scene.track_offsets)
    number = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((number, scene.step))
    return SceneRows(
        timestamps=scene.times[scene.step[order]].astype(np.float64).round(6),
        track_ids=[f"{FIRST_TRACK_ID + track:08d}" for track in number[order].tolist()],
        track_types=scene.track_types[number[order]],
        xy=scene.xy[order].astype(np.float64) + scene.origin,
        city=city,
    )
