"""Tests of damaged artifacts: truncated ones are refused; those with a flipped bit are refused or valid."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from raw_data import straight_map
from synthdrive.augmentation.augmented_scenes import MANIFEST_COLUMNS, AugmentedScenes, join_scenes
from synthdrive.core.artifacts import read_arrays, read_json, read_table, write_arrays, write_json, write_table
from synthdrive.core.errors import InputError
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.formats.archives import Limits, read_files
from synthdrive.formats.argoverse1_map_reader import read_maps
from synthdrive.formats.argoverse1_writers import SceneRows, scene_csv, write_maps, write_scenes
from synthdrive.scenes.lane_map import LaneMap, Links
from tools.wheels import read_lock

LIMITS = Limits(10**7, 10**8)
ALLOW_SLOW_TESTS = [HealthCheck.too_slow]  # the machine may be busy
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@dataclass(frozen=True)
class Kind:
    """A kind of artifact: how it is drawn, written, read, and used by its readers."""

    drawn: st.SearchStrategy[Any]
    write: Callable[[Any, Path], None]
    read: Callable[[Path], Any]
    use: Callable[[Any], object] = lambda read: read
    checked: bool = False  # has a checksum: with a flipped bit it is refused or unchanged


def equal(one: Any, other: Any) -> bool:
    """Return whether two values are equal to the last bit."""
    if is_dataclass(one):
        return all(equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, pa.Table):
        return bool(one.schema == other.schema and one.equals(other))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(one == other)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Draw tables of the types in manifests, with missing values and repeated texts."""
    size = draw(st.integers(0, 30))

    def column(values: st.SearchStrategy[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(draw(st.lists(st.none() | values, min_size=size, max_size=size)), kind)

    return pa.table(
        {
            "scene_id": column(TEXTS, pa.string()),
            "city": column(st.sampled_from(["MIA", "PIT"]), pa.string()),
            "x": column(st.floats(allow_nan=False), pa.float64()),
            "n": column(st.integers(-(2**63), 2**63 - 1), pa.int64()),
            "far": column(st.booleans(), pa.bool_()),
        }
    )


@st.composite
def arrays(draw: st.DrawFn) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Draw arrays of the types in artifacts, including empty ones."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    found = {}
    for name in draw(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=4, unique=True)):
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        dtype = draw(st.sampled_from(["float64", "float32", "int64", "int8", "bool"]))
        found[name] = np.asarray(generator.integers(-100, 100, shape)).astype(dtype)
    return found, draw(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=3))


@st.composite
def lane_maps(draw: st.DrawFn) -> LaneMap:
    """Draw a lane map with random name, coordinates and links."""
    lane_map, generator = straight_map(), np.random.default_rng(draw(st.integers(0, 2**32)))
    size = len(lane_map)
    links = [generator.choice(size, generator.integers(0, 4), replace=False).tolist() for _ in range(size)]
    points = np.where(lane_map.segments.valid[..., None], generator.uniform(-1e5, 1e5, (size, 10, 2)), 0.0)
    return LaneMap(
        draw(st.text("ABCxyz09_-", min_size=1, max_size=5)),
        lane_map.segments.with_points(points),
        generator.integers(-1, size, size),
        generator.integers(-1, size, size),
        Links.from_lists(links),
        Links.from_lists(links[::-1]),
    )


@st.composite
def augmented(draw: st.DrawFn) -> AugmentedScenes:
    """Draw augmented scenes whose arrays have random lengths."""
    size, generator = draw(st.integers(0, 5)), np.random.default_rng(draw(st.integers(0, 2**32)))
    lanes = straight_map().segments
    offsets = {name: np.sort(np.append(generator.integers(0, 9, size), 0)) for name in "abc"}
    ends = np.sort(np.append(generator.integers(0, len(lanes), size), 0))
    points = int(offsets["a"][-1])
    columns: dict[str, Any] = {
        name: {pa.string(): "none", pa.int64(): 0, pa.float64(): 1.0}[kind] for name, kind in MANIFEST_COLUMNS.items()
    }
    columns |= {"source": "original", "status": "kept", "scene_id": draw(TEXTS)}
    return AugmentedScenes(
        manifest=pa.table({name: pa.array([columns[name]] * size, kind) for name, kind in MANIFEST_COLUMNS.items()}),
        lanes=lanes.take(np.arange(ends[-1])),
        centreline=generator.normal(0, 100, (points, 2)),
        centreline_fresh=generator.random(points) < 0.5,
        centreline_offsets=offsets["a"],
        route_lanes=generator.integers(0, 9, offsets["b"][-1]),
        route_offsets=offsets["b"],
        corridor=generator.integers(0, 9, offsets["c"][-1]),
        corridor_offsets=offsets["c"],
        lane_offsets=ends,
        map_hashes=draw(st.dictionaries(TEXTS, TEXTS, max_size=3)),
        half_width=draw(st.floats(1.0, 1000.0)),
    )


@st.composite
def forecasts(draw: st.DrawFn) -> Forecasts:
    """Draw forecasts of a few scenes."""
    names = draw(st.lists(TEXTS, min_size=1, max_size=4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    return Forecasts.ranked(
        names, generator.normal(0, 50, (len(names), 6, 30, 2)), generator.uniform(0.01, 1, (len(names), 6))
    )


@st.composite
def scene_files(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """Draw the names and contents of scene files."""
    names = draw(st.lists(st.text("abc019", min_size=1, max_size=6), min_size=1, max_size=4, unique=True))
    rows = SceneRows(np.array([draw(st.floats(0, 1e9))]), ["a"], np.zeros(1, np.uint8), np.zeros((1, 2)), "TST")
    return [(name, scene_csv(rows)) for name in names]


def read_scene_files(path: Path) -> list[tuple[str, bytes]]:
    return [(Path(name).stem, content) for name, content in read_files(path, lambda name: True, LIMITS)]


def in_directory(save: Callable[[Any, Path], None]) -> Callable[[Any, Path], None]:
    """Return a writer that first makes the directory that `save` needs."""

    def write(value: Any, path: Path) -> None:
        path.mkdir()
        save(value, path)

    return write


NUMBERS = st.integers(-(10**99), 10**99) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
KINDS = {
    "table": Kind(tables(), lambda value, path: write_table(path, value), read_table, lambda table: table.to_pydict()),
    "arrays": Kind(arrays(), lambda value, path: write_arrays(path, *value), read_arrays),
    "JSON": Kind(st.dictionaries(TEXTS, JSON, max_size=3), lambda value, path: write_json(path, value), read_json),
    "lane map": Kind(lane_maps(), LaneMap.save, LaneMap.load, lambda city: city.lanes_near(0.0, 0.0, 50.0)),
    "augmented scenes": Kind(
        augmented(),
        in_directory(AugmentedScenes.save),
        AugmentedScenes.load,
        lambda scenes: [scenes[index] for index in range(len(scenes))],
    ),
    "forecasts": Kind(forecasts(), in_directory(Forecasts.save), Forecasts.load),
    "tarball of scenes": Kind(
        scene_files(), lambda value, path: write_scenes(path, "train", value) and None, read_scene_files, checked=True
    ),
    "tarball of maps": Kind(
        st.lists(lane_maps(), min_size=1, max_size=1),
        lambda value, path: write_maps(path, {city.city: city for city in value}),
        lambda path: list(read_maps(path, LIMITS)),
        checked=True,
    ),
}


def files_of(path: Path) -> list[Path]:
    return sorted(path.rglob("*.*")) if path.is_dir() else [path]


@pytest.fixture(scope="module")
def new_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A function that returns an unused path."""
    folder, number = tmp_path_factory.mktemp("artifacts"), itertools.count()
    return lambda: folder / f"written-{next(number)}"


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=ALLOW_SLOW_TESTS)
@given(data=st.data())
def test_an_artifact_is_read_back_as_written(new_path, name, data):
    kind, path = KINDS[name], new_path()
    value = data.draw(kind.drawn)
    kind.write(value, path)
    assert equal(kind.read(path), value)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=ALLOW_SLOW_TESTS)
@given(data=st.data(), fraction=st.floats(0, 1, exclude_max=True))
def test_a_truncated_artifact_is_refused(new_path, name, data, fraction):
    kind, path = KINDS[name], new_path()
    kind.write(data.draw(kind.drawn), path)
    truncated = data.draw(st.sampled_from(files_of(path)))
    content = truncated.read_bytes()
    remaining = content[: int(fraction * len(content))]
    assume(remaining != content.rstrip())  # JSON without its final newline is still valid
    truncated.write_bytes(remaining)
    if truncated.name == "metadata.json":
        return  # provenance of forecasts, which is read separately
    with pytest.raises(InputError, match=truncated.name):
        kind.read(path)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=ALLOW_SLOW_TESTS)
@given(data=st.data(), bit_position=st.floats(0, 1, exclude_max=True))
def test_an_artifact_with_a_flipped_bit_is_refused_or_valid(new_path, name, data, bit_position):
    kind, path = KINDS[name], new_path()
    value = data.draw(kind.drawn)
    kind.write(value, path)
    damaged = data.draw(st.sampled_from(files_of(path)))
    content = bytearray(damaged.read_bytes())
    bit = int(bit_position * 8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    damaged.write_bytes(content)
    try:
        found = kind.read(path)
    except InputError:
        return
    kind.use(found)
    if kind.checked:
        assert equal(found, value)


@settings(max_examples=50, deadline=None, suppress_health_check=ALLOW_SLOW_TESTS)
@given(text=st.text("abc=-.1: \\\n\"'sha256#", max_size=80))
def test_requirements_lock_with_any_text_is_read_or_refused(new_path, text):
    path = new_path()
    path.write_text(text)
    try:
        assert all(package.hashes for package in read_lock(path))
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 (an empty lock is valid)


def test_the_gzip_checksum_is_verified(tmp_path):
    path = tmp_path / "a.tar.gz"
    write_scenes(path, "train", [("1", b"one"), ("2", b"two")])
    unpacked = bytearray(gzip.decompress(path.read_bytes()))
    unpacked[unpacked.index(b"two")] ^= 1
    other = gzip.compress(bytes(unpacked), mtime=0)
    path.write_bytes(other[:-8] + gzip.compress(b"")[-8:])
    with pytest.raises(InputError, match=r"damaged or truncated gzip file"):
        read_scene_files(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("centreline", lambda array: array[:, :1]),
        ("centreline_fresh", lambda array: array[1:]),
        ("route_offsets", lambda array: array[:0]),
        ("lane_offsets", lambda array: array[::-1]),
    ],
)
def test_augmented_scenes_with_inconsistent_arrays_are_refused(tmp_path, name, change):
    lanes, ends = straight_map().segments, np.array([0, 3])
    scenes = join_scenes([], [], {}, 50.0)
    row: dict[str, Any] = {kind: [None] for kind in MANIFEST_COLUMNS}
    scenes = replace(
        scenes,
        manifest=pa.table({kind: pa.array(row[kind], dtype) for kind, dtype in MANIFEST_COLUMNS.items()}),
        lanes=lanes.take(np.arange(3)),
        centreline=np.zeros((3, 2)),
        centreline_fresh=np.zeros(3, bool),
        route_lanes=np.zeros(3, np.int64),
        corridor=np.zeros(3, np.int64),
        **{f"{kind}_offsets": ends for kind in ("centreline", "route", "corridor", "lane")},
    )
    scenes.save(tmp_path)
    assert len(AugmentedScenes.load(tmp_path)) == 1
    replace(scenes, **{name: change(getattr(scenes, name))}).save(tmp_path)
    with pytest.raises(InputError, match=name):
        AugmentedScenes.load(tmp_path)
