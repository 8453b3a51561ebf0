"""Tests of running SUMO's programs: they end when the recording ends, and errors name the cause of a failure."""

import resource
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from synthdrive.core.errors import InputError, SynthDriveError
from synthdrive.map_import.sumo_programs import Programs, check_end, check_space


def test_status_and_output_of_a_program_are_returned():
    done = Programs().run([sys.executable, "-c", "import sys; print('out'); sys.exit('err')"])
    assert (done.returncode, done.stdout, done.stderr) == (1, "out\n", "err\n")


def test_invalid_utf_8_in_the_output_is_replaced():
    done = Programs().run(["printf", r"stra\337e"])
    assert done.stdout == "stra\N{REPLACEMENT CHARACTER}e"


def test_stop_kills_running_programs_and_prevents_new_ones():
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


def test_killed_recording_leaves_no_program_running(tmp_path):
    code = f"from {Programs.__module__} import Programs\nPrograms().run(['sh', '-c', 'echo $$ > pid; sleep 600'])"
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


def test_full_disk_is_reported(tmp_path, monkeypatch):
    check_space(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=4096))
    with pytest.raises(OSError, match="No space left on device"):
        check_space(tmp_path)


UNLIMITED, LIMITED = (resource.RLIM_INFINITY,) * 2, (1 << 30,) * 2


def check_stopped_program(tmp_path, status, stderr):
    """Call check_end for a netconvert that has stopped while it worked on a.net.xml."""
    ended = subprocess.CompletedProcess(["/sumo/bin/netconvert", "-o"], status, "", stderr)
    check_end(ended, tmp_path, "a.net.xml", "a network that netconvert can redraw")


@pytest.mark.parametrize(
    ("status", "stderr", "limit"),
    [
        (-9, "", UNLIMITED),  # by the kernel
        (127, "netconvert: error while loading shared libraries: libz.so: failed to map segment\n", UNLIMITED),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'\n", UNLIMITED),
        (1, "Quitting (on unknown error).\n", LIMITED),
        (-11, "", LIMITED),
    ],
)
def test_out_of_memory_error_names_the_program_and_the_remedy(status, stderr, limit, tmp_path, monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda kind: limit)
    with pytest.raises(MemoryError, match=r"^netconvert stopped while it worked on a\.net\.xml: .+; free some memory"):
        check_stopped_program(tmp_path, status, stderr)


@pytest.mark.parametrize(
    ("status", "stderr", "found"),
    [
        (
            1,
            "Warning: w\nError: No nodes.\nQuitting (on error).\n",
            "netconvert stopped: Error: No nodes.",
        ),
        (1, "Quitting (on unknown error).\n", "netconvert stopped: Quitting (on unknown error)."),
        (-11, "", "netconvert stopped: killed by SIGSEGV"),
    ],
)
def test_failure_with_enough_memory_is_an_input_error(status, stderr, found, tmp_path, monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda kind: UNLIMITED)
    with pytest.raises(InputError) as error:
        check_stopped_program(tmp_path, status, stderr)
    assert (error.value.where, error.value.found) == ("a.net.xml", found)


@pytest.mark.parametrize("megabytes", [200, 500])  # too little for its libraries, and too little for the network
def test_netconvert_under_a_memory_limit_reports_out_of_memory(megabytes, tmp_path):
    code = f"""
import resource
from pathlib import Path
from {Programs.__module__} import netconvert, sumo_home
from synthdrive.core.errors import exit_on_error
network = sumo_home() / "tools/game/corridor/corridor.net.xml"
resource.setrlimit(resource.RLIMIT_AS, ({megabytes << 20}, {megabytes << 20}))
with exit_on_error():
    netconvert(Path("."), "corridor.net.xml", ["--sumo-net-file", network, "-o", "again.net.xml"])
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: out of memory (netconvert stopped while it worked on corridor.net.xml: ")
    assert "raise the limit" in ended.stderr
