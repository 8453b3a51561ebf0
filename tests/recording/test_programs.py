"""Programs that a recording starts end when it does."""

import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from synthdrive.core.errors import SynthDriveError
from synthdrive.map_import.netconvert import check_space
from synthdrive.recording.programs import Programs


def test_what_a_program_says_comes_back():
    done = Programs().run([sys.executable, "-c", "import sys; print('out'); sys.exit('err')"])
    assert (done.returncode, done.stdout, done.stderr) == (1, "out\n", "err\n")


def test_what_is_no_utf_8_comes_back_too():
    done = Programs().run(["printf", r"stra\337e"])
    assert done.stdout == "stra\N{REPLACEMENT CHARACTER}e"


def test_stopping_ends_what_runs_and_lets_nothing_begin():
    programs, statuses = Programs(), []
    thread = Thread(target=lambda: statuses.append(programs.run(["sleep", "600"]).returncode))
    thread.start()
    while not programs._running:
        time.sleep(0.01)
    programs.stop()
    thread.join(60)
    assert statuses == [-9]
    with pytest.raises(SynthDriveError, match="has been stopped"):
        programs.run(["sleep", "600"])


def test_a_killed_recording_leaves_no_program(tmp_path):
    code = (
        "from synthdrive.recording.programs import Programs\nPrograms().run(['sh', '-c', 'echo $$ > pid; sleep 600'])"
    )
    recording = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        time.sleep(0.05)
    recording.kill()
    recording.wait()
    status = Path(f"/proc/{pid.read_text().strip()}/stat")
    for _ in range(200):
        if not status.exists() or " Z " in status.read_text():
            return
        time.sleep(0.05)
    pytest.fail("the program still runs")


def test_a_full_disk_is_said_whatever_the_program_says(tmp_path, monkeypatch):
    check_space(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=4096))
    with pytest.raises(OSError, match="No space left on device"):
        check_space(tmp_path)
