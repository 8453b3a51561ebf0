"""`make setup` and `make cells` with stand-ins for Python and DVC: what they are asked for, and when."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# Says what pip is asked for; `-m venv FOLDER` puts a copy of itself there, and `--clear` empties the folder before.
PYTHON = """\
#!/bin/sh
case "$*" in
  *venv*)
    for folder; do :; done
    case "$*" in *--clear*) rm -rf "$folder" ;; esac
    mkdir -p "$folder/bin" && cp "$0" "$folder/bin/python" ;;
  *" install "*) echo "${*##* install -q }" >> calls ;;
  *wheels*) [ -f "$4/vendored.lock" ] ;;
esac
"""
CPU, CUDA = "torch==2.13.0 --index-url https://index.example/cpu", "torch==2.13.0 --index-url https://index.example/cu"


@pytest.fixture
def tree(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def setup(tree, *choice):
    """The first thing that pip is asked to install, or None when there is nothing to do."""
    kept = {key: value for key, value in os.environ.items() if key not in ("TORCH", "WHEELS", "SYNTHDRIVE_CONTAINER")}
    (tree / "calls").unlink(missing_ok=True)
    command = ["make", "setup", f"PYTHON={tree / 'python'}", *choice]
    subprocess.run(command, cwd=tree, env=kept, check=True, capture_output=True)
    return (tree / "calls").read_text().splitlines()[0] if (tree / "calls").exists() else None


def test_without_a_choice_what_is_there_stays(tree):
    assert setup(tree, f"TORCH={CPU}") == CPU
    assert setup(tree) is None
    os.utime(tree / "requirements.lock")
    assert setup(tree) == CPU
    assert setup(tree, f"TORCH={CPU}") is None


def test_another_choice_sets_up_again_from_nothing(tree):
    assert setup(tree) == "torch==2.13.0"
    (tree / ".venv" / "installed").touch()
    assert setup(tree, "TORCH=torch==2.13.0") is None
    assert setup(tree, f"TORCH={CUDA}") == CUDA
    assert not (tree / ".venv" / "installed").exists()
    (tree / "wheels").mkdir()
    (tree / "wheels" / "vendored.lock").touch()
    assert setup(tree, "WHEELS=wheels").startswith(f"--no-index --find-links {tree}/wheels")
    assert setup(tree, "WHEELS=wheels") is None


def test_a_folder_without_wheels_leaves_the_environment_as_it_was(tree):
    setup(tree, f"TORCH={CPU}")
    with pytest.raises(subprocess.CalledProcessError):
        setup(tree, "WHEELS=absent")
    assert setup(tree) is None


def test_an_interrupted_set_up_goes_on_with_its_choice(tree):
    setup(tree, f"TORCH={CPU}")
    (tree / ".venv" / ".ready").unlink()
    (tree / ".venv" / "installed").touch()
    assert setup(tree) == CPU
    assert (tree / ".venv" / "installed").exists()


def threads_of_cells(tree, jobs, **settings):
    """OMP_NUM_THREADS of each cell that `make cells` trains."""
    (tree / "environment" / "bin").mkdir(parents=True, exist_ok=True)
    (tree / "environment" / ".ready").touch()
    program = tree / "environment" / "bin" / "dvc"
    program.write_text(
        '#!/bin/sh\ncase "$*" in\n  *list*) echo evaluate@a-0; echo evaluate@b-0 ;;\n'
        '  *@*) echo "threads ${OMP_NUM_THREADS:-unset}" ;;\nesac\n'
    )
    program.chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OMP_")}
    command = ["make", "cells", f"JOBS={jobs}", f"SYNTHDRIVE_CONTAINER={tree / 'environment'}"]
    done = subprocess.run(command, cwd=tree, env={**kept, **settings}, check=True, capture_output=True, text=True)
    return re.findall("threads (.*)", done.stdout)


def test_cells_side_by_side_share_the_processors(tree):
    cores = len(os.sched_getaffinity(0))
    assert threads_of_cells(tree, 1) == ["unset"] * 2
    assert threads_of_cells(tree, 2) == [str(max(cores // 2, 1))] * 2
    assert threads_of_cells(tree, 2 * cores) == ["1"] * 2
    assert threads_of_cells(tree, 2, OMP_NUM_THREADS="3") == ["3"] * 2
