"""Run the real pipeline at its smallest size in a separate folder, and compute comparable hashes of its results."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.profiles import apply_profile

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SIZES = HERE / "smallest.yaml"
CLEANUP_SECONDS = 15  # time that child processes may still run after their command has ended
MOST_SECONDS = 900  # longest time that a command may take

# Contents that differ between two undisturbed runs: times, and hashes of files that contain times.
VOLATILE_KEYS = {"seconds", "scenes_per_second", "waiting_for_data", "resumed_after", "pretrained", "checkpoint"}
VOLATILE_FILES = ("data/checks/docs/", "reports/index.html", "reports/report.md", "reports/results.json")


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit status, its output, the processes that it left behind, and its duration."""

    status: int
    output: str
    orphans: list[str]
    seconds: float


def make_pipeline(folder: Path, source_tree: Path = REPOSITORY) -> Path:
    """Copy the tracked files of a working tree, without artifacts and cache, and set the smallest sizes."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, listing.stdout.split("\0")):
        source = source_tree / name
        if source.is_file() and not name.startswith(("metrics/", "data/checks/", "dvc.lock", "tests/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    apply_profile(SIZES, folder / "params.yaml")
    (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    return folder


def environment(folder: Path, **extra: str) -> dict[str, str]:
    """Return the environment of a pipeline's commands: its own sources, this Python, and the fault injection."""
    source = folder if (folder / "src").exists() else REPOSITORY
    paths = [str(HERE / "inject"), str(source / "src")]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SYNTHDRIVE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PYTHONPATH": os.pathsep.join(paths), "PATH": path, "TMPDIR": scratch(folder)}
    return {
        **kept,
        "PYTHONDONTWRITEBYTECODE": "1",
        "SYNTHDRIVE_WORKERS": "2",
        "OMP_NUM_THREADS": "1",
        **settings,
        **extra,
    }


def sibling(folder: Path, suffix: str) -> Path:
    """Return the path of a folder next to a pipeline's folder."""
    return folder.with_name(f"{folder.name}-{suffix}")


def scratch(folder: Path) -> str:
    """Make the folder for temporary files, so that files left behind can be found."""
    path = sibling(folder, "scratch")
    path.mkdir(exist_ok=True)
    return str(path)


def run(command: list[str], folder: Path, **extra: str) -> Ended:
    """Run a command to its end, in a new session."""
    started = time.monotonic()
    with (folder.with_name(f"{folder.name}.output")).open("w+") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(folder, **extra), stdout=output, stderr=output, start_new_session=True
        )
        try:
            status = process.wait(MOST_SECONDS)
        except subprocess.TimeoutExpired:
            status = 1000
        seconds = time.monotonic() - started
        orphans = _left_over(process.pid)
        output.seek(0)
        return Ended(status, output.read(), orphans, seconds)


def _left_over(session: int) -> list[str]:
    """Kill the session's processes that do not end by themselves; return their command lines."""
    for _ in range(10 * CLEANUP_SECONDS):
        members = _members(session)
        if not members:
            return []
        time.sleep(0.1)
    for process in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return sorted(members.values())


def _members(session: int) -> dict[int, str]:
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ").strip()[:120]
    return found


def dvc(*arguments: str) -> list[str]:
    """Return a DVC command line."""
    return [sys.executable, "-m", "dvc", *arguments]


def outputs(folder: Path) -> dict[str, str]:
    """Return the paths of all declared outputs in the pipeline's order, each with the stage that writes it."""
    listed = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: name for name, stage in listed.items() for out in stage.get("outs", [])}


def fingerprints(folder: Path, path: str) -> dict[str, str]:
    """Return the SHA-256 of every comparable file of an output; JSON files are hashed without volatile keys."""
    found = {}
    place = folder / path
    for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
        name = file.relative_to(folder).as_posix()
        if file.is_file() and not name.startswith(VOLATILE_FILES):
            found[name] = hashlib.sha256(_comparable(file)).hexdigest()
    return found


def _comparable(file: Path) -> bytes:
    content = file.read_bytes()
    if file.suffix != ".json":
        return content
    try:
        return json.dumps(_without_volatile_keys(json.loads(content)), sort_keys=True).encode()
    except ValueError:
        return content


def _without_volatile_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_volatile_keys(item) for key, item in value.items() if key not in VOLATILE_KEYS}
    return [_without_volatile_keys(item) for item in value] if isinstance(value, list) else value


def partials(folder: Path) -> list[str]:
    """Return unfinished artifacts and scratch folders that were left behind."""
    found = [path.relative_to(folder) for pattern in (".*.partial-*", ".*.scratch-*") for path in folder.rglob(pattern)]
    return sorted(str(path) for path in found if ".dvc" not in path.parts)
