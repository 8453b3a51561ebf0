"""Every hostile file is refused with an error that names the problem, with little memory and in little time."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from attacks import ATTACKS

MOST_MEGABYTES = 100  # ten times the size of the largest file
MOST_SECONDS = 5  # of processor time


@pytest.fixture(scope="module")
def reader():
    """A function that reads a file in a separate process; see reader.py."""
    command = [sys.executable, str(Path(__file__).with_name("reader.py"))]
    environment = {
        **os.environ,
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }  # the default pool reserves a gigabyte at once
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:

        def read(kind, path):
            process.stdin.write(json.dumps({"reader": kind, "path": str(path)}) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield read
        process.stdin.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_file_is_refused_with_little_memory_and_time(reader, tmp_path, name):
    attack, path = ATTACKS[name], tmp_path / "hostile"
    attack.make(path)
    answer = reader(attack.reader, path)
    print(f"{answer['megabytes']:.1f} MB, {answer['seconds']:.2f} s: {answer['outcome'][:300]}")  # shown by pytest -rP
    assert answer["outcome"].startswith("refused: "), answer
    assert re.search(attack.message, answer["outcome"]), answer
    assert answer["megabytes"] < MOST_MEGABYTES, answer
    assert answer["seconds"] < MOST_SECONDS, answer
