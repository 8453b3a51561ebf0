"""Read every artifact and every cached copy again, and make good what is damaged.

DVC trusts the size and time of an artifact and the file mode of a cached copy, and a bad disk changes neither. Here the
bytes decide. A damaged file is written anew from its other copy, in the cache or in the workspace; what has no whole
copy left is removed, and the next `dvc repro` makes it again. What DVC itself sees as changed is left to DVC.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthdrive.core.artifacts import atomic_file
from synthdrive.core.errors import exit_on_error
from tools.dvc_commands import dvc
from tools.verify import changes_since_lock, read_lock

FOLDER = ".dir"  # end of a folder's hash: that of the list of its files, which the cache holds as JSON
CACHE_MODE = 0o444  # of a cached file that DVC takes for whole


def file_md5(path: Path) -> str:
    """DVC's hash of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


@dataclass(frozen=True)
class Stored:
    """A file, and the MD5 that its bytes have to have."""

    path: Path
    md5: str
    cached: bool

    def whole(self) -> bool:
        """Whether they have it."""
        return file_md5(self.path) == self.md5


def repair(repository: Path, change: bool = True) -> Counter[str]:
    """Compare all bytes with their hashes and make good what differs; prints a line for each damaged file.

    Args:
        change: False only tells.

    Returns:
        how many files were read, damaged, restored and removed.
    """
    changed = {what for found in changes_since_lock(repository).values() for what in found}
    cache = repository / dvc("cache", "dir", repository=repository, captured=True).strip() / "files" / "md5"
    stages = read_lock(repository).values()
    outs = [out for stage in stages for out in stage.get("outs", []) if f"{out['path']} modified" not in changed]
    _restore_lists(repository, cache, outs, change)
    counts = Counter[str]()
    copies: dict[str, Path] = {}
    damaged: list[Stored] = []
    for file in [*_cached(cache), *(file for out in outs for file in _in_workspace(repository, cache, out))]:
        counts["read"] += 1
        if file.whole():
            copies.setdefault(file.md5, file.path)
        else:
            damaged.append(file)
    for file in damaged:
        copy = copies.get(file.md5)
        done = ("restored" if copy else "removed") if change else "left as it is"
        counts.update(["damaged", done])
        print(f"{_shown(file.path, repository)}: damaged, {done}", flush=True)
        if change:
            _put_back(file, copy)
    return counts


def _put_back(file: Stored, copy: Path | None) -> None:
    if copy is None:
        file.path.unlink()
        return
    with atomic_file(file.path) as partial:
        shutil.copyfile(copy, partial)
        if file.cached:
            partial.chmod(CACHE_MODE)


def _cached(cache: Path) -> Iterator[Stored]:
    for path in sorted(cache.glob("??/*")):
        yield Stored(path, path.parent.name + path.name.removesuffix(FOLDER), cached=True)


def _in_workspace(repository: Path, cache: Path, out: dict[str, Any]) -> Iterator[Stored]:
    """The files of an output that are there; a missing one is for DVC to see."""
    place, md5 = repository / out["path"], out.get("md5", "")
    if not md5.endswith(FOLDER):
        if place.is_file():
            yield Stored(place, md5, cached=False)
        return
    listed = cache / md5[:2] / md5[2:]
    if listed.is_file() and Stored(listed, md5.removesuffix(FOLDER), cached=True).whole():
        for entry in json.loads(listed.read_bytes()):
            if (place / entry["relpath"]).is_file():
                yield Stored(place / entry["relpath"], entry["md5"], cached=False)


def _restore_lists(repository: Path, cache: Path, outs: list[dict[str, Any]], change: bool) -> None:
    """Write damaged lists of folders anew, where the folder in the workspace is what was listed."""
    for out in outs:
        md5, place = out.get("md5", ""), repository / out["path"]
        listed = cache / md5[:2] / md5[2:]
        if not md5.endswith(FOLDER) or not listed.is_file() or not place.is_dir():
            continue
        if Stored(listed, md5.removesuffix(FOLDER), cached=True).whole():
            continue
        names = sorted(path.relative_to(place).parts for path in place.rglob("*") if path.is_file())
        entries = [{"md5": file_md5(place.joinpath(*parts)), "relpath": "/".join(parts)} for parts in names]
        content = json.dumps(entries, sort_keys=True).encode()
        if change and hashlib.md5(content).hexdigest() == md5.removesuffix(FOLDER):
            with atomic_file(listed) as partial:
                partial.write_bytes(content)
                partial.chmod(CACHE_MODE)
            print(f"{_shown(listed, repository)}: damaged, restored", flush=True)


def _shown(path: Path, repository: Path) -> Path:
    return path.relative_to(repository) if path.is_relative_to(repository) else path


def main() -> None:
    """Command line: `python -m tools.repair [--check]`; exit status 1 where --check finds damage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only tell what is damaged")
    arguments = parser.parse_args()
    with exit_on_error():
        counts = repair(Path.cwd(), change=not arguments.check)
    again = "; `dvc repro` makes these again" if counts["removed"] else ""
    done = f"{counts['restored']} restored from a whole copy, {counts['removed']} removed{again}"
    print(f"{counts['read']} files read, {counts['damaged']} damaged: {done}")
    raise SystemExit(1 if arguments.check and counts["damaged"] else 0)


if __name__ == "__main__":
    main()
