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
def test_an_error_survives_pickling_between_processes(kind):
    error = kind("maps.xml: lane 7", "successor 9", "a lane of the map", "Check the file.")
    unpickled = pickle.loads(pickle.dumps(error))
    assert type(unpickled) is kind
    assert str(unpickled) == "maps.xml: lane 7: found successor 9; expected a lane of the map. Check the file."


def test_a_user_error_prints_one_line_and_exits_with_status_2(capsys, monkeypatch):
    monkeypatch.delenv("SYNTHDRIVE_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as stop, exit_on_error():
        raise InputError("a.csv", "49 rows", "50 rows")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: a.csv: found 49 rows; expected 50 rows\n"


def test_an_unexpected_exception_keeps_its_traceback():
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
def test_lack_of_memory_or_disk_space_is_reported_with_advice(error, advice, capsys):
    with pytest.raises(SystemExit) as stop, exit_on_error():
        raise error
    assert stop.value.code == 2
    assert re.match(f"error: .*{advice}", capsys.readouterr().err)


def test_sigterm_raises_an_exception_and_the_previous_handler_is_restored(capsys):
    before = signal.getsignal(signal.SIGTERM)
    cleaned_up = []
    with pytest.raises(SystemExit) as stop, exit_on_error():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            cleaned_up.append(True)
    assert cleaned_up
    assert stop.value.code == 143
    assert "stopped" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
