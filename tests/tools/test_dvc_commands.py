"""Tests of how the tools run DVC, with a stand-in that reports a held lock, fails, or prints."""

import pytest

from synthdrive.core.errors import SynthDriveError
from tools import dvc_commands
from tools.dvc_commands import dvc

STAND_IN = """\
import pathlib, sys
calls = pathlib.Path("calls")
calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
print("out", *sys.argv[1:])
print({message!r}, file=sys.stderr)
sys.exit({status} if len(calls.read_text()) < {succeeds_from} else 0)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A function that installs a stand-in for DVC, given its error message and the first call that succeeds."""

    def install(message, status=255, succeeds_from=99):
        (tmp_path / "dvc.py").write_text(STAND_IN.format(message=message, status=status, succeeds_from=succeeds_from))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(dvc_commands, "PAUSE", 0.0)
        return tmp_path

    return install


def test_a_command_is_repeated_while_the_lock_is_held(stand_in):
    folder = stand_in("ERROR: Unable to acquire lock", succeeds_from=3)
    assert dvc("status", "--json", repository=folder, captured=True) == "out status --json\n"
    assert (folder / "calls").read_text() == "xxx"


def test_a_lock_that_is_never_released_is_an_error(stand_in, monkeypatch):
    folder = stand_in("ERROR: Unable to acquire lock")
    monkeypatch.setattr(dvc_commands, "TRIES", 2)
    with pytest.raises(SynthDriveError, match="exit status 255"):
        dvc("repro", repository=folder)


@pytest.mark.parametrize(("captured", "expected"), [(True, "out repro\nERROR: bad"), (False, "printed above")])
def test_another_failure_is_an_error_without_repetition(stand_in, captured, expected):
    folder = stand_in("ERROR: bad", status=1)
    with pytest.raises(SynthDriveError) as raised:
        dvc("repro", repository=folder, captured=captured)
    assert "dvc repro: exit status 1; " in str(raised.value)
    assert expected in str(raised.value)
    assert (folder / "calls").read_text() == "x"


def test_output_that_is_not_captured_is_shown_except_lock_errors(stand_in, capfd):
    folder = stand_in("ERROR: Unable to acquire lock", succeeds_from=2)
    assert dvc("repro", repository=folder) == ""
    assert capfd.readouterr() == ("out repro\nout repro\n", "")
