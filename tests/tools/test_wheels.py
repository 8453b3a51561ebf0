"""Tests of vendored wheels: they must agree with their record and with requirements.lock."""

import hashlib

import pytest

from synthdrive.core.errors import InputError, SynthDriveError
from tools.wheels import check, read_lock, record


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path):
    """Two locked packages, one of them published as sources only, and torch."""
    wheels = tmp_path / "wheels"
    (wheels / "sources").mkdir(parents=True)
    (wheels / "first_one-1.2-py3-none-any.whl").write_bytes(b"first")
    (wheels / "built-4.9-py3-none-any.whl").write_bytes(b"built here")
    (wheels / "sources" / "built-4.9.tar.gz").write_bytes(b"sources")
    (wheels / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").write_bytes(b"torch")
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        f"first-one==1.2 \\\n    --hash=sha256:{digest(b'first')} \\\n    --hash=sha256:{digest(b'other platform')}\n"
        f"built==4.9 \\\n    --hash=sha256:{digest(b'sources')}\n"
    )
    return wheels


@pytest.fixture
def lock(folder):
    return read_lock(folder.parent / "requirements.lock")


def test_recorded_wheels_including_torch_pass_and_are_pinned_for_pip(folder, lock):
    assert record(folder, lock) == 3
    assert check(folder, lock) == 3
    lines = (folder / "vendored.lock").read_text().splitlines()
    assert f"torch==2.13.0+cpu --hash=sha256:{digest(b'torch')}" in lines
    assert f"built==4.9 --hash=sha256:{digest(b'built here')}" in lines
    assert read_lock(folder / "vendored.lock")


@pytest.mark.parametrize(
    "name",
    ["first_one-1.2-py3-none-any.whl", "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", "sources/built-4.9.tar.gz"],
)
def test_a_changed_archive_is_refused(folder, lock, name):
    record(folder, lock)
    (folder / name).write_bytes(b"tampered")
    with pytest.raises(SynthDriveError, match=r"hash differs from the recorded one|source archive"):
        check(folder, lock)


def test_a_wheel_without_a_version_in_its_name_is_refused(folder, lock):
    (folder / "first.whl").write_bytes(b"first")
    with pytest.raises(InputError, match=r"first\.whl: found a file name without a version"):
        record(folder, lock)


def test_an_interrupted_record_leaves_the_last_one(folder, lock, monkeypatch):
    record(folder, lock)
    before = (folder / "vendored.lock").read_text()
    (folder / "another-1.0-py3-none-any.whl").write_bytes(b"another")

    def interrupted(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(folder, lock)
    assert (folder / "vendored.lock").read_text() == before


def test_a_tampered_wheel_cannot_be_recorded(folder, lock):
    (folder / "first_one-1.2-py3-none-any.whl").write_bytes(b"tampered")
    with pytest.raises(SynthDriveError, match="neither its hash"):
        record(folder, lock)


def test_a_folder_made_from_an_older_lock_is_refused(folder, lock):
    record(folder, lock)
    path = folder.parent / "requirements.lock"
    path.write_text(path.read_text().replace("first-one==1.2", "first-one==1.3"))
    with pytest.raises(SynthDriveError, match=r"first-one==1\.3: no wheel"):
        check(folder, read_lock(path))


def test_missing_added_and_duplicate_wheels_are_refused(folder, lock):
    record(folder, lock)
    (folder / "stranger-1.0-py3-none-any.whl").write_bytes(b"")
    with pytest.raises(SynthDriveError, match="stranger-1.0-py3-none-any.whl: not recorded"):
        check(folder, lock)
    (folder / "stranger-1.0-py3-none-any.whl").rename(folder / "torch-2.12.0-cp311-cp311-linux_x86_64.whl")
    with pytest.raises(InputError, match="two wheels of torch"):
        check(folder, lock)
    for path in folder.glob("torch-*"):
        path.unlink()
    with pytest.raises(SynthDriveError, match=r"torch==2\.13\.0\+cpu: recorded, but missing"):
        check(folder, lock)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("numpy==2.4.6\n", "numpy without a hash"),
        ("numpy>=2 --hash=sha256:" + "0" * 64, "numpy>=2"),
        ("numpy==2.4.6 --hash=md5:" + "0" * 32, "md5"),
        (("numpy==2.4.6 --hash=sha256:" + "0" * 64 + "\n") * 2, "numpy twice"),
        ("numpy @ https://example.org/numpy.whl --hash=sha256:" + "0" * 64, "numpy @"),
        ("--extra-index-url https://example.org", "--extra-index-url"),
    ],
)
def test_a_lock_without_pins_or_hashes_or_with_duplicates_is_refused(tmp_path, text, found):
    (tmp_path / "requirements.lock").write_text(text)
    with pytest.raises(InputError, match=found):
        read_lock(tmp_path / "requirements.lock")
