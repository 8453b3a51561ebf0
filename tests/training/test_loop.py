"""Tests of the training loop: results do not depend on how a batch is divided; a non-finite loss stops training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_training
import torch
from safetensors.torch import load_file
from tiny_training import TinyExample, TinyModel, train, write_store

from given_parameters import paper
from synthdrive.config.training import OptimisationParameters
from synthdrive.core.errors import SynthDriveError
from synthdrive.training.checkpoints import ResumeFolder
from synthdrive.training.monitoring import NonFiniteLossError

SCRIPT = Path(tiny_training.__file__)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("tiny") / "store", 43)


def _parameters(**changes: object) -> OptimisationParameters:
    return paper(
        OptimisationParameters,
        **{"epochs": 3, "global_batch_size": 8, "micro_batch_size": 8, "learning_rate": 1e-3, **changes},
    )


def test_training_lowers_the_loss_and_prints_each_epoch(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, fitted = train(store, None, _parameters(epochs=20))
    losses = [row["loss"] for row in fitted.curve]
    assert losses[-1] < 0.75 * losses[0]
    assert fitted.training["steps"] == 20 * 6
    assert fitted.encoder["tensors"] == fitted.encoder["tensors_moved"] == 2
    assert 0.01 < fitted.encoder["relative_change"] < 10
    assert len(fitted.encoder["gradient_norm_per_epoch"]) == 20
    assert min(fitted.encoder["gradient_norm_per_epoch"]) > 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert lines[4].startswith("tiny: epoch 5 of 20: loss")


def test_curve_is_the_mean_over_the_scenes_of_an_epoch(store: Path) -> None:
    _, fitted = train(store, None, _parameters(epochs=1, global_batch_size=43, micro_batch_size=43))
    assert fitted.curve[-1]["epoch"] == 1.0
    assert fitted.last_epoch["loss"] == pytest.approx(fitted.last_epoch["first"] + fitted.last_epoch["second"])
    _, steps = train(store, None, _parameters(epochs=1, global_batch_size=20))
    assert [row["step"] for row in steps.curve] == [1, 2, 3]
    mean = sum(row["loss"] for row in steps.curve) / 3
    assert steps.last_epoch["loss"] == pytest.approx(mean)


def test_gradient_accumulation_gives_the_step_of_the_whole_batch(store: Path) -> None:
    whole, fitted = train(store, None, _parameters())
    for micro_batch_size in (1, 3):
        parts, divided = train(store, None, _parameters(micro_batch_size=micro_batch_size))
        assert divided.last_epoch["loss"] == pytest.approx(fitted.last_epoch["loss"], rel=1e-5)
        for name, value in parts.state_dict().items():
            torch.testing.assert_close(value, whole.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_a_repeated_run_is_identical_to_the_last_bit(store: Path) -> None:
    first, second = (train(store, None, _parameters(micro_batch_size=3))[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_environment_variables_for_accelerate_change_no_result(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such variables may be left from other work in a shell, or set by a launcher's configuration."""
    expected = train(store, None, _parameters(epochs=1))[0].state_dict()
    for name, value in (
        ("GRADIENT_ACCUMULATION_STEPS", "1000"), ("MIXED_PRECISION", "bf16"), ("DYNAMO_BACKEND", "EAGER"),
        ("USE_DEEPSPEED", "true"), ("USE_FSDP", "true"),
    ):  # fmt: skip
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    found = train(store, None, _parameters(epochs=1))[0].state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_clipping_bounds_the_gradient_and_is_off_by_default(store: Path) -> None:
    free, _ = train(store, None, _parameters(epochs=1))
    loose, _ = train(store, None, _parameters(epochs=1, max_grad_norm=1e6))
    tight, fitted = train(store, None, _parameters(epochs=1, max_grad_norm=1e-12))
    torch.testing.assert_close(free.state_dict(), loose.state_dict())
    start = _start()
    moved = max((tight.state_dict()[name] - start[name]).abs().max().item() for name in start)
    assert moved < 1e-3  # eps of Adam, 1e-8, outweighs such a gradient
    assert fitted.last_epoch["gradient_norm"] > 1e-3  # the norm before clipping is recorded


def test_the_trained_model_is_the_moving_average_if_enabled(store: Path) -> None:
    last, _ = train(store, None, _parameters())
    average, _ = train(store, None, _parameters(ema_decay=0.9))
    start = _start()
    for name, weight in last.state_dict().items():
        if name.startswith("unused"):
            continue
        moved, lagging = (weight - start[name]).norm(), (average.state_dict()[name] - start[name]).norm()
        assert 0 < lagging < moved, name


def test_number_of_threads_does_not_depend_on_the_machine(store: Path) -> None:
    torch.set_num_threads(2)
    _, fitted = train(store, None, _parameters(epochs=1))
    assert torch.get_num_threads() == fitted.course["threads"] == 1


def _start() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return TinyModel().state_dict()


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_other_precisions_reach_a_similar_loss(store: Path, precision: str) -> None:
    _, exact = train(store, None, _parameters())
    _, fitted = train(store, None, _parameters(precision=precision))
    assert fitted.last_epoch["loss"] == pytest.approx(exact.last_epoch["loss"], rel=0.05)
    if precision == "bfloat16":
        assert fitted.last_epoch["loss"] != exact.last_epoch["loss"]


def test_non_finite_loss_stops_training_and_saves_its_batch(store: Path) -> None:
    with pytest.raises(NonFiniteLossError, match="epoch 2, step 3") as caught:
        train(store, None, _parameters(micro_batch_size=3), poison=6 * 3 + 2 * 3 + 1)
    folder = store.parent / "non-finite"
    assert str(folder) in str(caught.value)
    described = json.loads((folder / "device0.json").read_text())
    assert described["loss"] == "nan"
    assert (described["epoch"], described["step"]) == (1, 2)
    saved = [load_file(path) for path in sorted(folder.glob("device0-part*.safetensors"))]
    assert torch.cat([part["sample_seeds"] for part in saved]).tolist() == described["sample_seeds"]
    assert len(described["scene_ids"]) == 8


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_resumed_run_equals_an_uninterrupted_one_to_the_last_bit(store: Path, tmp_path: Path, ema_decay: float) -> None:
    parameters = _parameters(epochs=4, ema_decay=ema_decay)
    uninterrupted, fitted = train(store, None, parameters, TinyExample())
    run = ResumeFolder(tmp_path, "tiny", {"a": 1})
    with pytest.raises(NonFiniteLossError):
        train(store, run, parameters, TinyExample(), poison=2 * 6 + 4)  # ends in the third epoch
    resumed, resumed_fit = train(store, run, parameters, TinyExample())
    assert resumed_fit.course["resumed_after"] == [2]
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in uninterrupted.state_dict().items())
    assert resumed_fit.curve == fitted.curve
    assert resumed_fit.encoder == fitted.encoder
    assert torch.equal(resumed_fit.seen["guess"], fitted.seen["guess"])


def test_watched_outputs_cover_the_start_and_every_epoch_without_changing_results(store: Path) -> None:
    plain, unwatched = train(store, None, _parameters())
    model, watched = train(store, None, _parameters(), TinyExample())
    assert unwatched.seen == {}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in plain.state_dict().items())
    assert model.training
    start = TinyModel()
    start.load_state_dict(_start())
    guesses = watched.seen["guess"]
    assert guesses.shape == (1 + 3, 60)
    assert torch.equal(guesses[0], TinyExample().look(start.eval())["guess"])
    assert torch.equal(guesses[-1], TinyExample().look(model.eval())["guess"])
    assert len(guesses.unique(dim=0)) == 4


def test_compiling_without_a_compiler_names_what_is_missing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SynthDriveError, match=r"no no-such-compiler: .*compile: false"):
        train(store, None, _parameters(compile=True))


def _command(*arguments: object) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def test_killed_run_continues_to_the_same_weights(store: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    killed = subprocess.run(_command(store, tmp_path / "a", runs, "--kill-at-step", 2 * 6 + 3), capture_output=True)
    assert killed.returncode == -9
    assert not (tmp_path / "a").exists()
    subprocess.run(_command(store, tmp_path / "a", runs), check=True, capture_output=True)
    subprocess.run(_command(store, tmp_path / "b", tmp_path / "others"), check=True, capture_output=True)
    assert json.loads((tmp_path / "a" / "fit.json").read_text())["resumed"] == [2]
    for file in ("model.safetensors", "seen.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_two_processes_give_the_same_loss_as_one(store: Path, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [
        sys.executable,
        *launcher,
        str(SCRIPT),
        store,
        tmp_path / "two",
        tmp_path / "runs",
        "--micro-batch-size",
        3,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    one, fitted = train(store, None, _parameters(epochs=4))
    curve = json.loads((tmp_path / "two" / "fit.json").read_text())["curve"]
    assert [row["loss"] for row in curve] == pytest.approx([row["loss"] for row in fitted.curve], rel=1e-4)
    norms = [[row["encoder_gradient_norm"] for row in rows] for rows in (curve, fitted.curve)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)
    for name, value in load_file(tmp_path / "two" / "model.safetensors").items():
        torch.testing.assert_close(value, one.state_dict()[name], rtol=1e-3, atol=1e-5)


def test_several_processes_without_torchrun_are_refused(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SynthDriveError, match="torchrun"):
        train(store, None, _parameters())
