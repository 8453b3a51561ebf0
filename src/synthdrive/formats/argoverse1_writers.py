"""Writers of maps, scenes and scene stores in the official Argoverse 1 layout, for other tools and for `ingest`."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthdrive.core.artifacts import atomic_file
from synthdrive.core.errors import InputError
from synthdrive.core.parallel import track
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.formats.archives import add_member, reproducible_tar
from synthdrive.scenes.lane_map import NO_LANE, LaneMap, Links
from synthdrive.scenes.scene_store import LOCAL_MAPS, TRACK_TYPES, Scene, SceneStore

OFFICIAL_MAP_IDS = {"MIA": 10316, "PIT": 10314}  # part of the names of the official files
TURN_DIRECTIONS = {-1: "LEFT", 0: "NONE", 1: "RIGHT"}
HEADER = "TIMESTAMP,TRACK_ID,OBJECT_TYPE,X,Y,CITY_NAME"
SPLITS = ("train", "val", "test_obs")  # folders of the official archives
FIRST_TRACK_ID = 1
AUGMENTED_PREFIX = "augmap_"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_IN_CITY = re.compile(r"[^A-Za-z0-9]")
_FIELD = re.compile(r"[^,\"\s]+")


def map_file_name(city: str) -> str:
    """Return the file name of a city's vector map; for cities not in Argoverse, the number is a hash of the name."""
    number = int.from_bytes(hashlib.blake2b(city.encode(), digest_size=4).digest(), "big")
    return f"pruned_argoverse_{city}_{OFFICIAL_MAP_IDS.get(city, 20000 + number % 80000)}_vector_map.xml"


def vector_map_xml(lane_map: LaneMap) -> bytes:
    """Format a map as an Argoverse 1 vector map: a node for every centreline point, a way with tags for every lane.

    Coordinates are printed so that reading them gives the same float64; heights are not written.
    """
    segments = lane_map.segments
    ids = segments.lane_ids.tolist()
    nodes, ways = list[str](), list[str]()
    for row, (lane_id, count) in enumerate(zip(ids, segments.counts.tolist(), strict=True)):
        first = len(nodes)
        nodes += [
            f'  <node id="{first + k}" x="{x!r}" y="{y!r}" />'
            for k, (x, y) in enumerate(segments.points[row, :count].tolist())
        ]
        left, right = int(lane_map.left[row]), int(lane_map.right[row])
        tags = {
            "has_traffic_control": bool(segments.has_traffic_control[row]),
            "turn_direction": TURN_DIRECTIONS[int(segments.turn[row])],
            "is_intersection": bool(segments.is_intersection[row]),
            "l_neighbor_id": None if left == NO_LANE else ids[left],
            "r_neighbor_id": None if right == NO_LANE else ids[right],
        }
        ways.append(f'  <way lane_id="{lane_id}">')
        ways += [f'    <tag k="{key}" v="{value}" />' for key, value in tags.items()]
        ways += [f'    <nd ref="{node}" />' for node in range(first, first + count)]
        ways += [f'    <tag k="predecessor" v="{ids[other]}" />' for other in lane_map.predecessors.of(row)]
        ways += [f'    <tag k="successor" v="{ids[other]}" />' for other in lane_map.successors.of(row)]
        ways.append("  </way>")
    head = ["<?xml version='1.0' encoding='UTF-8'?>", "<ArgoverseVectorMap>"]
    return ("\n".join([*head, *nodes, *ways, "</ArgoverseVectorMap>"]) + "\n").encode()


def write_maps(path: Path, maps: Mapping[str, LaneMap]) -> None:
    """Write hd_maps.tar.gz with a vector map for each city, sorted by name; equal maps give equal bytes.

    Args:
        path: the .tar.gz file, written atomically.
        maps: lane maps by city code (three letters in Argoverse).
    """
    with atomic_file(path) as partial, partial.open("wb") as stream, reproducible_tar(stream) as archive:
        for city in sorted(maps):
            add_member(archive, f"map_files/{map_file_name(city)}", vector_map_xml(maps[city]))


@dataclass(frozen=True)
class SceneRows:
    """The R rows of a scene's CSV file, by rising time, with tracks in any order within a step.

    Attributes:
        timestamps: (R,) float64, seconds.
        track_ids: R track ids.
        track_types: (R,) uint8, indices into scene_store.TRACK_TYPES.
        xy: (R, 2) float64, metres, city frame.
        city: name of the map (MIA, PIT, BER, ...).

    Raises:
        InputError: lengths differ, a value is not finite, or a name contains a comma, quote or whitespace.
    """

    timestamps: npt.NDArray[np.float64]
    track_ids: list[str]
    track_types: npt.NDArray[np.uint8]
    xy: npt.NDArray[np.float64]
    city: str

    def __post_init__(self) -> None:
        rows = len(self.timestamps)
        if self.xy.shape != (rows, 2) or len(self.track_ids) != rows or self.track_types.shape != (rows,):
            found = f"{rows} times, {len(self.track_ids)} ids, {len(self.track_types)} types, xy {self.xy.shape}"
            raise InputError("SceneRows", found, "R times, ids and types, and xy of shape (R, 2)")
        if not (np.isfinite(self.timestamps).all() and np.isfinite(self.xy).all()):
            raise InputError("SceneRows", "a time or position that is NaN or infinite", "finite values")
        if rows and self.track_types.max() >= len(TRACK_TYPES):
            raise InputError("SceneRows.track_types", str(self.track_types.max()), f"below {len(TRACK_TYPES)}")
        for name in {*self.track_ids, self.city}:
            if not _FIELD.fullmatch(name):
                raise InputError("SceneRows", f"name {name!r}", "a name without comma, quote or whitespace")


def scene_csv(rows: SceneRows) -> bytes:
    """Format a scene as an Argoverse 1 CSV file, positions to 1 mm, times to 0.1 us."""
    lines = [HEADER]
    values = zip(rows.timestamps.tolist(), rows.track_ids, rows.track_types.tolist(), *rows.xy.T.tolist(), strict=True)
    for time, track_id, track_type, x, y in values:
        lines.append(f"{time:.7f},{track_id},{TRACK_TYPES[track_type]},{x:.3f},{y:.3f},{rows.city}")
    return ("\n".join(lines) + "\n").encode()


class SceneArchive:
    """An archive opened by `open_scene_archive`, to which scenes are added one by one."""

    def __init__(self, archive: tarfile.TarFile, split: str) -> None:
        self._archive, self._split, self._names = archive, split, set[str]()

    def __len__(self) -> int:
        return len(self._names)

    def add(self, scene_id: str | int, scene: SceneRows | bytes) -> None:
        """Add a scene, given as rows or as the output of `scene_csv`.

        Raises:
            InputError: the id is not a valid file name, or the archive already has it.
        """
        name = str(scene_id)
        if not _NAME.fullmatch(name):
            raise InputError(f"scene id {name!r}", "a name unfit for a file", "letters, digits, dots, dashes")
        if name in self._names:
            raise InputError(f"scene id {name!r}", "the same id twice", "ids that are unique in the archive")
        self._names.add(name)
        content = scene if isinstance(scene, bytes) else scene_csv(scene)
        add_member(self._archive, f"{self._split}/data/{name}.csv", content)


@contextmanager
def open_scene_archive(path: Path, split: str) -> Iterator[SceneArchive]:
    """Open an archive for writing the scenes of one split; the file is created only if the block succeeds.

    Args:
        path: the .tar.gz file, such as forecasting_train_v1.1.tar.gz.
        split: folder in the archive: train, val or test_obs.

    Raises:
        InputError: the split is another one.
    """
    if split not in SPLITS:
        raise InputError("split", repr(split), f"one of {', '.join(SPLITS)}")
    with atomic_file(path) as partial, partial.open("wb") as stream, reproducible_tar(stream) as archive:
        yield SceneArchive(archive, split)


def write_scenes(path: Path, split: str, scenes: Iterable[tuple[str | int, SceneRows | bytes]]) -> int:
    """Write scenes to a tar.gz in constant memory; equal scenes in the same order give equal bytes.

    Returns:
        The number of scenes written.

    Raises:
        InputError: see SceneRows, `SceneArchive.add` and `open_scene_archive`.
    """
    with open_scene_archive(path, split) as archive:
        for scene_id, scene in scenes:
            archive.add(scene_id, scene)
        return len(archive)


def export_scenes(store: SceneStore, directory: Path, split: str = "train") -> int:
    """Write `hd_maps.tar.gz` and `forecasting_<split>_v1.1.tar.gz` into an existing folder.

    Every augmented scene becomes a city of its own (the 12th of MIA is `MIAaug12`), because each has different warped
    lanes, and so does every scene of a store with local maps (`austinscene12`), because these may overlap. A map
    contains the lanes of its scenes' crops, without links, which a store does not have.

    Args:
        store: synthetic or recorded scenes.
        split: train or val.

    Returns:
        The number of scenes written.

    Raises:
        InputError: the scenes do not have the timing of Argoverse 1.
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
    """Return the name of each scene's map in the export, (S,)."""
    if store.maps == LOCAL_MAPS:
        return [f"{_NOT_IN_CITY.sub('', city)}scene{index}" for index, city in enumerate(store.cities)]
    if "scene" not in store.manifest.column_names:
        return store.cities
    names = store.manifest["scene"].to_pylist()
    return [
        _city_name(name, city) if name.startswith(AUGMENTED_PREFIX) else city
        for name, city in zip(names, store.cities, strict=True)
    ]


def _city_name(scene: str, city: str) -> str:
    """Convert a scene's name to a city's, which has only letters and digits: `augmap_MIA_12` to `MIAaug12`."""
    number = scene.removeprefix(f"{AUGMENTED_PREFIX}{city}_").replace("_", "x")
    return f"{city}aug{number}"


def _map_of(store: SceneStore, city: str, rows: npt.NDArray[np.int64]) -> LaneMap:
    segments = store.lanes.take(rows)
    if len(np.unique(segments.lane_ids)) < len(segments):
        raise InputError(f"scenes of {city}", "two lanes with the same id", "lanes of a single map")
    none = np.full(len(rows), NO_LANE, dtype=np.int64)
    empty: list[list[int]] = [[] for _ in rows]
    return LaneMap(city, segments, none, none.copy(), Links.from_lists(empty), Links.from_lists(empty))


def _scenes(store: SceneStore, cities: list[str]) -> Iterator[tuple[str, SceneRows]]:
    for index in track(range(len(store)), "export", len(store), "scenes"):
        scene = store[index]
        yield scene.scene_id, _rows_of(scene, cities[index])


def _rows_of(scene: Scene, city: str) -> SceneRows:
    """Return the rows of a scene by rising time, AGENT first within a step."""
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
