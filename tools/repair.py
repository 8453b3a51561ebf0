"""Find damaged artifacts and cached copies by their hashes, and repair them.

DVC relies on the size and time of an artifact and the file mode of a cached copy, which a bad disk does not change. A
damaged file is restored from its other copy, in the cache or in the workspace. Without an intact copy it is removed,
and the next `dvc repro` makes it again. Changes that DVC itself detects are left to DVC.
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
from tools.dvc_commands import changes_since_lock, dvc, locked_stages

FOLDER = ".dir"  # suffix of a folder's hash, which is the hash of a JSON list of its files in the cache
CACHE_MODE = 0o444  # mode of a cached file that DVC regards as intact


def file_md5(path: Path) -> str:
    """Return DVC's hash of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


@dataclass(frozen=True)
class Stored:
    """A file and the MD5 hash that it should have."""

    path: Path
    md5: str
    cached: bool

    def intact(self) -> bool:
        """Return whether the file has this hash."""
        return file_md5(self.path) == self.md5


def repair(repository: Path, change: bool = True) -> Counter[str]:
    """Compare all files with their hashes and repair those that differ; prints a line for each damaged file.

    Args:
        change: whether to repair; otherwise damage is only reported.

    Returns:
        The number of files read, damaged, restored and removed.
    """
    changed = {what for found in changes_since_lock(repository).values() for what in found}
    cache = repository / dvc("cache", "dir", repository=repository, captured=True).strip() / "files" / "md5"
    # dvc.lock also has stages that no longer exist; another stage may write their outputs now.
    existing = dvc("stage", "list", "--name-only", repository=repository, captured=True).split()
    stages = [stage for name, stage in locked_stages(repository).items() if name in existing]
    outs = [out for stage in stages for out in stage.get("outs", []) if f"{out['path']} modified" not in changed]
    _restore_lists(repository, cache, outs, change)
    counts = Counter[str]()
    copies: dict[str, Stored] = {}
    damaged: list[Stored] = []
    for file in [*_cached_files(cache), *(file for out in outs for file in _workspace_files(repository, cache, out))]:
        counts["read"] += 1
        if file.intact():
            copies.setdefault(file.md5, file)
        else:
            damaged.append(file)
    for file in damaged:
        copy = copies.get(file.md5)
        if copy is not None and not (file.cached or copy.cached):
            copy = None  # DVC caches no copy of a metrics file; another one may happen to have the same content
        done = ("restored" if copy else "removed") if change else "left as it is"
        counts.update(["damaged", done])
        print(f"{_relative(file.path, repository)}: damaged, {done}", flush=True)
        if change:
            _restore_or_remove(file, copy)
    return counts


def _restore_or_remove(file: Stored, copy: Stored | None) -> None:
    if copy is None:
        file.path.unlink()
        return
    with atomic_file(file.path) as partial:
        shutil.copyfile(copy.path, partial)
        if file.cached:
            partial.chmod(CACHE_MODE)


def _cached_files(cache: Path) -> Iterator[Stored]:
    # Unfinished copies, by DVC or an interrupted repair, have names that begin with a dot.
    for path in sorted(cache.glob("??/[0-9a-f]*")):
        yield Stored(path, path.parent.name + path.name.removesuffix(FOLDER), cached=True)


def _workspace_files(repository: Path, cache: Path, out: dict[str, Any]) -> Iterator[Stored]:
    """Yield the existing files of an output; DVC itself detects missing ones."""
    place, md5 = repository / out["path"], out.get("md5", "")
    if not md5.endswith(FOLDER):
        if place.is_file():
            yield Stored(place, md5, cached=False)
        return
    listed = cache / md5[:2] / md5[2:]
    if listed.is_file() and Stored(listed, md5.removesuffix(FOLDER), cached=True).intact():
        for entry in json.loads(listed.read_bytes()):
            if (place / entry["relpath"]).is_file():
                yield Stored(place / entry["relpath"], entry["md5"], cached=False)


def _restore_lists(repository: Path, cache: Path, outs: list[dict[str, Any]], change: bool) -> None:
    """Restore damaged lists of folders whose files in the workspace are those that the list had."""
    for out in outs:
        md5, place = out.get("md5", ""), repository / out["path"]
        listed = cache / md5[:2] / md5[2:]
        if not md5.endswith(FOLDER) or not listed.is_file() or not place.is_dir():
            continue
        if Stored(listed, md5.removesuffix(FOLDER), cached=True).intact():
            continue
        names = sorted(path.relative_to(place).parts for path in place.rglob("*") if path.is_file())
        entries = [{"md5": file_md5(place.joinpath(*parts)), "relpath": "/".join(parts)} for parts in names]
        content = json.dumps(entries, sort_keys=True).encode()
        if change and hashlib.md5(content).hexdigest() == md5.removesuffix(FOLDER):
            with atomic_file(listed) as partial:
                partial.write_bytes(content)
                partial.chmod(CACHE_MODE)
            print(f"{_relative(listed, repository)}: damaged, restored", flush=True)


def _relative(path: Path, repository: Path) -> Path:
    return path.relative_to(repository) if path.is_relative_to(repository) else path


def main() -> None:
    """Command line: `python -m tools.repair [--check]`; exit status 1 if --check finds damage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only list damaged files")
    arguments = parser.parse_args()
    with exit_on_error():
        counts = repair(Path.cwd(), change=not arguments.check)
    again = "; `dvc repro` makes these again" if counts["removed"] else ""
    done = f"{counts['restored']} restored from an intact copy, {counts['removed']} removed{again}"
    print(f"{counts['read']} files read, {counts['damaged']} damaged: {done}")
    raise SystemExit(1 if arguments.check and counts["damaged"] else 0)


if __name__ == "__main__":
    main()
