"""Tests of interrupted writing: which files and processes remain if a process is stopped while it writes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthdrive.core.artifacts import atomic_directory, atomic_file, scratch_directory
from synthdrive.core.errors import SynthDriveError

WRITER = """
import os, sys
from pathlib import Path
from synthdrive.core.artifacts import {function}
from synthdrive.core.errors import exit_on_error
with exit_on_error(), {function}(Path(sys.argv[1])) as partial:
    (partial / "half" if partial.is_dir() else partial).write_text("half")
    print("half", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _default_sigint_handler():
    """Let child processes receive SIGINT, which a shell's background jobs and their children ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def writer(path: Path, function: str = "atomic_directory") -> subprocess.Popen:
    """Start a process that writes an artifact, and wait until half of it is written."""
    command = [sys.executable, "-c", WRITER.format(function=function), str(path)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "half\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("function", ["atomic_directory", "atomic_file", "scratch_directory"])
def test_leftover_files_of_a_killed_process_are_removed_by_the_next_one(tmp_path, function):
    target = tmp_path / "out"
    process = writer(target, function)
    process.kill()
    process.wait()
    assert not target.exists()
    assert len(names(tmp_path)) == 1
    open_again = {"atomic_directory": atomic_directory, "atomic_file": atomic_file}.get(function, scratch_directory)
    with open_again(target) as partial:
        (partial / "whole" if partial.is_dir() else partial).write_text("whole")
    assert names(tmp_path) == ([] if function == "scratch_directory" else ["out"])


@pytest.mark.parametrize("outer", [atomic_directory, scratch_directory])
def test_artifacts_can_be_written_into_an_unfinished_one(tmp_path, outer):
    with outer(tmp_path / "out") as folder:
        with atomic_directory(folder / "inner") as inner:
            (inner / "file").write_text("whole")
        with atomic_file(folder / "file") as partial:
            partial.write_text("whole")
        assert names(folder) == ["file", "inner"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_process_cleans_up_and_prints_a_message(tmp_path, number, status):
    process = writer(tmp_path / "out")
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == status
    assert printed == "stopped; the same command starts again\n"
    assert names(tmp_path) == []


def test_a_second_process_is_refused_while_the_first_one_writes(tmp_path):
    target = tmp_path / "out"
    first = writer(target)
    with pytest.raises(SynthDriveError, match=r"out: another process is writing it.*stop it"), atomic_directory(target):
        pass
    first.communicate("")
    assert names(target) == ["half"]
    with atomic_directory(target) as partial:
        (partial / "half").write_text("whole")
    assert (target / "half").read_text() == "whole"


def test_the_old_artifact_is_restored_if_its_replacement_is_interrupted(tmp_path, monkeypatch):
    target = tmp_path / "out"
    with atomic_directory(target) as partial:
        for name in "abc":
            (partial / name).write_text(name)
    original_rename = Path.rename

    def rename(self, other):
        if self.name == "new":
            assert not target.exists()
            raise KeyboardInterrupt
        return original_rename(self, other)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt), atomic_directory(target) as partial:
        (partial / "a").write_text("new")
    assert names(target) == ["a", "b", "c"]
    assert names(tmp_path) == ["out"]


WORKERS = """
import os, signal, sys, time
from synthdrive.core.parallel import local_executor
def work(_):
    print(os.getpid(), flush=True)
    time.sleep(600)
if __name__ == "__main__":
    with local_executor(1) as executor:
        done = executor.submit(work, 0)
        done.result()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(tmp_path, number):
    (tmp_path / "workers.py").write_text(WORKERS)
    process = subprocess.Popen([sys.executable, "workers.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    process.send_signal(number)
    assert process.wait(timeout=60) == -number
    for _ in range(200):
        if not Path(f"/proc/{worker}").exists() or " Z " in Path(f"/proc/{worker}/stat").read_text():
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker is still running")
