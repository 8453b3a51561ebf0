"""Tests of the scene store: appended scenes can be read in any order, and inconsistent files are refused."""

import shutil
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raw_data import straight_map
from synthdrive.core.errors import InputError
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.scenes.scene_store_writer import SceneStoreWriter

STEPS = ARGOVERSE1.steps

LANES = straight_map().segments


def random_scene(generator):
    lengths = np.concatenate([[STEPS], generator.integers(1, STEPS + 1, generator.integers(0, 4))])
    return {
        "xy": generator.normal(0, 50, (lengths.sum(), 2)).astype(np.float32),
        "step": np.concatenate([np.sort(generator.choice(STEPS, n, replace=False)) for n in lengths]).astype(np.uint8),
        "track_lengths": lengths,
        "track_types": np.array([0] + [2] * (len(lengths) - 1), dtype=np.uint8),
        "times": np.sort(generator.uniform(0, 5, STEPS)).astype(np.float32),
        "lane_rows": generator.choice(len(LANES), generator.integers(0, 6), replace=False).astype(np.int32),
    }


def manifest(size):
    numbers = np.arange(size, dtype=np.float64)
    names = pa.array([f"s{k}" for k in range(size)], pa.string())
    return pa.table({"scene_id": names, "city": names, "origin_x": numbers, "origin_y": -numbers})


def write(directory, scenes, order=None):
    directory.mkdir(parents=True)
    writer = SceneStoreWriter(directory, ARGOVERSE1)
    for scene in scenes:
        writer.append(**scene)
    writer.close(manifest(len(scenes)), LANES, order)
    return SceneStore.load(directory)


@pytest.fixture
def store_path(tmp_path):
    generator = np.random.default_rng(0)
    write(tmp_path / "store", [random_scene(generator) for _ in range(4)])
    return tmp_path / "store"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 7), shuffled=st.booleans())
def test_scenes_are_stored_in_the_requested_order(tmp_path_factory, seed, size, shuffled):
    generator = np.random.default_rng(seed)
    scenes = [random_scene(generator) for _ in range(size)]
    order = generator.permutation(size) if shuffled else None
    directory = tmp_path_factory.mktemp("stores") / "store"
    store = write(directory, scenes, order)
    for place, row in enumerate(range(size) if order is None else order):
        scene, expected = store[place], scenes[row]
        assert scene.scene_id == f"s{row}"
        assert scene.origin.tolist() == [row, -row]
        np.testing.assert_array_equal(np.diff(scene.track_offsets), expected["track_lengths"])
        for name in ("xy", "step", "track_types", "times", "lane_rows"):
            np.testing.assert_array_equal(getattr(scene, name), expected[name])
    assert {path.suffix for path in directory.iterdir()} == {".npy", ".parquet", ".safetensors", ".json"}


def test_bytes_do_not_depend_on_the_order_of_writing(tmp_path):
    generator = np.random.default_rng(1)
    scenes = [random_scene(generator) for _ in range(5)]
    write(tmp_path / "a", scenes)
    order = np.array([3, 0, 4, 1, 2])
    directory = tmp_path / "b"
    directory.mkdir()
    writer = SceneStoreWriter(directory, ARGOVERSE1)
    for row in order:
        writer.append(**scenes[row])
    writer.close(manifest(5).take(order), LANES, np.argsort(order))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(path.name for path in directory.iterdir())
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (directory / path.name).read_bytes(), path.name


def test_gather_gives_scenes_in_any_order(store_path):
    store = SceneStore.load(store_path)
    arrays = store.gather(np.array([2, 0, 2]))
    np.testing.assert_array_equal(arrays["xy"], np.concatenate([store[k].xy for k in (2, 0, 2)]))
    np.testing.assert_array_equal(arrays["lane_rows"], np.concatenate([store[k].lane_rows for k in (2, 0, 2)]))
    assert arrays["tracks_per_scene"].tolist() == [len(store[k].track_types) for k in (2, 0, 2)]


def test_an_empty_store_can_be_read(tmp_path):
    assert len(write(tmp_path / "store", [])) == 0


@pytest.mark.parametrize(("wrong", "row"), [(-7, -7), (10**6, 10**6)])
def test_the_wrong_lane_row_is_named(store_path, wrong, row):
    rows = np.load(store_path / "lane_rows.npy")
    rows[1] = wrong
    np.save(store_path / "lane_rows.npy", rows)
    with pytest.raises(InputError, match=f"lane_rows: found row {row};"):
        SceneStore.load(store_path)


def npy(shape, dtype="<f4", body=b""):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


INVALID_ARRAYS = {
    "a shape of 10^13 rows": npy((10**13, 2)),
    "a shape beyond 64 bits": npy((2**63, 2)),
    "a negative shape": npy((-1, 2)),
    "objects, which would be unpickled": npy((1, 2), "|O", b"cos\nsystem\n(S'false'\ntR."),
    "another type": npy((1, 2), "<f8", bytes(16)),
    "another width": npy((1, 3), "<f4", bytes(12)),
    "another number of dimensions": npy((2,), "<f4", bytes(8)),
    "a header that is code": b"\x93NUMPY\x01\x00\x20\x00" + b"__import__('os').system('false')",
    "a header of 64 kB": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535,
    "another version": b"\x93NUMPY\x03\x00" + bytes(60),
    "no array": b"hello",
    "nothing": b"",
}


@pytest.mark.parametrize("name", INVALID_ARRAYS)
def test_an_invalid_array_is_refused_in_little_memory(store_path, name):
    (store_path / "xy.npy").write_bytes(INVALID_ARRAYS[name])
    tracemalloc.start()
    with pytest.raises(InputError, match=r"xy\.npy"):
        SceneStore.load(store_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.parametrize("name", ["xy", "step", "track_offsets", "track_types", "scene_tracks", "times", "lane_rows"])
def test_a_truncated_or_missing_array_is_refused(store_path, name):
    path = store_path / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=name):
        SceneStore.load(store_path)
    path.unlink()
    with pytest.raises(InputError, match=f"{name}.*no such file"):
        SceneStore.load(store_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("scene_tracks", lambda a: a[::-1]),
        ("scene_tracks", lambda a: a + 1),
        ("track_offsets", lambda a: np.where(np.arange(len(a)) == 1, 10**9, a)),
        ("track_offsets", lambda a: a[:0]),
        ("lane_offsets", lambda a: -a),
        ("lane_rows", lambda a: a + 10**6),
        ("lane_rows", lambda a: a - 10**6),
        ("track_types", lambda a: a[1:]),
        ("times", lambda a: a[1:]),
    ],
)
def test_inconsistent_arrays_are_refused(store_path, name, change):
    array = np.load(store_path / f"{name}.npy")
    np.save(store_path / f"{name}.npy", change(array).astype(array.dtype))
    with pytest.raises(InputError, match="store"):
        SceneStore.load(store_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.slice(1), "manifest"),
        (lambda t: t.drop_columns(["city"]), "'city'"),
        (lambda t: t.set_column(0, "scene_id", pa.array(range(4))), "'scene_id'.*int64.*string"),
        (lambda t: t.set_column(2, "origin_x", pa.array([[1.0]] * 4)), "'origin_x'.*list"),
    ],
)
def test_a_manifest_of_other_size_or_columns_is_refused(store_path, change, words):
    pq.write_table(change(manifest(4)), store_path / "manifest.parquet")
    with pytest.raises(InputError, match=words):
        SceneStore.load(store_path)


def test_a_damaged_manifest_is_refused(store_path):
    path = store_path / "manifest.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"manifest\.parquet"):
        SceneStore.load(store_path)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_changed_byte_gives_a_consistent_store_or_an_input_error(tmp_path_factory, data):
    source = tmp_path_factory.getbasetemp() / "sound"
    if not source.exists():
        generator = np.random.default_rng(0)
        write(source, [random_scene(generator) for _ in range(3)])
    store = tmp_path_factory.mktemp("fuzz") / "store"
    shutil.copytree(source, store)
    path = data.draw(st.sampled_from(sorted(store.iterdir())))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        loaded = SceneStore.load(store)
    except InputError:
        return
    for index in range(len(loaded)):
        scene = loaded[index]
        assert scene.track_offsets[-1] == len(scene.xy)
        loaded.lanes.take(scene.lane_rows)


def test_file_in_place_of_a_store_is_refused(tmp_path):
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(InputError, match=r"xy\.npy: found a file that cannot be read \(Not a directory\)"):
        SceneStore.load(tmp_path / "store")


def test_folder_in_place_of_an_array_is_refused(store_path):
    (store_path / "xy.npy").unlink()
    (store_path / "xy.npy").mkdir()
    with pytest.raises(InputError, match=r"xy\.npy: found a file that cannot be read \(Is a directory\)"):
        SceneStore.load(store_path)
