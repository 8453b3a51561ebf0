"""Targets of fuzz.py: each reader, valid files to start from, and checks of what it reads."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from small_maps import fork, lanelet_street, osm

from argoverse2_data import map_json, parquet, scenario_columns, scenario_id, street_map
from raw_data import scene_rows, straight_map, write_raw
from repository import PARAMS
from synthdrive.config.data import IngestParameters
from synthdrive.config.synthetic_data import AugmentParameters
from synthdrive.core.parameters import load_section
from synthdrive.core.timing import ARGOVERSE2
from synthdrive.formats.archives import Limits, read_files
from synthdrive.formats.argoverse1_map_reader import read_map
from synthdrive.formats.argoverse1_scene_reader import read_scene
from synthdrive.formats.argoverse1_writers import scene_csv, vector_map_xml
from synthdrive.formats.argoverse2_map_reader import read_vehicle_lanes
from synthdrive.formats.argoverse2_scene_reader import read_scenario
from synthdrive.ingestion.argoverse1 import ingest_maps, ingest_scenes
from synthdrive.map_import.lanelet2 import read_lanelet2
from synthdrive.map_import.opendrive_lanes import read_opendrive
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import SceneStore


@dataclass(frozen=True)
class Target:
    """Valid files, and a function that reads a damaged one and checks the result."""

    seeds: list[bytes]
    read: Callable[[bytes], object]


def vector_map(folder: Path) -> Target:
    """Target: a vector map of Argoverse 1."""
    return Target([vector_map_xml(straight_map())], lambda content: read_map(content, "TST", "x.xml"))


def opendrive(folder: Path) -> Target:
    """Target: an OpenDRIVE file."""
    return Target([fork(), fork("LHT")], lambda content: read_opendrive(content, "x.xodr", skip_broken=True))


def lanelet2(folder: Path) -> Target:
    """Target: an .osm file with lanelets."""
    return Target([osm(*lanelet_street())], lambda content: read_lanelet2(content, "x.osm", skip_broken=True))


def scene(folder: Path) -> Target:
    """Target: the CSV file of a scene of Argoverse 1."""

    def read(content: bytes) -> None:
        found = read_scene(content, "train/data/1.csv")
        assert np.isfinite(found.xy).all()
        assert found.track_lengths.sum() == len(found.xy)

    return Target([scene_csv(scene_rows(number, others=number)) for number in (1, 2)], read)


def scenario(folder: Path) -> Target:
    """Target: the Parquet file of a scenario of Argoverse 2."""

    def read(content: bytes) -> None:
        found = read_scenario(content, scenario_id(1), "scenario.parquet", ARGOVERSE2)
        assert np.isfinite(found.xy).all()
        assert found.track_lengths.sum() == len(found.xy)

    return Target([parquet(scenario_columns(1))], read)


def local_map(folder: Path) -> Target:
    """Target: the map of a scenario of Argoverse 2."""

    def read(content: bytes) -> None:
        lanes = read_vehicle_lanes(content, "map.json")
        lanes.lane_map("here")
        lanes.crop(1000.0, 50.0, 50.0)

    return Target([map_json(street_map(1))], read)


def archive(folder: Path) -> Target:
    """Target: a tarball, compressed or not, with each format of long names."""
    path = folder / "a.tar.gz"
    seeds = [file.read_bytes() for file in sorted(write_raw(folder / "raw", train=(1,)).glob("*.tar.gz"))]
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=form) as tarball:
            for name in ("a.csv", "d" * 90 + "/" + "e" * (90 if form else 1) + ".csv"):
                entry = tarfile.TarInfo(name)
                entry.size = 3
                tarball.addfile(entry, io.BytesIO(b"abc"))
        seeds.append(stream.getvalue())

    def read(content: bytes) -> None:
        path.write_bytes(content)
        for name, text in read_files(path, lambda name: True, Limits(10**6, 10**7)):
            assert not Path(name).is_absolute()
            assert ".." not in Path(name).parts
            assert len(text) <= 10**6

    return Target(seeds, read)


def store(folder: Path) -> Target:
    """Target: a scene store with one damaged file; the first byte selects the file, the others are its content."""
    raw = write_raw(folder / "raw", train=(1, 2), val=(5,))
    parameters = load_section(IngestParameters, "ingest", PARAMS)
    ingest_maps(raw, folder / "maps", parameters)
    outs = {split: folder / "scenes" / split for split in ("train", "val")}
    ingest_scenes(raw, outs, folder / "maps", parameters, 50.0, workers=1)
    intact, damaged = outs["train"], folder / "store"
    shutil.copytree(intact, damaged)
    files = sorted(path.name for path in intact.iterdir())

    def read(content: bytes) -> None:
        name = files[(content[0] if content else 0) % len(files)]
        (damaged / name).write_bytes(content[1:])
        try:
            loaded = SceneStore.load(damaged)
            for index in range(len(loaded)):
                found = loaded[index]
                assert len(found.xy) == len(found.step) == found.track_offsets[-1]
                loaded.lanes.take(found.lane_rows)
        finally:
            shutil.copyfile(intact / name, damaged / name)

    return Target([bytes([index]) + (intact / name).read_bytes() for index, name in enumerate(files)], read)


def lane_map(folder: Path) -> Target:
    """Target: the safetensors file of a lane map."""
    path = folder / "map.safetensors"
    straight_map().save(path)
    seed = path.read_bytes()

    def read(content: bytes) -> None:
        path.write_bytes(content)
        LaneMap.load(path).lanes_near(0.0, 0.0, 50.0)

    return Target([seed], read)


def parameters(folder: Path) -> Target:
    """Target: a parameter file."""
    path = folder / "params.yaml"
    section = re.search(r"^augment:\n(?:[ #].*\n|\n)*", PARAMS.read_text(encoding="utf-8"), re.MULTILINE)
    assert section is not None
    plain = re.sub(r" *#.*", "", section[0])

    def read(content: bytes) -> None:
        path.write_bytes(content)
        load_section(AugmentParameters, "augment", path)

    return Target([plain.encode(), b"augment: {routes: {}}\n"], read)


TARGETS: dict[str, Callable[[Path], Target]] = {
    "map": vector_map,
    "opendrive": opendrive,
    "lanelet2": lanelet2,
    "scene": scene,
    "scenario": scenario,
    "local-map": local_map,
    "archive": archive,
    "store": store,
    "lane-map": lane_map,
    "parameters": parameters,
}
