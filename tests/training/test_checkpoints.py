"""Tests of resume states: they are written completely or not at all, and one process at a time uses a run's folder."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from synthdrive.core.errors import InputError, SynthDriveError
from synthdrive.training import checkpoints
from synthdrive.training.checkpoints import EpochState, ResumeFolder, discard_states, training_identity


def _state(epochs: int) -> EpochState:
    weights, seen = {"w": torch.full((3,), float(epochs))}, {"guess": torch.zeros(1 + epochs, 2)}
    return EpochState(epochs, weights, {"mean/w": torch.ones(3)}, {"curve": []}, seen)


def test_newest_state_is_loaded_and_two_states_are_kept(tmp_path: Path) -> None:
    run = ResumeFolder(tmp_path, "pretrain", {"seed": 0})
    assert run.load() is None
    for epochs in range(1, 12):
        run.save(_state(epochs))
    loaded = run.load()
    assert loaded is not None
    assert loaded.epochs == 11
    assert loaded.model["w"].tolist() == [11.0] * 3
    assert loaded.seen["guess"].shape == (12, 2)
    assert len(list(run.path.glob("epoch-*"))) == 2


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors", "seen.safetensors", "state.json"])
def test_damaged_state_is_skipped(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = ResumeFolder(tmp_path, "pretrain", {})
    for epochs in (1, 2):
        run.save(_state(epochs))
    damaged = run.path / "epoch-0002" / name
    damaged.write_bytes(damaged.read_bytes()[:-7])
    loaded = run.load()
    assert loaded is not None
    assert loaded.epochs == 1
    assert str(damaged) in capsys.readouterr().err


@pytest.mark.parametrize("part", ["model", "optimiser"])
def test_state_with_a_nan_is_skipped(tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = ResumeFolder(tmp_path, "pretrain", {})
    run.save(_state(1))
    run.save(replace(_state(2), **{part: {"w": torch.tensor([1.0, float("nan"), 1.0])}}))
    loaded = run.load()
    assert loaded is not None
    assert loaded.epochs == 1
    assert f"epoch-0002/{part}.safetensors: w: found infinity or NaN" in capsys.readouterr().err


def test_state_of_another_identity_or_stage_is_not_loaded(tmp_path: Path) -> None:
    run = ResumeFolder(tmp_path, "pretrain", {"code": "a", "seed": 0})
    run.save(_state(3))
    assert ResumeFolder(tmp_path, "pretrain", {"seed": 0, "code": "a"}).load() is not None
    for identity in ({"code": "b", "seed": 0}, {"code": "a", "seed": 1}):
        assert ResumeFolder(tmp_path, "pretrain", identity).load() is None
    assert ResumeFolder(tmp_path, "finetune", {"code": "a", "seed": 0}).load() is None


def test_why_not_resumed_explains_how_the_last_state_differs(tmp_path: Path) -> None:
    record, settings = {"stage_code": "a", "inputs": {"scenes": "b"}, "device": "cpu"}, {"processes": 1, "threads": 1}
    run = ResumeFolder(tmp_path, "pretrain", training_identity("map", record, settings), "map-0")
    assert run.why_not_resumed() is None
    run.save(_state(1))
    assert run.why_not_resumed() is None

    def explanation(variant: str = "map", threads: int = 1, **changes: object) -> str | None:
        identity = training_identity(variant, {**record, **changes}, {**settings, "threads": threads})
        return ResumeFolder(tmp_path, "pretrain", identity, f"{variant}-0").why_not_resumed()

    assert explanation(threads=4) == f"the state in {run.path} was made with threads 1 (now 4)"
    assert str(explanation(stage_code="c", device="H200")).endswith("made with other code, device cpu (now H200)")
    assert explanation(variant="none") is None
    (run.path / "epoch-0001" / "state.json").write_text("{")
    assert explanation(threads=4) is None


def test_second_process_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom synthdrive.training.checkpoints import ResumeFolder\n"
        f"run = ResumeFolder(Path({str(tmp_path)!r}), 'pretrain', {{}})\n"
        "with run.held(): print('in', flush=True); sys.stdin.read()"
    )
    first = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdin is not None
    assert first.stdout.readline() == "in\n"
    run = ResumeFolder(tmp_path, "pretrain", {})
    with pytest.raises(SynthDriveError, match="another process"), run.held():
        pass
    first.kill()
    first.wait()
    with run.held():
        run.clear()
    assert not run.path.exists()


def test_the_last_two_superseded_states_of_a_run_are_kept(tmp_path: Path) -> None:
    runs = [ResumeFolder(tmp_path, "pretrain", {"learning_rate": rate}, "map-0") for rate in range(5)]
    other = ResumeFolder(tmp_path, "pretrain", {}, "map-01")
    for age, run in enumerate([other, *runs]):
        run.save(_state(1))
        os.utime(run.path, (age, age))
    with runs[0].held():
        os.utime(runs[0].path, (1, 1))
        with ResumeFolder(tmp_path, "pretrain", {"learning_rate": 9}, "map-0").held():
            pass
    kept = [
        run.path.exists() for run in (runs[4], runs[3], runs[0], other)
    ]  # the newest two, one in use, one of another run
    assert kept == [True] * 4
    assert not runs[1].path.exists()
    assert not runs[2].path.exists()


def test_states_are_deleted_when_their_checkpoint_is_used(tmp_path: Path) -> None:
    record = dict.fromkeys(("stage_code", "parameters_sha256", "inputs", "packages", "device", "seed"), "0")
    run = ResumeFolder(tmp_path, "pretrain", training_identity("map", record, {"processes": 2}), "map-0")
    run.save(_state(1))
    metadata = {"stage": "pretrain", "name": "map-0", "variant": "map", "made_by": record, "training": {"processes": 1}}
    discard_states(tmp_path, metadata)
    assert run.load() is not None
    metadata["training"] = {"processes": 2}
    with run.held():
        discard_states(tmp_path, metadata)
        assert run.load() is not None
    discard_states(tmp_path, metadata)
    assert not run.path.exists()
    discard_states(tmp_path, {})


def test_lack_of_memory_while_reading_a_state_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ResumeFolder(tmp_path, "pretrain", {})
    run.save(_state(1))

    def no_memory(path: Path) -> None:
        raise InputError(path, "unreadable ([Errno 12] Cannot allocate memory)", "a file")

    monkeypatch.setattr(checkpoints, "load_tensors", no_memory)
    with pytest.raises(InputError):
        run.load()
