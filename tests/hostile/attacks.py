"""Hostile files: each is small or cheap to send, and would be harmful or expensive to read."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synthdrive.formats.argoverse1_writers import HEADER

MEGABYTE = 10**6
FILE_BYTES = 9 * MEGABYTE  # just below the largest file that the reader accepts
END = bytes(2 * tarfile.BLOCKSIZE)
MAP = "map_files/pruned_argoverse_TST_1_vector_map.xml"
SCENE = "train/data/1.csv"


@dataclass(frozen=True)
class Attack:
    """`make` writes a file, and `reader` (see reader.py) must refuse it with a message that matches `message`."""

    reader: str
    make: Callable[[Path], None]
    message: str


ATTACKS: dict[str, Attack] = {}


def attack(name: str, reader: str, message: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Add the decorated function to ATTACKS."""

    def added(make: Callable[[Path], None]) -> Callable[[Path], None]:
        ATTACKS[name] = Attack(reader, make, message)
        return make

    return added


# --- tarballs ---------------------------------------------------------------------------------------------------------


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    """Return a tar header."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    for key, value in fields.items():
        setattr(entry, key, value)
    return entry.tobuf(tarfile.GNU_FORMAT)


def write_gzip(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a gzip file of these pieces, using little memory."""
    with gzip.open(path, "wb", 1) as stream:
        for piece in pieces:
            stream.write(piece)


def tarball(*pieces: bytes) -> Callable[[Path], None]:
    """Return a function that writes a tar.gz of these headers and contents, with an end marker."""
    return lambda path: write_gzip(path, [*pieces, END])


def padded(content: bytes) -> bytes:
    """Return the content of a member, padded to whole blocks."""
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)


def pax(**records: str) -> bytes:
    """Return a pax header for the member that follows."""
    lines = b""
    for key, value in records.items():
        body = f" {key}={value}\n".encode()
        length = len(body)
        while length != len(body) + len(str(length)):
            length = len(body) + len(str(length))
        lines += str(length).encode() + body
    return member("pax", len(lines), tarfile.XHDTYPE) + padded(lines)


LEADS_OUT = "a path that leads out of the archive"
for name, header, message in (
    ("tar: '..'", member("../1.csv"), LEADS_OUT),
    ("tar: an absolute path", member("/etc/cron.d/1.csv"), LEADS_OUT),
    ("tar: '..' in a pax header", pax(path="train/../../1.csv") + member("1.csv"), LEADS_OUT),
    ("tar: a symbolic link", member(SCENE, kind=tarfile.SYMTYPE, linkname="/etc/passwd"), "a symbolic link"),
    ("tar: a hard link", member(SCENE, kind=tarfile.LNKTYPE, linkname="../../x"), "a hard link"),
    ("tar: a device", member(SCENE, kind=tarfile.CHRTYPE, devmajor=1, devminor=5), "a character device"),
    ("tar: a named pipe", member(SCENE, kind=tarfile.FIFOTYPE), "a named pipe"),
    ("tar: a sparse file", member(SCENE, kind=tarfile.GNUTYPE_SPARSE), "a sparse file"),
    (
        "tar: a sparse file of 1 TB in a pax header",
        pax(**{"GNU.sparse.realsize": str(10**12)}) + member(SCENE),
        "spars",
    ),
    ("tar: a file that claims 1 TB", member(SCENE, 10**12), "at most 10000000"),
    ("tar: a truncated file of 9 MB", member(SCENE, FILE_BYTES), "a truncated file"),
    ("tar: a name that is not text", member("train/data/\udcff.csv"), "a path that is no plain text"),
):
    ATTACKS[name] = Attack("scenes", tarball(header), message)


@attack("gzip: a member that unpacks beyond the limit", "scenes", "unpacks to more than the limit")
def _(path: Path) -> None:
    write_gzip(path, [member("raster.npy", 300 * MEGABYTE), *[bytes(MEGABYTE)] * 300, END])


@attack("gzip: a scene of 300 MB of zeros", "scenes", "at most 10000000")
def _(path: Path) -> None:
    write_gzip(path, [member(SCENE, 300 * MEGABYTE), *[bytes(MEGABYTE)] * 300, END])


@attack("gzip: zeros after the end", "scenes", "data after the end of the archive")
def _(path: Path) -> None:
    write_gzip(path, [END, *[bytes(MEGABYTE)] * 300])


@attack("gzip: a long name of 300 MB", "scenes", "a header of 300000000 bytes")
def _(path: Path) -> None:
    write_gzip(path, [member("x", 300 * MEGABYTE, tarfile.GNUTYPE_LONGNAME), *[b"a" * MEGABYTE] * 300])


@attack("gzip: 200,000 empty gzip members", "scenes", "a truncated file")
def _(path: Path) -> None:
    path.write_bytes(gzip.compress(b"") * 200_000)


# --- maps -------------------------------------------------------------------------------------------------------------


def write_map(path: Path, content: bytes) -> None:
    """Write a tarball with one vector map."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        entry = tarfile.TarInfo(MAP)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def doctype(declarations: str, use: str) -> Callable[[Path], None]:
    """Return a function that writes a map with a document type declaration and a node that uses it."""
    content = f'<!DOCTYPE m [{declarations}]><m><node id="{use}" x="0" y="0"/></m>'
    return lambda path: write_map(path, content.encode())


BILLION = "".join(f'<!ENTITY e{k + 1} "{f"&e{k};" * 10}">' for k in range(12))
NO_DOCTYPE = "a document type declaration"
ATTACKS |= {
    "XML: a billion laughs": Attack("maps", doctype('<!ENTITY e0 "ha">' + BILLION, "&e12;"), NO_DOCTYPE),
    "XML: a large entity, used a million times": Attack(
        "maps", doctype(f'<!ENTITY e "{"a" * MEGABYTE}">', "&e;" * MEGABYTE), NO_DOCTYPE
    ),
    "XML: an external entity": Attack("maps", doctype('<!ENTITY e SYSTEM "file:///etc/passwd">', "&e;"), NO_DOCTYPE),
    "XML: an external parameter entity": Attack(
        "maps", doctype('<!ENTITY % e SYSTEM "file:///dev/zero"> %e;', "1"), NO_DOCTYPE
    ),
    "XML: an external DTD": Attack(
        "maps", lambda path: write_map(path, b'<!DOCTYPE m SYSTEM "file:///dev/zero"><m/>'), NO_DOCTYPE
    ),
}
for name, piece, message in (
    ("XML: nested elements", b"<a>", "levels"),
    ("XML: millions of lanes", b'<way lane_id="%d"/>', "lanes"),
    ("XML: millions of nodes", b'<node id="%d" x="0" y="0"/>', "no lane"),
    ("XML: millions of links", b'<tag k="successor" v="%d"/>', "lane 1: found"),
    ("XML: millions of points", b'<nd ref="%d"/>', "lane 1: found"),
    ("XML: millions of tags", b'<tag k="%d" v=""/>', "lane 1: found"),
    ("XML: an attribute of 9 MB", b"", "a tag of more than"),
    ("XML: millions of attributes", b' a%d=""', "a tag of more than"),
):

    def _make(path: Path, piece: bytes = piece, name: str = name) -> None:
        if name == "XML: an attribute of 9 MB":
            write_map(path, b'<m><way lane_id="' + b"a" * FILE_BYTES + b'"/></m>')
            return
        numbered = b"%d" in piece
        count = FILE_BYTES // (len(piece) + (5 if numbered else 0))
        body = b"".join(piece % k for k in range(count)) if numbered else piece * count
        if piece.startswith(b" "):
            write_map(path, b"<m><way" + body + b"/></m>")
        else:
            inside = piece.startswith((b"<tag", b"<nd"))
            write_map(path, b"<m>" + (b'<way lane_id="1">' + body + b"</way>" if inside else body) + b"</m>")

    ATTACKS[name] = Attack("maps", _make, message)


# --- scenes -----------------------------------------------------------------------------------------------------------


def write_scene(path: Path, content: bytes) -> None:
    """Write a folder with one scene file."""
    path.mkdir()
    (path / "1.csv").write_bytes(content)


HEAD = HEADER.encode() + b"\n"
ROW = b"1000.0,a,AGENT,1,1,TST\n"
for name, content, message in (
    ("CSV: a header of 9 million columns", lambda: b"," * FILE_BYTES, "a header of 1024 bytes or more"),
    (
        "CSV: 9 million additional columns",
        lambda: HEADER.encode() + b"," * FILE_BYTES + b"\n",
        "a header of 1024 bytes",
    ),
    ("CSV: a row of 4 million columns", lambda: HEAD + b"1," * (FILE_BYTES // 2) + b"\n", "unreadable CSV"),
    ("CSV: a field of 9 MB", lambda: HEAD + ROW[:-4] + b"x" * FILE_BYTES + b"\n", "time stamps"),
    ("CSV: a time stamp of 9 million digits", lambda: HEAD + b"1" * FILE_BYTES + b",a,AGENT,1,1,TST\n", "TIMESTAMP"),
    ("CSV: millions of rows", lambda: HEAD + ROW * (FILE_BYTES // len(ROW)), "rows"),
    (
        "CSV: millions of tracks",
        lambda: HEAD + b"".join(b"1,%d,OTHERS,1,1,T\n" % k for k in range(450_000)),
        "rows",
    ),
    ("CSV: millions of types", lambda: HEAD + b"".join(b"1,a,%d,1,1,T\n" % k for k in range(550_000)), "rows"),
    ("CSV: millions of empty lines", lambda: HEAD + b"\n" * FILE_BYTES, "no row after the header"),
):
    ATTACKS[name] = Attack("scenes", lambda path, content=content: write_scene(path, content()), message)


# --- safetensors ------------------------------------------------------------------------------------------------------


def tensors(header: object, body: bytes = b"") -> bytes:
    """Return a safetensors file with this header, valid or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def claim(shape: list[int], size: int, dtype: str = "I64") -> dict[str, object]:
    """Return the entry of an array in a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}


UNREADABLE = "unreadable safetensors"
for name, content, message in (
    ("safetensors: a header that claims 2^60 bytes", lambda: struct.pack("<Q", 1 << 60) + b"{}", UNREADABLE),
    ("safetensors: a header longer than the file", lambda: struct.pack("<Q", 90_000_000) + b"{}", UNREADABLE),
    ("safetensors: 8 GB of missing data", lambda: tensors({"a": claim([10**9], 8 * 10**9)}), UNREADABLE),
    ("safetensors: a shape larger than its bytes", lambda: tensors({"a": claim([10**9], 8)}, bytes(8)), UNREADABLE),
    ("safetensors: a shape beyond 64 bits", lambda: tensors({"a": claim([2**40, 2**40], 8)}, bytes(8)), UNREADABLE),
    (
        "safetensors: a type unknown to NumPy",
        lambda: tensors({"a": claim([8], 8, "F8_E4M3")}, bytes(8)),
        UNREADABLE,
    ),
    ("safetensors: half a byte", lambda: tensors({"a": claim([2], 1, "F4")}, bytes(1)), UNREADABLE),
    ("safetensors: nested brackets", lambda: tensors(b"[" * FILE_BYTES), UNREADABLE),
    ("safetensors: a pickle instead", lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.", UNREADABLE),
):
    ATTACKS[name] = Attack("arrays", lambda path, content=content: path.write_bytes(content()), message)


# --- arrays of a store ------------------------------------------------------------------------------------------------


def npy(descr: str, shape: str, body: bytes = b"") -> bytes:
    """Return a .npy file with this header, valid or not."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


for name, content in (
    ("npy: 10^13 missing rows", npy("'<f4'", "(10000000000000, 2)")),
    ("npy: objects, which would be unpickled", npy("'|O'", "(1, 2)", b"cos\nsystem\n(S'true'\ntR.")),
    ("npy: code instead of a type", npy("__import__('os').system('true')", "(1, 2)")),
    ("npy: nested brackets", npy("(" * 60_000, "(1, 2)")),
):

    def _make_store(path: Path, content: bytes = content) -> None:
        path.mkdir()
        (path / "xy.npy").write_bytes(content)

    ATTACKS[name] = Attack("store", _make_store, r"xy\.npy")


# --- tables -----------------------------------------------------------------------------------------------------------

ROWS = 2 * 10**8


def write_table(path: Path, columns: dict[str, object], rows: int, **options: object) -> None:
    """Write a Parquet table of `rows` equal rows, piece by piece."""
    size = min(rows, 10**6)
    piece = pa.table(
        {name: pa.array([value]).take(pa.array(np.zeros(size, np.int64))) for name, value in columns.items()}
    )
    with pq.ParquetWriter(path, piece.schema, compression="zstd", **options) as writer:
        for _ in range(rows // size):
            writer.write_table(piece, row_group_size=size)


@attack("Parquet: 2 * 10^8 rows in a few bytes", "table", "a table that unpacks to")
def _(path: Path) -> None:
    write_table(path, {"origin_x": 0.0}, ROWS)


@attack("Parquet: 2 * 10^8 rows of zeros, compressed", "table", "a table that unpacks to")
def _(path: Path) -> None:
    write_table(path, {"origin_x": 0.0}, ROWS, use_dictionary=False)


@attack("Parquet: a text of 10 MB in every row", "table", "a table that unpacks to")
def _(path: Path) -> None:
    text = pa.array(["a" * 10 * MEGABYTE])
    indices = pa.array(np.zeros(1000, np.int32))
    pq.write_table(pa.table({"scene_id": pa.DictionaryArray.from_arrays(indices, text)}), path, store_schema=False)


@attack("Parquet: a text of 10 MB in every row, declared as a dictionary", "table", "type dictionary")
def _(path: Path) -> None:
    text = pa.array(["a" * 10 * MEGABYTE])
    indices = pa.array(np.zeros(1000, np.int32))
    pq.write_table(pa.table({"scene_id": pa.DictionaryArray.from_arrays(indices, text)}), path)


@attack("Parquet: nested lists", "table", "type list")
def _(path: Path) -> None:
    value: object = 1
    for _ in range(20):
        value = [value]
    pq.write_table(pa.table({"scene_id": [value]}), path)


@attack("Parquet: 100,000 columns", "table", "unreadable Parquet")
def _(path: Path) -> None:
    pq.write_table(pa.table({f"c{k}": pa.array([0]) for k in range(100_000)}), path, store_schema=False)


@attack("Parquet: a column of another type", "augmented", "'scene_id'.*int64.*string")
def _(path: Path) -> None:
    path.mkdir()
    pq.write_table(pa.table({"scene_id": [1]}), path / "manifest.parquet")


@attack("Parquet: a column name that is not text", "table", "unreadable Parquet")
def _(path: Path) -> None:
    write_table(path, {"origin_x": 0.0}, 10, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"origin_x", b"\xff\xfe\xfdgin_x"))


@attack("Parquet: not a table", "table", "unreadable Parquet")
def _(path: Path) -> None:
    path.write_bytes(b"PAR1" + b"\xff" * MEGABYTE + struct.pack("<I", MEGABYTE) + b"PAR1")


# --- JSON and parameters ----------------------------------------------------------------------------------------------


def text(content: str) -> Callable[[Path], None]:
    """Return a function that writes a text file."""
    return lambda path: path.write_text(content) and None


ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 10)}]\n" for k in range(30))
for name, reader, content, message in (
    ("JSON: nested brackets", "json", "[" * MEGABYTE, "unreadable JSON"),
    ("JSON: a number of a million digits", "json", "1" * MEGABYTE, "unreadable JSON"),
    ("parameters: a call", "parameters", "augment: !!python/object/apply:os.system [true]", "unreadable YAML"),
    ("parameters: a class", "parameters", "augment: !!python/name:os.system", "unreadable YAML"),
    ("parameters: an expression", "parameters", "augment: {kinds: ['${oc.env:HOME}']}", "augment.kinds"),
    (
        "parameters: aliases of aliases",
        "parameters",
        f"augment:\n  {ALIASES.replace(chr(10), chr(10) + '  ')}",
        "alias",
    ),
    ("parameters: an alias of itself", "parameters", "augment: &a {kinds: *a}", "alias"),
    ("parameters: nested brackets", "parameters", "augment: " + "[" * 10_000, "unreadable YAML"),
    ("parameters: a number of a million digits", "parameters", f"augment: {'1' * 200_000}", "unreadable YAML"),
    ("parameters: an invalid date", "parameters", "augment: 2026-99-99", "unreadable YAML"),
    ("parameters: text instead of a section", "parameters", "augment: 'routes: 3'", "augment"),
    ("parameters: 9 MB", "parameters", "augment: {" + "a: 1, " * (FILE_BYTES // 6) + "}", "bytes"),
):
    ATTACKS[name] = Attack(reader, text(content), message)
