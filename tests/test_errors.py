"""Tests of errors, exit statuses and signals."""

import os
import pickle
import re
import signal
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from synthdrive.core.errors import InputError, ParameterError, exit_on_error


@pytest.mark.parametrize("kind", [InputError, ParameterError])
def test_an_error_survives_the_way_back_from_a_worker(kind):
    error = kind("maps.xml: lane 7", "successor 9", "a lane of the map", "Check the file.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == "maps.xml: lane 7: found successor 9; expected a lane of the map. Check the file."


def test_a_users_error_is_one_line_and_status_2(capsys, monkeypatch):
    monkeypatch.delenv("SYNTHDRIVE_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as stop, exit_on_error():
        raise InputError("a.csv", "49 rows", "50 rows")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: a.csv: found 49 rows; expected 50 rows\n"


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), exit_on_error():
        1 / 0  # noqa: B018


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(28, "No space left on device"), r"No space left on device.*Free some space.*same command"),
        (ValueError("I/O error: No space left on device (os error 28)"), "Free some space"),
        (InputError("a.npy", "unreadable ([Errno 12] Cannot allocate memory)", "an array"), "SYNTHDRIVE_WORKERS=1"),
        (MemoryError(), r"out of memory \(MemoryError\).*SYNTHDRIVE_WORKERS=1"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "a smaller batch"),
        (BrokenProcessPool("A process was terminated abruptly"), "a worker process was killed.*out of memory"),
    ],
)
def test_what_the_machine_lacks_is_said_with_what_to_do(error, advice, capsys):
    with pytest.raises(SystemExit) as stop, exit_on_error():
        raise error
    assert stop.value.code == 2
    assert re.match(f"error: .*{advice}", capsys.readouterr().err)


def test_sigterm_ends_the_block_as_an_exception_and_nothing_else(capsys):
    before = signal.getsignal(signal.SIGTERM)
    tidied = []
    with pytest.raises(SystemExit) as stop, exit_on_error():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            tidied.append(True)
    assert tidied
    assert stop.value.code == 143
    assert "stopped" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
