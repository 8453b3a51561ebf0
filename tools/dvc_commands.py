"""DVC's commands, with retries while another DVC process holds the repository's lock, and what dvc.lock records."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from synthdrive.core.errors import InputError, SynthDriveError

TRIES, PAUSE = 20, 2.0  # s; DVC itself gives up if another process holds the lock for three seconds
_LOCKED = "Unable to acquire lock"
_ABSENT = ("deleted", "not in cache")  # DVC's words for an artifact that is not in the workspace

LOCK_FILE = "dvc.lock"
RUN_FROM_ROOT = "Run from the repository's root."

Stages = dict[str, Any]  # stages of dvc.lock, by name
Changes = dict[str, list[str]]  # differences from dvc.lock in words, by stage


def dvc(*arguments: str, repository: Path | None = None, captured: bool = False) -> str:
    """Run a DVC command.

    Args:
        arguments: arguments of the command line.
        repository: folder to run it in; by default the working directory.
        captured: whether to return the output instead of showing it.

    Returns:
        The standard output if `captured`, else an empty string.

    Raises:
        SynthDriveError: the command failed; if `captured`, the message has its output.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    for _ in range(TRIES):
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            errors = []
            with subprocess.Popen(
                command,
                cwd=repository,
                stdout=output if captured else None,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            ) as process:
                for line in process.stderr or ():
                    errors.append(line)
                    if not captured and _LOCKED not in line:
                        sys.stderr.write(line)
            output.seek(0)
            printed = output.read()
        if process.returncode == 0:
            return printed
        if not any(_LOCKED in line for line in errors):
            break
        time.sleep(PAUSE)
    reason = f"{printed}{''.join(errors)}".strip() if captured else "the reason is printed above"
    raise SynthDriveError(f"dvc {' '.join(arguments)}: exit status {process.returncode}; {reason}")


def locked_stages(repository: Path) -> Stages:
    """Return the stages of a repository's dvc.lock; raises InputError if the file is missing or damaged."""
    path, what, restore = repository / LOCK_FILE, "DVC's lock file", f"Restore it: git checkout {LOCK_FILE}"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)  # a second faster than safe_load
    except FileNotFoundError:
        raise InputError(path, "no such file", what, RUN_FROM_ROOT) from None
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        raise InputError(path, f"unreadable YAML ({error})", what, restore) from None
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict):
        raise InputError(path, "no mapping `stages`", what, restore)
    return stages


def changes_since_lock(repository: Path) -> Changes:
    """Describe the differences from dvc.lock by stage; missing artifacts and data do not count."""
    status = yaml.safe_load(dvc("status", "--json", repository=repository, captured=True)) or {}
    changes: Changes = {}
    for name, entries in status.items():
        for entry in entries:
            if isinstance(entry, str):  # "changed command"
                changes.setdefault(name, []).append(entry)
                continue
            for path, state in {**entry.get("changed deps", {}), **entry.get("changed outs", {})}.items():
                keys = state if isinstance(state, dict) else {"": state}  # parameters, by key
                found = [f"{path} {key} {how}".replace("  ", " ") for key, how in keys.items() if how not in _ABSENT]
                if found:
                    changes.setdefault(name, []).extend(found)
    return changes
