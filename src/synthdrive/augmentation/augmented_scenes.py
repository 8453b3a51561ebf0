"""Augmented scenes: a route, a transform of the map around it, and the warped lanes of the corridor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synthdrive.augmentation.transforms import Transform, TransformShape, make_transform
from synthdrive.core.artifacts import read_arrays, read_table, write_arrays, write_table
from synthdrive.core.errors import InputError
from synthdrive.scenes.lane_map import LaneMap, LaneSegments

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

SCENES = "scenes.safetensors"  # a file that no other artifact has

ORIGINAL, AUGMENTED = "original", "augmented"
KEPT = "kept"
AGAIN = "Run augment again."
LEAST_BEND = 0.1  # m; a route whose `bend` is smaller keeps its shape

MANIFEST_COLUMNS = {
    "scene_id": pa.string(),
    "city": pa.string(),
    "route": pa.int64(),
    "source": pa.string(),  # original | augmented
    "transform": pa.string(),  # none | smooth | double | ripple | combination
    "amplitude": pa.float64(),
    "direction": pa.int64(),  # +1 to the left of the axis (city X: greater Y), -1 to its right, 0 on original maps
    "axis": pa.float64(),  # radians, direction along which the transform bends; 0: city X
    "anchor": pa.float64(),  # m, along the axis
    "power": pa.float64(),
    "border": pa.float64(),
    "shift": pa.float64(),
    "wavelength": pa.float64(),
    "length": pa.float64(),  # m along the driven centreline
    "fresh_length": pa.float64(),  # m of the centreline that is fresh
    "min_radius": pa.float64(),  # m, of the tightest bend of the smoothed centreline
    "bend": pa.float64(),  # m, range of the transform's displacements along the centreline; 0: it keeps its shape
    "n_lanes": pa.int64(),  # lanes in the corridor
    "status": pa.string(),  # kept | dropped: <reason>
}

_ORIGIN = "origin"  # entry of the metadata of scenes.safetensors
_ARRAYS = {
    "centreline": ("float64", 2),
    "centreline_fresh": ("bool", 1),
    "centreline_offsets": ("int64", 1),
    "route_lanes": ("int64", 1),
    "route_offsets": ("int64", 1),
    "corridor": ("int64", 1),
    "corridor_offsets": ("int64", 1),
    "lane_offsets": ("int64", 1),
}


@dataclass(frozen=True)
class AugmentedScene:
    """One augmented (or original) scene.

    Attributes:
        scene_id: its name, e.g. `MIA_12` or `augmap_MIA_12`.
        city: city of the map.
        route: index of the route in its city.
        source: ORIGINAL or AUGMENTED.
        transform_kind: none, or one of `transforms.KINDS`.
        amplitude: amplitude of the transform, not negative.
        direction: +1, -1; 0 on original maps.
        transform: the map transform (the identity on original maps).
        centreline: (N, 2) float64, dense centreline of the route on the warped map, metres, city frame.
        fresh: (N,) bool, True where neither an earlier route nor an earlier part of this one has driven.
        route_lanes: (M,) rows of the city's LaneMap.
        corridor: (C,) rows of the city's LaneMap that a map crop along the route may need.
        lanes: the same lanes, warped; None on original maps.
    """

    scene_id: str
    city: str
    route: int
    source: str
    transform_kind: str
    amplitude: float
    direction: int
    transform: Transform
    centreline: Floats
    fresh: npt.NDArray[np.bool_]
    route_lanes: Rows
    corridor: Rows
    lanes: LaneSegments | None


@dataclass(frozen=True)
class AugmentedScenes:
    """S scenes in one artifact: `manifest.parquet`, `lanes.safetensors`, `scenes.safetensors`.

    A dropped scene has a manifest row that gives the reason, but no centreline and no lanes.

    Attributes:
        manifest: S rows of MANIFEST_COLUMNS.
        lanes: warped lanes of all corridors, scene after scene.
        centreline, centreline_fresh: (N, 2) float64, metres, and (N,) bool; the centrelines of all scenes in order.
        centreline_offsets, route_offsets, corridor_offsets, lane_offsets: (S + 1,) int64.
        route_lanes, corridor: (R,) and (C,) int64, rows of the cities' maps.
        map_hashes: `LaneMap.sha256` of each city's map, to whose rows these refer.
        half_width: largest half side of a map crop for which the corridors are wide enough, metres.
    """

    manifest: pa.Table
    lanes: LaneSegments
    centreline: Floats
    centreline_fresh: npt.NDArray[np.bool_]
    centreline_offsets: Rows
    route_lanes: Rows
    route_offsets: Rows
    corridor: Rows
    corridor_offsets: Rows
    lane_offsets: Rows
    map_hashes: Mapping[str, str]
    half_width: float

    def __len__(self) -> int:
        return int(self.manifest.num_rows)

    def kept(self) -> Rows:
        """Return the indices of the scenes that were not dropped, (K,)."""
        return np.flatnonzero(np.array(self.manifest["status"].to_pylist()) == KEPT)

    def __getitem__(self, index: int) -> AugmentedScene:
        if not 0 <= index < len(self):
            raise IndexError(f"scene index {index} is out of range for {len(self)} scenes")
        row: dict[str, Any] = {name: self.manifest[name][index].as_py() for name in MANIFEST_COLUMNS}
        points = slice(*self.centreline_offsets[index : index + 2])
        lanes = np.arange(*self.lane_offsets[index : index + 2])
        transform = Transform()
        if row["source"] == AUGMENTED:
            shape = TransformShape(row["power"], row["border"], row["shift"], row["wavelength"])
            amplitude = row["direction"] * row["amplitude"]
            transform = make_transform(row["transform"], amplitude, row["anchor"], shape, row["axis"])
        return AugmentedScene(
            scene_id=row["scene_id"],
            city=row["city"],
            route=row["route"],
            source=row["source"],
            transform_kind=row["transform"],
            amplitude=row["amplitude"],
            direction=row["direction"],
            transform=transform,
            centreline=self.centreline[points],
            fresh=self.centreline_fresh[points],
            route_lanes=self.route_lanes[slice(*self.route_offsets[index : index + 2])],
            corridor=self.corridor[slice(*self.corridor_offsets[index : index + 2])],
            lanes=self.lanes.take(lanes) if row["source"] == AUGMENTED else None,
        )

    def unbent(self) -> list[str]:
        """Return the ids of the kept augmented scenes whose route keeps its shape."""
        columns = [self.manifest[name].to_pylist() for name in ("scene_id", "source", "bend")]
        rows = list(zip(*columns, strict=True))
        return [rows[index][0] for index in self.kept() if rows[index][1] == AUGMENTED and rows[index][2] < LEAST_BEND]

    def require(self, maps: Mapping[str, LaneMap], half_width: float) -> None:
        """Raise InputError unless the kept scenes were made from these maps, and for map crops of at least this size.

        Args:
            maps: lane map of each city; it may contain others, too.
            half_width: half the side of a map crop, metres.
        """
        for city in sorted({self.manifest["city"][int(index)].as_py() for index in self.kept()}):
            if city not in maps:
                raise InputError("augmented scenes", f"city {city!r}", f"one of the maps: {', '.join(maps)}")
            if self.map_hashes.get(city) != maps[city].sha256:
                raise InputError(
                    f"augmented scenes of {city}", "scenes made from another map", "the map of this city", AGAIN
                )
        if half_width > self.half_width:
            expected = f"at most {self.half_width:g} m, for which the augmented scenes were made"
            raise InputError("scene.map_half_width", f"{half_width:g} m", expected, AGAIN)

    def save(self, directory: Path) -> None:
        """Write the three files into an existing directory."""
        write_table(directory / "manifest.parquet", self.manifest)
        self.lanes.save(directory / "lanes.safetensors")
        # One entry, because safetensors writes several in random order.
        origin = {"maps": dict(self.map_hashes), "half_width": float(self.half_width)}
        metadata = {_ORIGIN: json.dumps(origin, sort_keys=True)}
        write_arrays(directory / SCENES, {name: getattr(self, name) for name in _ARRAYS}, metadata)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote; raise InputError, with the file and what is wrong, if it is damaged."""
        directory = Path(directory)
        manifest = read_table(directory / "manifest.parquet", MANIFEST_COLUMNS)
        arrays, metadata = read_arrays(directory / SCENES, _ARRAYS)
        map_hashes, half_width = _read_origin(metadata, directory / SCENES)
        scenes = cls(
            manifest=manifest,
            lanes=LaneSegments.load(directory / "lanes.safetensors"),
            **{name: arrays[name] for name in _ARRAYS},
            map_hashes=map_hashes,
            half_width=half_width,
        )
        scenes._check(directory)
        return scenes

    def _check(self, directory: Path) -> None:
        for name, size in (
            ("centreline_offsets", len(self.centreline)),
            ("route_offsets", len(self.route_lanes)),
            ("corridor_offsets", len(self.corridor)),
            ("lane_offsets", len(self.lanes)),
        ):
            offsets = getattr(self, name)
            if len(offsets) != len(self) + 1:
                raise InputError(f"{directory}: {name}", f"{len(offsets)} offsets", f"{len(self) + 1}")
            if offsets[0] != 0 or offsets[-1] != size or np.any(np.diff(offsets) < 0):
                found = f"{len(offsets)} offsets up to {offsets[-1]}"
                raise InputError(f"{directory}: {name}", found, f"{len(self) + 1} rising offsets up to {size}")
        points = len(self.centreline)
        for name, shape in (("centreline", (points, 2)), ("centreline_fresh", (points,))):
            if getattr(self, name).shape != shape:
                raise InputError(f"{directory}: {name}", f"shape {getattr(self, name).shape}", f"shape {shape}")


def _read_origin(metadata: Mapping[str, str], path: Path) -> tuple[dict[str, str], float]:
    """Return `map_hashes` and `half_width`, which `save` stored in the file's metadata."""
    try:
        origin = json.loads(metadata.get(_ORIGIN, ""))
    except (ValueError, RecursionError):
        origin = None
    match origin:
        case {"maps": dict(hashes), "half_width": float(half_width)}:
            return hashes, half_width
    raise InputError(path, "metadata without the maps of the scenes", "augmented scenes of this version", AGAIN)


def join_scenes(
    rows: list[dict[str, Any]], scenes: list[AugmentedScene | None], maps: Mapping[str, LaneMap], half_width: float
) -> AugmentedScenes:
    """Build the artifact.

    Args:
        rows: one manifest row per scene.
        scenes: the scenes themselves, None if dropped.
        maps, half_width: see `augment_maps.augment_maps`.
    """
    kept = [scene for scene in scenes if scene is not None]
    lanes = [scene.lanes for scene in kept if scene.lanes is not None]
    sizes = {
        "centreline": [0 if scene is None else len(scene.centreline) for scene in scenes],
        "route": [0 if scene is None else len(scene.route_lanes) for scene in scenes],
        "corridor": [0 if scene is None else len(scene.corridor) for scene in scenes],
        "lane": [0 if scene is None or scene.lanes is None else len(scene.lanes) for scene in scenes],
    }
    offsets = {name: np.concatenate([[0], np.cumsum(values)]).astype(np.int64) for name, values in sizes.items()}
    return AugmentedScenes(
        manifest=pa.table({name: pa.array([r[name] for r in rows], kind) for name, kind in MANIFEST_COLUMNS.items()}),
        lanes=LaneSegments.concatenate(lanes) if lanes else _no_lanes(),
        centreline=np.concatenate([np.zeros((0, 2)), *(scene.centreline for scene in kept)]),
        centreline_fresh=np.concatenate([np.zeros(0, dtype=bool), *(scene.fresh for scene in kept)]),
        centreline_offsets=offsets["centreline"],
        route_lanes=np.concatenate([np.zeros(0, dtype=np.int64), *(scene.route_lanes for scene in kept)]),
        route_offsets=offsets["route"],
        corridor=np.concatenate([np.zeros(0, dtype=np.int64), *(scene.corridor for scene in kept)]),
        corridor_offsets=offsets["corridor"],
        lane_offsets=offsets["lane"],
        map_hashes={city: lane_map.sha256 for city, lane_map in maps.items()},
        half_width=half_width,
    )


def _no_lanes() -> LaneSegments:
    ids = np.zeros(0, dtype=np.int64)
    flags = np.zeros(0, dtype=bool)
    return LaneSegments(ids, np.zeros((0, 10, 2)), ids.copy(), np.zeros(0, dtype=np.int8), flags, flags.copy())
