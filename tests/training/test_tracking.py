"""Live curves are complete, also after an interruption, and change no number."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import TinyModel, tiny_batches, write_store

from given_parameters import paper
from synthdrive.config.training import OptimisationParameters
from synthdrive.core.errors import ParameterError
from synthdrive.training.checkpoints import ResumeFolder
from synthdrive.training.data import Sharing
from synthdrive.training.devices import make_accelerator
from synthdrive.training.loop import Fit, fit
from synthdrive.training.monitoring import NonFiniteLossError
from synthdrive.training.tracking import TRACKER, start_tracking


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("tracking") / "store", 20)


def _train(store: Path, logs: Path, states: ResumeFolder | None = None, **settings: object) -> tuple[TinyModel, Fit]:
    parameters = paper(OptimisationParameters, epochs=3, global_batch_size=8, micro_batch_size=8, learning_rate=1e-3)
    accelerator = make_accelerator(parameters, logs)
    start_tracking(accelerator, logs / "tiny-0")
    torch.manual_seed(3)
    model = TinyModel()
    for name, value in settings.items():
        setattr(model, name, value)
    batches = tiny_batches(store, Sharing(8, 8, 1, 0))
    fitted = fit(model, batches, parameters, accelerator, states, "tiny", logs / "non-finite")
    accelerator.end_training()
    return model, fitted


def _logged(folder: Path, name: str) -> np.ndarray:
    with (folder / "plots" / "metrics" / f"{name}.tsv").open() as file:
        return np.array([[float(row["step"]), float(row[name])] for row in csv.DictReader(file, delimiter="\t")])


def test_dvclive_logs_the_whole_curve_and_changes_no_number(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, expected = _train(store, tmp_path / "off")
    assert not (tmp_path / "off").exists()
    monkeypatch.setenv(TRACKER, "dvclive")
    model, fitted = _train(store, tmp_path / "live")
    assert fitted.curve == expected.curve
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in plain.state_dict().items())
    for name in ("loss", "first", "learning_rate", "encoder_gradient_norm"):
        logged = _logged(tmp_path / "live" / "tiny-0", name)
        np.testing.assert_array_equal(logged, [[row["step"], row[name]] for row in fitted.curve])


def test_resumed_run_logs_every_row_once(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACKER, "dvclive")
    states = ResumeFolder(tmp_path / "states", "tiny", {})
    with pytest.raises(NonFiniteLossError):
        _train(store, tmp_path, states, poison=2 * 3 + 3)  # stops in the third epoch
    interrupted = _logged(tmp_path / "tiny-0", "loss")
    _, fitted = _train(store, tmp_path, states)
    assert fitted.course["resumed_after"] == [2]
    logged = _logged(tmp_path / "tiny-0", "loss")
    np.testing.assert_array_equal(logged, [[row["step"], row["loss"]] for row in fitted.curve])
    np.testing.assert_array_equal(logged[: len(interrupted)], interrupted)


def test_unknown_tracker_is_refused(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACKER, "paper-and-pencil")
    with pytest.raises(ParameterError, match=r"SYNTHDRIVE_TRACKER: found 'paper-and-pencil'; expected .*dvclive"):
        _train(store, tmp_path)
