"""Runs git, DVC, stages and other commands in a folder that a test has made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from repository import PARAMS, REPOSITORY


def run(repository: Path, *command: str, expect: int | None = 0) -> str:
    """Run a command in a repository and return its output; its exit status must be `expect`, unless that is None."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(repository / "src"), "COLUMNS": "400"}
    done = subprocess.run(
        command, cwd=repository, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if expect is not None and done.returncode != expect:
        raise AssertionError(f"{' '.join(command)}: exit status {done.returncode}, not {expect}\n{done.stdout}")
    return done.stdout


def dvc(repository: Path, *arguments: str, expect: int | None = 0) -> str:
    """Run a DVC command and return its output."""
    return run(repository, sys.executable, "-m", "dvc", *arguments, expect=expect)


def git(repository: Path, *arguments: str) -> str:
    """Run a git command and return its output."""
    return run(repository, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", *arguments)


def run_stage(stage: str, folder: Path, *arguments: object, status: int = 0) -> str:
    """Run a stage of the checkout, with its params.yaml, in a folder and return its output."""
    command = [sys.executable, REPOSITORY / "stages" / f"{stage}.py", *arguments, "--params", PARAMS]
    return run(folder, *map(str, command), expect=status)
