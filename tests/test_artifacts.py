"""Tests of writing and reading artifacts."""

import numpy as np
import pyarrow as pa
import pytest

from synthdrive.core import artifacts
from synthdrive.core.errors import InputError


def test_a_directory_replaces_the_old_one_only_when_it_is_finished(tmp_path):
    target = tmp_path / "out"
    with artifacts.atomic_directory(target) as partial:
        (partial / "a").write_text("1")
    with pytest.raises(RuntimeError), artifacts.atomic_directory(target) as partial:
        (partial / "a").write_text("2")
        raise RuntimeError
    assert (target / "a").read_text() == "1"
    with artifacts.atomic_directory(target) as partial:
        (partial / "a").write_text("3")
        (partial / "b").write_text("3")
    with artifacts.atomic_directory(target) as partial:
        (partial / "b").write_text("4")
    assert sorted(file.name for file in target.iterdir()) == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("others", [["thesis.txt"], ["lane_following/errors.parquet", "mine/errors.parquet"]])
def test_a_directory_does_not_replace_an_unrelated_one(tmp_path, others):
    target = tmp_path / "out"
    for name in [*others, ".out.partial-abc/new"]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("precious")
    before = artifacts.file_hash(target)
    found = ", ".join(name.split("/")[0] for name in others)
    message = rf"out: found a folder with {found}; expected a new or empty folder, or one with errors.parquet\."
    with pytest.raises(InputError, match=message), artifacts.atomic_directory(target) as partial:
        (partial / "errors.parquet").write_text("1")
    assert artifacts.file_hash(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_directory_does_not_replace_a_file(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    message = "thesis.txt: found a file; expected a new or empty folder"
    with pytest.raises(InputError, match=message), artifacts.atomic_directory(tmp_path / "thesis.txt") as partial:
        (partial / "errors.parquet").write_text("1")
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("names", [[], [".gitignore", ".out.partial-abc"], ["metrics.json", "notes.txt"]])
def test_a_directory_replaces_an_empty_one_and_any_earlier_output(tmp_path, names):
    target = tmp_path / "out"
    target.mkdir()
    for name in names:
        (target / name).write_text("old")
    with artifacts.atomic_directory(target) as partial:
        (partial / "index.html").write_text("new")
        (partial / "metrics.json").write_text("new")
    assert sorted(file.name for file in target.iterdir()) == ["index.html", "metrics.json"]


def test_a_file_is_written_completely_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "values.json"
    artifacts.write_json(target, {"b": 1, "a": [1.5]})
    assert target.read_text() == '{\n  "a": [\n    1.5\n  ],\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="nan"):
        artifacts.write_json(target, {"a": float("nan")})
    assert artifacts.read_json(target) == {"a": [1.5], "b": 1}
    assert [path.name for path in target.parent.iterdir()] == ["values.json"]


def test_arrays_and_tables_round_trip_and_equal_content_gives_equal_bytes(tmp_path):
    arrays = {"points": np.arange(6.0).reshape(3, 2)[:, ::-1], "ids": np.array([1, 2], dtype=np.int64)}
    table = pa.table({"scene_id": ["a", "b"], "speed": [1.0, 2.0]})
    for name in ("first", "second"):
        artifacts.write_arrays(tmp_path / f"{name}.safetensors", arrays, {"city": "MIA"})
        artifacts.write_table(tmp_path / f"{name}.parquet", table)
    loaded, metadata = artifacts.read_arrays(tmp_path / "first.safetensors", {"points": ("float64", 2)})
    np.testing.assert_array_equal(loaded["points"], arrays["points"])
    assert metadata == {"city": "MIA"}
    assert artifacts.read_table(tmp_path / "first.parquet", {"speed": pa.float64()}).equals(table)
    for suffix in ("safetensors", "parquet"):
        first, second = (artifacts.file_hash(tmp_path / f"{name}.{suffix}") for name in ("first", "second"))
        assert first == second


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("values.json", b'{"a": 1', artifacts.read_json),
        ("values.yaml", b"a: [1", artifacts.read_yaml),
        ("dates.yaml", b"a: 2020-13-45", artifacts.read_yaml),
        ("bytes.yaml", b"a: \xff", artifacts.read_yaml),
        ("table.parquet", b"PAR1 and nothing more", artifacts.read_table),
        ("arrays.safetensors", b"\xff" * 64, artifacts.read_arrays),
    ],
)
def test_a_damaged_or_missing_file_is_named(tmp_path, name, content, read):
    with pytest.raises(InputError, match=f"{name}.*no such file"):
        read(tmp_path / name)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}.*unreadable"):
        read(tmp_path / name)


def test_the_caller_can_describe_a_missing_yaml_file(tmp_path):
    with pytest.raises(InputError, match=r"claims\.yaml: found no such file; expected the claims ledger\. Run make\."):
        artifacts.read_yaml(tmp_path / "claims.yaml", "the claims ledger", "Run make.")


def test_a_missing_or_mistyped_column_or_array_is_named(tmp_path):
    artifacts.write_table(tmp_path / "table.parquet", pa.table({"speed": ["fast"]}))
    artifacts.write_arrays(tmp_path / "arrays.safetensors", {"points": np.zeros(3, dtype=np.float32)})
    with pytest.raises(InputError, match="'speed'.*string.*double"):
        artifacts.read_table(tmp_path / "table.parquet", {"speed": pa.float64()})
    with pytest.raises(InputError, match="'city'"):
        artifacts.read_table(tmp_path / "table.parquet", {"city": pa.string()})
    with pytest.raises(InputError, match="'points'.*float32 with 1.*float64 with 2"):
        artifacts.read_arrays(tmp_path / "arrays.safetensors", {"points": ("float64", 2)})


def test_a_directorys_hash_depends_on_names_and_contents(tmp_path):
    (tmp_path / "a").write_text("1")
    first = artifacts.file_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = artifacts.file_hash(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, renamed, artifacts.file_hash(tmp_path)}) == 3
