"""Flip bits in artifacts of the workspace, in DVC's cache, or in both, and check that the damage is repaired."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import smallest_pipeline as smallest
import yaml
from campaign import Outcome, Reference

REPAIR = [sys.executable, "-m", "tools.repair"]


def run_damage(name: str, reference: Reference, base: Path, seed: int, chosen: Sequence[str]) -> list[Outcome]:
    """Damage one file of every output, run the repair and DVC, and compare the results with the undisturbed ones."""
    folder = base / name.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)  # from an earlier run in the same folder
    shutil.copytree(reference.folder, folder, symlinks=True)
    smallest.run(smallest.dvc("status"), folder)  # DVC records times and sizes of the copies
    draw = random.Random(f"{seed} {name}")
    outs = [out for out in _outs(folder) if out["stage"].split("@")[0] in chosen]
    outcomes = [Outcome(name, out["stage"], at=" and ".join(DAMAGES[name](folder, out, draw))) for out in outs]
    output = ""
    if name != "artifact overwritten":
        found = smallest.run([*REPAIR, "--check"], folder)
        for outcome in outcomes:
            if any(place not in found.output for place in outcome.at.split(" and ")):
                outcome.problems.append(f"{outcome.at}: the damage was not found: {found.output[-300:]}")
        output = smallest.run(REPAIR, folder).output
    output += smallest.run(smallest.dvc("repro"), folder).output
    after = smallest.run([*REPAIR, "--check"], folder)
    for out, outcome in zip(outs, outcomes, strict=True):
        expected, found_files = reference.results[out["path"]], smallest.fingerprints(folder, out["path"])
        if found_files != expected:
            outcome.problems.append(f"{out['path']} differs at the end: {output[-700:]}")
        if after.status:
            outcome.problems.append(f"damage remains: {after.output[-300:]}")
    return outcomes


def _outs(folder: Path) -> Iterator[dict[str, str]]:
    """Yield every output that has comparable files, with its stage and hash."""
    for name, stage in yaml.safe_load((folder / "dvc.lock").read_text())["stages"].items():
        for out in stage.get("outs", []):
            if smallest.fingerprints(folder, out["path"]):
                yield {"stage": name, "path": out["path"], "md5": out["md5"]}


def overwritten(folder: Path, out: dict[str, str], draw: random.Random) -> list[str]:
    """Change an artifact as a program or user would: its modification time changes."""
    file = _some_file(folder, out, draw)
    flip_bit(file, draw, keep_time=False)
    return [file.relative_to(folder).as_posix()]


def rotten(folder: Path, out: dict[str, str], draw: random.Random) -> list[str]:
    """Change an artifact as a faulty disk would: neither its time nor its size changes."""
    file = _some_file(folder, out, draw)
    flip_bit(file, draw)
    return [file.relative_to(folder).as_posix()]


def rotten_cache(folder: Path, out: dict[str, str], draw: random.Random) -> list[str]:
    """Change a cached copy: the list of a folder's files, or one of the files."""
    file = draw.choice(_cached(folder, out) or [_some_file(folder, out, draw)])
    flip_bit(file, draw)
    return [file.relative_to(folder).as_posix()]


def rotten_both(folder: Path, out: dict[str, str], draw: random.Random) -> list[str]:
    """Leave no intact copy: remove the artifact from the workspace and change the cached copy."""
    cached = _cached(folder, out)
    if not cached:
        return rotten(folder, out, draw)
    place = folder / out["path"]
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    flip_bit(cached[-1], draw)
    return [cached[-1].relative_to(folder).as_posix()]


DAMAGES: dict[str, Callable[[Path, dict[str, str], random.Random], list[str]]] = {
    "artifact overwritten": overwritten,
    "artifact rotten": rotten,
    "cached copy rotten": rotten_cache,
    "cached copy rotten, artifact gone": rotten_both,
}


def _some_file(folder: Path, out: dict[str, str], draw: random.Random) -> Path:
    return folder / draw.choice(sorted(name for name in smallest.fingerprints(folder, out["path"])))


def _cached(folder: Path, out: dict[str, str]) -> list[Path]:
    """Return the cached files of an output (for a folder, first its list); none if it is not cached."""
    cache = folder / ".dvc" / "cache" / "files" / "md5"
    first = cache / out["md5"][:2] / out["md5"][2:]
    if not first.is_file():
        return []
    names = [entry["md5"] for entry in json.loads(first.read_text())] if out["md5"].endswith(".dir") else []
    return [first, *(cache / name[:2] / name[2:] for name in sorted(set(names)))]


def flip_bit(file: Path, draw: random.Random, keep_time: bool = True) -> None:
    """Flip one bit of a file and keep its size, its mode and, unless `keep_time` is False, its time."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.chmod(0o644)
    with file.open("r+b") as stream:
        stream.write(content)
    file.chmod(stat.S_IMODE(before.st_mode))
    if keep_time:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
