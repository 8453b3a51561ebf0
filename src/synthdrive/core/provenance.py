"""Provenance: the commit, code, parameters, data, packages, device and seed that made an artifact.

It contains no host or user name, environment variable or path outside the working directory. It works without git.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from synthdrive.core.artifacts import read_json, write_json
from synthdrive.core.errors import InputError

PACKAGE = "synthdrive"
PROVENANCE = Path("provenance")
"""Folder in which stages record how they made their artifacts. DVC does not track it, as no artifact depends on it."""


def imported_files(file: Path, source: Path) -> set[Path]:
    """Return the files of the package that running `file` can import, and `file` itself.

    Imports inside functions count too.

    Args:
        file: a module or a script.
        source: the folder that contains the package.
    """
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        waiting += [path for name in _imported_names(file) for path in _module_files(name, source)]
    return found


def _imported_names(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == PACKAGE}


def _module_files(name: str, source: Path) -> list[Path]:
    """Return the module's file and the __init__.py of each parent package; nothing for the name of an attribute.

    The outermost __init__.py is left out: it imports lazily, and modules of the package do not import from it.
    """
    parts = name.split(".")
    packages = [source.joinpath(*parts[:depth], "__init__.py") for depth in range(2, len(parts) + 1)]
    module = source.joinpath(*parts).with_suffix(".py")
    return [path for path in [*packages, module] if path.is_file()]


PACKAGES = ("synthdrive", "torch", "accelerate", "numpy", "safetensors", "pyarrow", "omegaconf")
"""Packages whose version may change what is trained or evaluated."""

_SOURCE = Path(__file__).resolve().parents[1]
_GIT_SECONDS = 10.0


def run_record(
    parameters: Mapping[str, object],
    inputs: Mapping[str, str],
    seed: int | None = None,
    device: str | None = None,
    entry: str | None = None,
) -> dict[str, Any]:
    """Describe how an artifact is made, as plain JSON values.

    Args:
        parameters: every parameter that was used, by section: plain values or parameter dataclasses.
        inputs: SHA-256 (`artifacts.file_hash`) of each file and directory that was read, by its name in the record.
        seed: the training seed, if there is one.
        device: name of the device ("cpu", "NVIDIA H200"), if there is one.
        entry: the module that the stage's script imports, if the record should have a hash of the stage's own code.

    Returns:
        commit (null without git) and whether tracked files differ from it; SHA-256 of the package's code, of the code
        that `entry` can import (stage_code; null without `entry`), of the parameters and of the inputs; versions of
        Python and of packages; platform; seed; device.
    """
    plain = plain_values(parameters)
    return {
        "commit": git_commit(),
        "modified": git_modified(),
        "code": code_hash(),
        "stage_code": code_hash(entry) if entry else None,
        "parameters": plain,
        "parameters_sha256": values_hash(plain),
        "inputs": dict(sorted(inputs.items())),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": package_versions(),
        "device": device,
        "seed": seed,
    }


def write_provenance(root: Path, stage: str, name: str, content: Mapping[str, Any]) -> None:
    """Write `<root>/<stage>/<name>.json`: how, when, on what machine and how fast an artifact was made."""
    write_json(Path(root) / stage / f"{name}.json", {"stage": stage, "name": name, **content})


def load_provenance(root: Path, stage: str, name: str) -> dict[str, Any]:
    """Read what `write_provenance` wrote; empty if it is missing (as for a pulled artifact) or damaged."""
    try:
        content = read_json(Path(root) / stage / f"{name}.json")
    except InputError:
        return {}
    return content if isinstance(content, dict) else {}


def plain_values(values: object) -> Any:
    """Convert dataclasses, mappings and sequences to the dicts and lists of JSON."""
    if is_dataclass(values) and not isinstance(values, type):
        return plain_values(asdict(values))
    if isinstance(values, Mapping):
        return {str(key): plain_values(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [plain_values(value) for value in values]
    return values


def values_hash(values: object) -> str:
    """Return the SHA-256, in hexadecimal, of plain values; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(plain_values(values), sort_keys=True).encode()).hexdigest()


@cache
def code_hash(entry: str | None = None) -> str:
    """Return the SHA-256 of the package's Python sources, or of module `entry` and the modules that it can import.

    It identifies the code even without git.
    """
    digest = hashlib.sha256()
    for path in sorted(_SOURCE.rglob("*.py") if entry is None else _imported_by(entry)):
        digest.update(path.relative_to(_SOURCE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _imported_by(module: str) -> set[Path]:
    return imported_files(_SOURCE.parent.joinpath(*module.split(".")).with_suffix(".py"), _SOURCE.parent)


@cache
def git_commit() -> str | None:
    """Return the commit of the package's sources; None without git, or if git does not track them."""
    if _git("ls-files", "--error-unmatch", "core/provenance.py") is None:
        return None
    commit = _git("rev-parse", "HEAD")
    return commit.strip() if commit else None


def git_modified() -> bool | None:
    """Return whether tracked .py or .toml files or params.yaml differ from the commit; None without git."""
    if git_commit() is None:
        return None
    status = _git("status", "--porcelain", "--untracked-files=no", "--", ":/*.py", ":/params.yaml", ":/*.toml")
    return None if status is None else bool(status.strip())


def package_versions() -> dict[str, str | None]:
    """Return the installed versions of PACKAGES, None for a missing one, without importing any of them."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


# Git sets these for its hooks; with them, it would describe the repository that runs the hook.
_HOOK_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")


def _git(*arguments: str) -> str | None:
    environment = {name: value for name, value in os.environ.items() if name not in _HOOK_VARIABLES}
    try:
        done = subprocess.run(
            ["git", "-C", str(_SOURCE), *arguments], capture_output=True, encoding="utf-8", errors="replace",
            timeout=_GIT_SECONDS, check=True, env=environment,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
