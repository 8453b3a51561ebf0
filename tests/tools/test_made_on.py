"""Tests of comparing this machine with the recorded one, which must be equal to give the same bytes in training."""

import json
import sys

import pytest

from tools import made_on

CPUINFO = """\
processor\t: 0
model name\t: Some Processor
cpu family\t: 6
stepping\t: {stepping}
flags\t\t: fpu sse2 avx2 {flags}

processor\t: 1
model name\t: another of the same board
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that changes the hardware of this machine as it is reported; the initial hardware is recorded."""

    def set_hardware(stepping=1, flags="avx512f", cache="32K"):
        (tmp_path / "cpuinfo").write_text(CPUINFO.format(stepping=stepping, flags=flags))
        (tmp_path / "caches/index0").mkdir(parents=True, exist_ok=True)
        (tmp_path / "caches/index0/size").write_text(f"{cache}\n")

    monkeypatch.setattr(made_on, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(made_on, "CACHES", tmp_path / "caches")
    monkeypatch.chdir(tmp_path)
    set_hardware()
    assert status(monkeypatch, "--write") == 0
    return set_hardware


def status(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["made_on", *arguments])
    with pytest.raises(SystemExit) as ended:
        made_on.main()
    return ended.value.code


def test_the_record_describes_the_processor_without_identifying_the_machine(machine):
    recorded = json.loads(made_on.RECORD.read_text())
    assert recorded["processor"] == {"model name": "Some Processor", "cpu family": "6", "stepping": "1"}
    assert recorded["vector_instructions"] == ["avx2", "avx512f", "sse2"]
    assert recorded["caches"] == ["32K"]
    assert set(recorded) == {"processor", "vector_instructions", "caches", "c_library", "python", "torch"}


@pytest.mark.parametrize("change", [{"stepping": 2}, {"flags": ""}, {"cache": "48K"}])
def test_another_processor_is_detected(machine, monkeypatch, capsys, change):
    assert status(monkeypatch) == 0
    machine(**change)
    assert status(monkeypatch) == 1
    assert "unlike this one" in capsys.readouterr().out


def test_a_processor_flag_without_effect_on_arithmetic_is_ignored(machine, monkeypatch):
    machine(flags="avx512f hypervisor")
    assert status(monkeypatch) == 0


def test_a_missing_record_is_an_error_rather_than_another_machine(machine, monkeypatch):
    made_on.RECORD.unlink()
    assert status(monkeypatch) == 2
