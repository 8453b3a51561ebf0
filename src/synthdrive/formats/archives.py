"""Tar archives: reading of untrusted archives as streams, and reproducible writing."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from synthdrive.core.errors import InputError

BLOCK = tarfile.BLOCKSIZE
SKIP_CHUNK = 1 << 20
MAX_NAME_HEADER = 1 << 20  # bytes of a long-name or pax header; a path has at most 4096
MAX_MEMBERS = 1 << 20  # five times the scenes of Argoverse 1; a member may take only a byte or two when compressed
MAX_PADDING = 1 << 24  # bytes of zeros at the end; by default a record has 10,240
GZIP_MAGIC = b"\x1f\x8b"

_NAME_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


@dataclass(frozen=True)
class Limits:
    """Limits to the size of unpacked data.

    Attributes:
        file_bytes: largest size of a file that is read.
        archive_bytes: largest size of the whole unpacked archive, including files that are not read.
    """

    file_bytes: int
    archive_bytes: int


def read_files(source: Path, wanted: Callable[[str], bool], limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the wanted files: of a tarball in its own order, of a folder sorted by name.

    Hidden files and those of macOS (`._x`, `__MACOSX/`) are ignored. In a folder, links to folders inside or beside it
    are followed, and other links to folders are errors; each folder is read once. Nothing is written to disk.

    Args:
        source: a .tar.gz, .tgz or .tar file, or a folder.
        wanted: decides from a file's path in the source whether to read it.
        limits: largest sizes of the unpacked archive and of a file.

    Raises:
        InputError: the source is missing, damaged or truncated; a member has an absolute path or one with `..`, or is
            a link, device or sparse file; a folder cannot be read, or is a link to elsewhere; a wanted file's path is
            not printable; or a limit is exceeded.
    """
    source = Path(source)
    if source.is_dir():
        yield from _read_folder(source, wanted, limits)
    elif source.is_file():
        yield from _read_tarball(source, wanted, limits)
    else:
        raise InputError(source, "no such file", "a .tar.gz file, or a folder with its contents")


def is_hidden(name: str) -> bool:
    """Return whether some part of a path is hidden or created by macOS."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _read_folder(folder: Path, wanted: Callable[[str], bool], limits: Limits) -> Iterator[tuple[str, bytes]]:
    near = (folder.resolve(), folder.absolute().parent.resolve())
    seen: set[Path] = set()
    for root, directories, names in os.walk(folder, onerror=_raise_unreadable, followlinks=True):
        place = Path(root)
        if place.resolve() in seen:  # reached by another link, or by links in a circle
            directories.clear()
            continue
        seen.add(place.resolve())
        directories[:] = sorted(name for name in directories if not is_hidden(name))
        for name in directories:
            _check_link(place / name, near)
        for name in sorted(names):
            path = place / name
            inner = path.relative_to(folder).as_posix()
            if is_hidden(inner) or not wanted(inner):
                continue
            try:
                status = path.stat()
            except OSError as error:
                raise InputError(path, f"a file that cannot be read ({error.strerror})", "a file") from None
            if not stat.S_ISREG(status.st_mode):
                raise InputError(path, "something that is not a file", "a file")
            _check_text(folder, inner)
            _check_size(path, status.st_size, limits)
            yield inner, path.read_bytes()


def _raise_unreadable(error: OSError) -> None:
    """Raise InputError for a folder that os.walk would silently skip."""
    raise InputError(error.filename, f"a folder that cannot be read ({error.strerror})", "a readable folder") from None


def _check_link(directory: Path, near: tuple[Path, ...]) -> None:
    if directory.is_symlink() and not any(directory.resolve().is_relative_to(folder) for folder in near):
        raise InputError(
            directory, f"a link to {directory.resolve()}", f"a folder, or a link to one inside {near[-1]}",
            "Move the folder there, or name the folder of the raw data itself in data.raw.",
        )  # fmt: skip


def _read_tarball(archive: Path, wanted: Callable[[str], bool], limits: Limits) -> Iterator[tuple[str, bytes]]:
    with _open_tarball(archive, limits) as stream:
        for name, size in _file_members(stream):
            padded = -(-size // BLOCK) * BLOCK
            if is_hidden(name) or not wanted(name):
                stream.skip(padded)
                continue
            _check_text(archive, name)
            _check_size(f"{archive}: {name}", size, limits)
            yield name, stream.read(padded)[:size]


@dataclass
class _Stream:
    """The unpacked bytes of an archive; `left` is how many more may be read."""

    archive: Path
    file: BinaryIO
    left: int

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes."""
        self.left -= size
        if self.left < 0:
            raise InputError(
                self.archive, "an archive that unpacks to more than the limit", "a smaller archive",
                "If the archive is genuine, raise ingest.max_archive_gigabytes.",
            )  # fmt: skip
        content = self.file.read(size)
        if len(content) < size:
            raise InputError(self.archive, "a truncated file", "a whole tar archive", "Download it again.")
        return content

    def skip(self, size: int) -> None:
        """Skip `size` bytes, reading them in chunks."""
        while size:
            size -= len(self.read(min(size, SKIP_CHUNK)))

    def finish(self) -> None:
        """Read the padding up to the end of the file, so that gzip verifies its checksum."""
        padding = 0
        while block := self.file.read(BLOCK):
            padding += len(block)
            if padding > MAX_PADDING or block.strip(b"\0"):
                raise InputError(self.archive, "data after the end of the archive", "only zeros that fill the record")


def _file_members(stream: _Stream) -> Iterator[tuple[str, int]]:
    """Yield name and size of each file; the caller must read its content, padded to whole blocks, before the next."""
    long_name = ""
    for _ in range(MAX_MEMBERS):
        header = stream.read(BLOCK)
        if not header.strip(b"\0"):
            stream.finish()
            return
        try:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise InputError(stream.archive, f"a damaged tar header ({error})", "a whole tar archive") from None
        if member.type in _NAME_HEADERS:
            long_name = _long_name(stream, member) or long_name
            continue
        name, long_name = long_name or member.name, ""
        _check_member(stream.archive, name, member)
        if member.isreg():
            yield name, member.size
    raise InputError(stream.archive, f"more than {MAX_MEMBERS} members", "fewer members")


def _check_text(source: Path, name: str) -> None:
    """Raise InputError for a path that is not printable: scenes are named after files, and names must be UTF-8."""
    if not name.isprintable():
        raise InputError(f"{source}: {name!r}"[:300], "a path that is no plain text", "printable characters in UTF-8")


def _check_member(archive: Path, name: str, member: tarfile.TarInfo) -> None:
    where, path = f"{archive}: {name!r}"[:300], PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise InputError(where, "a path that leads out of the archive", "a relative path without '..'")
    if member.type in _KINDS or not (member.isreg() or member.isdir()):
        kind = _KINDS.get(member.type, f"a member of type {member.type!r}")
        raise InputError(where, kind, "files and directories only")
    if member.size < 0 or (member.isdir() and member.size):
        raise InputError(where, f"size {member.size}", "a file's size, or 0 for a directory")


def _long_name(stream: _Stream, header: tarfile.TarInfo) -> str:
    """Return the path that a GNU long-name or pax header gives to the next member; empty if it gives none."""
    if not 0 <= header.size <= MAX_NAME_HEADER:
        raise InputError(stream.archive, f"a header of {header.size} bytes", f"at most {MAX_NAME_HEADER}")
    content = stream.read(-(-header.size // BLOCK) * BLOCK)[: header.size]
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return content.rstrip(b"\0").decode("utf-8", "surrogateescape")
    if header.type != tarfile.XHDTYPE:
        return ""
    return _pax_path(stream.archive, content)


def _pax_path(archive: Path, content: bytes) -> str:
    """Return the path in a pax header, a list of `<length> <key>=<value>`; empty if there is none."""
    name, position = "", 0
    while position < len(content):
        digits, _, _ = content[position : position + 8].partition(b" ")
        if not digits.isdigit() or not len(digits) + 3 <= int(digits) <= len(content) - position:
            raise InputError(archive, "a damaged pax header", "a whole tar archive")
        key, _, value = content[position + len(digits) + 1 : position + int(digits) - 1].partition(b"=")
        if key.startswith(b"GNU.sparse") or key == b"size":
            raise InputError(
                archive, f"a pax header {key.decode('ascii', 'replace')!r}", "plain files of less than 8 GB"
            )
        if key == b"path":
            name = value.decode("utf-8", "surrogateescape")
        position += int(digits)
    return name


@contextmanager
def _open_tarball(archive: Path, limits: Limits) -> Iterator[_Stream]:
    """Open the unpacked stream; raise InputError if the gzip container is damaged."""
    with archive.open("rb") as file:
        zipped = file.read(2) == GZIP_MAGIC
        file.seek(0)
        unpacked = io.BufferedReader(gzip.GzipFile(fileobj=file), SKIP_CHUNK) if zipped else file
        try:
            yield _Stream(archive, unpacked, limits.archive_bytes)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(
                archive, f"a damaged or truncated gzip file ({error})", "a whole archive", "Download it again."
            ) from None


def _check_size(where: object, size: int, limits: Limits) -> None:
    if size > limits.file_bytes:
        raise InputError(
            where, f"{size} bytes", f"at most {limits.file_bytes}",
            "If the file is genuine, raise ingest.max_file_megabytes.",
        )  # fmt: skip


LEVEL = 6  # of gzip; 9 takes three times as long for 2 % fewer bytes


@contextmanager
def reproducible_tar(stream: IO[bytes]) -> Iterator[tarfile.TarFile]:
    """Open a tar.gz for writing to `stream`, with no time stamp, file name or user in any header."""
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=LEVEL) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT) as archive,
    ):
        yield archive


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to the archive."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), 0o644, 0
    archive.addfile(member, io.BytesIO(content))
