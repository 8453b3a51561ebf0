"""Tests of the container's entry point, with stand-ins for dvc and python that print their arguments."""

import os
import signal
import subprocess
import sys
import time

import pytest

from repository import REPOSITORY

ENTRY_POINT = REPOSITORY / "docker-entrypoint.sh"


@pytest.fixture
def tree(tmp_path):
    """A working tree, the image's environment with the same lock, and stand-ins for dvc and python."""
    (tmp_path / "bin").mkdir()
    for program in ("dvc", "python"):
        (tmp_path / "bin" / program).write_text(f'#!/bin/sh\necho {program} "$@"\n')
        (tmp_path / "bin" / program).chmod(0o755)
    for folder in ("work", "environment"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "requirements.lock").write_text("numpy==2\n")
    (tmp_path / "work" / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "work" / "reports").mkdir()
    (tmp_path / "work" / "reports" / "summary.txt").write_text("the results\n")
    return tmp_path


def call(tree, *arguments):
    """Arguments with which subprocess starts the entry point."""
    environment = {"PATH": f"{tree}/bin:{os.environ['PATH']}", "SYNTHDRIVE_CONTAINER": str(tree / "environment")}
    return {"args": [str(ENTRY_POINT), *arguments], "cwd": tree / "work", "env": environment}


def run(tree, *arguments):
    return subprocess.run(**call(tree, *arguments), capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        ([], ["dvc repro", "the results"]),
        (["repro", "--force", "report"], ["dvc repro --force report", "the results"]),
        (["test", "tests/scenes"], ["python -m pytest -m not slow tests/scenes"]),
        (["verify"], ["python -m tools.verify lock"]),
        (["verify", "full"], ["python -m tools.verify full"]),
        (["shell", "-c", "echo in a shell"], ["in a shell"]),
        (["dvc", "exp", "show"], ["dvc exp show"]),
    ],
)
def test_each_action_runs_its_command(tree, arguments, calls):
    result = run(tree, *arguments)
    assert (result.returncode, result.stdout.splitlines()) == (0, calls)


@pytest.mark.parametrize("action", ["repro", "test", "verify"])
def test_a_missing_working_tree_is_refused(tree, action):
    (tree / "work" / "dvc.yaml").unlink()
    result = run(tree, action)
    assert result.returncode == 2
    assert 'run with: -v "$PWD":/work' in result.stderr
    assert not result.stdout


@pytest.mark.parametrize("action", ["repro", "test", "verify"])
def test_an_image_made_from_another_lock_is_refused(tree, action):
    (tree / "work" / "requirements.lock").write_text("numpy==3\n")
    result = run(tree, action)
    assert result.returncode == 2
    assert "run: make container" in result.stderr
    assert run(tree, "shell", "-c", "true").returncode == 0


def test_a_failing_pipeline_fails_the_container(tree):
    (tree / "bin" / "dvc").write_text("#!/bin/sh\nexit 3\n")
    result = run(tree, "repro")
    assert result.returncode == 3
    assert "the results" not in result.stdout


# Like DVC, ignores Ctrl-C while its stage runs and ends after the stage, which needs a while to clean up.
DVC = """\
#!/bin/sh
exec '{python}' -c '
import signal, subprocess, sys
stage = subprocess.Popen([sys.executable, "stage.py"])
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.exit(251 if stage.wait() else 0)
'
"""
STAGE = """\
import pathlib, time
try:
    pathlib.Path("running").touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
    pathlib.Path("tidy").touch()
    raise SystemExit(130)
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_stage_and_the_container_waits_for_it(tree, stop):
    (tree / "bin" / "dvc").write_text(DVC.format(python=sys.executable))
    (tree / "work" / "stage.py").write_text(STAGE)
    # Background jobs of a shell ignore SIGINT, and so would the entry point; in a container it has the default handler.
    default = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    container = subprocess.Popen(**call(tree, "repro"), **default, start_new_session=True)
    try:
        for _ in range(200):
            if (tree / "work" / "running").exists():
                break
            time.sleep(0.1)
        container.send_signal(stop)  # only to the entry point
        assert container.wait(20) == 251
        assert (tree / "work" / "tidy").exists()
    finally:
        container.kill()
