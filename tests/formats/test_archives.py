"""Tests of reading tarballs and folders: streamed, bounded in time and memory, and safe with hostile content."""

import gzip
import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdrive.core.errors import InputError
from synthdrive.formats.archives import Limits, read_files

LIMITS = Limits(file_bytes=10_000, archive_bytes=200_000)
FILES = {"train/data/2.csv": b"two", "train/data/1.csv": b"one" * 700, "train/notes.txt": b"notes"}


def is_csv(name):
    return name.endswith(".csv")


def write_tar(path, members, mode="w:gz", **options):
    """Write a tarball; members are pairs of a TarInfo or name and its content, in order."""
    with tarfile.open(path, mode, **options) as archive:
        for member, content in members:
            entry = tarfile.TarInfo(member) if isinstance(member, str) else member
            if content is not None:
                entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content or b""))
    return path


def special_member(name, kind, **fields):
    entry = tarfile.TarInfo(name)
    entry.type = kind
    for key, value in fields.items():
        setattr(entry, key, value)
    return entry


def read(source, limits=LIMITS, wanted=is_csv):
    return list(read_files(source, wanted, limits))


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_wanted_files_are_read_in_archive_order(tmp_path, mode, tar_format):
    path = write_tar(tmp_path / "a.tar.gz", FILES.items(), mode, format=tar_format)
    assert read(path) == [(name, FILES[name]) for name in ("train/data/2.csv", "train/data/1.csv")]


def test_files_of_a_folder_are_read_in_order_of_name(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert read(tmp_path / "raw") == [(name, FILES[name]) for name in ("train/data/1.csv", "train/data/2.csv")]


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read(tmp_path, tar_format):
    name = "d" * 90 + "/" + "e" * 90 + "/ü.csv"
    path = write_tar(tmp_path / "a.tar.gz", [(name, b"x"), ("b.csv", b"y")], format=tar_format)
    assert read(path) == [(name, b"x"), ("b.csv", b"y")]


def folder_with_link(tmp_path, target):
    """Make raw/train with the file data/1.csv and a link `more`; return its path."""
    (tmp_path / "raw" / "train" / "data").mkdir(parents=True)
    (tmp_path / "raw" / "train" / "data" / "1.csv").write_bytes(b"one")
    (tmp_path / "raw" / "train" / "more").symlink_to(target, target_is_directory=True)
    return tmp_path / "raw" / "train"


def test_a_linked_subfolder_inside_the_raw_folder_is_read(tmp_path):
    (tmp_path / "raw" / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "raw" / "elsewhere" / "deep" / "2.csv").write_bytes(b"two")
    source = folder_with_link(tmp_path, "../elsewhere")
    assert read(source) == [("data/1.csv", b"one"), ("more/deep/2.csv", b"two")]


@pytest.mark.parametrize("target", ["data", ".", ".."])
def test_folder_is_read_once_even_if_links_lead_to_it(tmp_path, target):
    assert [content for _, content in read(folder_with_link(tmp_path, target))] == [b"one"]


def test_link_to_a_folder_outside_the_raw_folder_is_refused_by_name(tmp_path):
    (tmp_path / "disk").mkdir()
    with pytest.raises(InputError, match=r"train/more: found a link to .*disk; expected .*raw"):
        read(folder_with_link(tmp_path, tmp_path / "disk"))


def test_the_source_itself_may_be_a_link(tmp_path):
    source = folder_with_link(tmp_path, "data")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train").symlink_to(source, target_is_directory=True)
    assert [content for _, content in read(tmp_path / "other" / "train")] == [b"one"]


def test_dangling_link_to_a_file_is_refused_by_name(tmp_path):
    source = folder_with_link(tmp_path, "data")
    (source / "data" / "2.csv").symlink_to("gone.csv")
    with pytest.raises(InputError, match=r"2\.csv: found a file that cannot be read"):
        read(source)


def test_unreadable_folder_is_refused_by_name(tmp_path, monkeypatch):
    """os.walk would skip it silently."""
    source = folder_with_link(tmp_path, "data")
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "data":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="data: found a folder that cannot be read"):
        read(source)


def test_macos_metadata_files_are_skipped(tmp_path):
    members = [("./train/._1.csv", b"junk"), ("__MACOSX/train/1.csv", b"junk"), (".x.csv", b"junk"), ("./1.csv", b"1")]
    assert [content for _, content in read(write_tar(tmp_path / "a.tar.gz", members))] == [b"1"]


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../1.csv", "leads out"),
        ("train/../../1.csv", "leads out"),
        ("/etc/1.csv", "leads out"),
        ("..\\1.csv", "leads out"),
        (special_member("1.csv", tarfile.SYMTYPE, linkname="/etc/passwd"), "symbolic link"),
        (special_member("1.csv", tarfile.LNKTYPE, linkname="2.csv"), "hard link"),
        (special_member("1.csv", tarfile.CHRTYPE, devmajor=1, devminor=5), "character device"),
        (special_member("1.csv", tarfile.BLKTYPE), "block device"),
        (special_member("1.csv", tarfile.FIFOTYPE), "named pipe"),
        (special_member("1.csv", tarfile.GNUTYPE_SPARSE), "sparse"),
        (special_member("1.csv", b"Z"), "type b'Z'"),
    ],
)
def test_special_members_and_paths_outside_the_archive_are_refused(tmp_path, member, message):
    path = write_tar(tmp_path / "a.tar.gz", [(member, b"" if isinstance(member, str) else None)])
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "1.csv" in str(caught.value)


def test_sparse_files_in_pax_headers_are_refused(tmp_path):
    entry = tarfile.TarInfo("1.csv")
    entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "1000000000000"}
    with pytest.raises(InputError, match="GNU.sparse"):
        read(write_tar(tmp_path / "a.tar.gz", [(entry, b"x")], format=tarfile.PAX_FORMAT))


def test_too_large_file_is_refused_before_it_is_read(tmp_path):
    header = tarfile.TarInfo("1.csv")
    header.size = 10**12
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(InputError, match="1000000000000 bytes"):
        read(path)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "1.csv").write_bytes(bytes(LIMITS.file_bytes + 1))
    with pytest.raises(InputError, match="10001 bytes"):
        read(tmp_path / "raw")


END = bytes(2 * tarfile.BLOCKSIZE)
BOMBS = {
    "one large member": "unpacks to more than the limit",
    "many empty members": "unpacks to more than the limit",
    "a long name": "a header of 62914560 bytes",
    "zeros after the end": "data after the end",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_decompression_bomb_is_refused_with_little_memory(tmp_path, bomb):
    size = 60 << 20
    header = tarfile.TarInfo("raster.npy")
    if bomb == "one large member":
        header.size = size
        content = header.tobuf() + bytes(size) + END
    elif bomb == "many empty members":
        content = header.tobuf() * (size // tarfile.BLOCKSIZE) + END
    elif bomb == "a long name":
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, size
        content = header.tobuf() + b"a" * size
    else:
        content = header.tobuf() + bytes(size)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(content, 1))
    del content
    tracemalloc.start()
    with pytest.raises(InputError, match=BOMBS[bomb]):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("synthdrive.formats.archives.MAX_MEMBERS", 3)
    path = write_tar(tmp_path / "a.tar.gz", [(f"{k}.txt", b"") for k in range(3)])
    with pytest.raises(InputError, match="more than 3 members"):
        read(path)


@pytest.mark.parametrize("name", ["\udcff.csv", "1\n.csv", "\x1b[2J.csv"])
def test_path_with_control_characters_or_invalid_text_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="no plain text"):
        read(write_tar(tmp_path / "a.tar.gz", [(name, b"x")], encoding="utf-8", errors="surrogateescape"))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).write_bytes(b"x")
    with pytest.raises(InputError, match="no plain text"):
        read(tmp_path / "raw")


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_archive_is_an_error(tmp_path, fraction):
    members = [(f"{k}.csv", os.urandom(3000)) for k in range(20)]
    whole = write_tar(tmp_path / "a.tar.gz", members).read_bytes()
    path = tmp_path / "cut.tar.gz"
    path.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(InputError, match="truncated"):
        read(path)


def test_a_flipped_bit_is_an_error(tmp_path):
    path = write_tar(tmp_path / "a.tar.gz", [("1.csv", bytes(range(256)) * 20)])
    whole = bytearray(path.read_bytes())
    whole[-6] ^= 1  # in the checksum, which is verified at the end of the stream
    path.write_bytes(whole)
    with pytest.raises(InputError, match="damaged"):
        read(path)


@pytest.mark.parametrize(
    "content", [b"", b"not a tar" * 200, gzip.compress(b"not a tar" * 200, mtime=0), gzip.compress(b"", mtime=0)]
)
def test_file_that_is_not_an_archive_is_an_error(tmp_path, content):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="archive"):
        read(path)


def test_a_missing_source_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "a.tar.gz")


def test_a_named_pipe_in_a_folder_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "1.csv")
    with pytest.raises(InputError, match="not a file"):
        read(tmp_path)


@settings(max_examples=150, deadline=None)
@given(
    position=st.integers(0, 3 * tarfile.BLOCKSIZE - 1), value=st.integers(0, 255), tar_format=st.sampled_from([0, 1, 2])
)
def test_archive_with_a_changed_byte_is_read_or_refused(tmp_path_factory, position, value, tar_format):
    folder = tmp_path_factory.mktemp("fuzz")
    name = "1.csv" if tar_format == tarfile.USTAR_FORMAT else "d" * 120 + "/1.csv"
    path = write_tar(folder / "a.tar", [(name, b"x" * 700), ("2.csv", b"y")], "w", format=tar_format)
    content = bytearray(path.read_bytes())
    content[position] = value
    path.write_bytes(content)
    try:
        files = read(path)
    except InputError:
        return
    assert sum(len(text) for _, text in files) <= len(content)
