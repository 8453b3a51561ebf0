"""Tests of one variant and seed through both stages, with small real networks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny_training import write_store

from given_parameters import committed, paper
from repository import PARAMS, REPOSITORY
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.config.training import ModelParameters, PretrainParameters
from synthdrive.core import provenance
from synthdrive.core.artifacts import write_json
from synthdrive.core.errors import InputError, ParameterError, Terminated
from synthdrive.core.provenance import load_provenance
from synthdrive.core.timing import ARGOVERSE1, ARGOVERSE2
from synthdrive.finetuning.finetune import finetune
from synthdrive.forecasting.forecast_scenes import checkpoint_forecasts
from synthdrive.models.densetnt import DenseTNT
from synthdrive.pretraining.pretrain import pretrain, pretraining_model, usable_windows
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training import training_run
from synthdrive.training.checkpoints import RECONSTRUCTION, RECONSTRUCTIONS, load_forecaster, load_metadata
from synthdrive.training.training_run import TrainingRun, seed_model

PRECISIONS = ["float32", "bfloat16"]  # torch supports bfloat16 on any CPU, but slowly if the processor does not


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("runs") / "store", 12)


def _parameters(folder: Path, **changes: Any) -> Path:
    """The repository's parameters with small networks and one short epoch; `changes` are values by dotted key."""
    values = yaml.safe_load(PARAMS.read_text())
    values["model"] |= {"hidden_size": 32, "sub_graph_layers": 1, "dense_from_goals": 4}
    for section in ("pretrain", "finetune"):
        values[section] |= {
            "epochs": 1,
            "global_batch_size": 6,
            "micro_batch_size": 4,
            "warmup_epochs": 0.0,
            "dead_mode_weight": 0.0,
        }
    del values["finetune"]["dead_mode_weight"]
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def _run(folder: Path, variant: str, parameters: Path, stage: str = "pretrain", seed: int = 0) -> TrainingRun:
    out = folder / stage / f"{variant}-{seed}"
    return TrainingRun(variant, seed, out, parameters, runs=folder / "runs", provenance=folder / "provenance")


def test_both_stages_of_a_variant(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parameters = _parameters(tmp_path)
    first = _run(tmp_path, "combined", parameters)
    second = replace(_run(tmp_path, "combined", parameters, "finetune"), curve=tmp_path / "plots" / "curve.csv")
    pretrain(first, store)
    finetune(second, store, first.out)
    assert "tensors loaded (encoder)" in capsys.readouterr().out
    files = ["curve.csv", "metadata.json", "model.safetensors"]
    assert sorted(path.name for path in second.out.iterdir()) == files
    assert sorted(path.name for path in first.out.iterdir()) == [*files, RECONSTRUCTION, RECONSTRUCTIONS]
    assert second.curve is not None
    assert second.curve.read_bytes() == (second.out / "curve.csv").read_bytes()
    left = sorted(path.parent.parent.name for path in (tmp_path / "runs").glob("*/*/epoch-*"))
    assert left == ["finetune"]  # kept until evaluation; pre-training's checkpoint has been used
    metadata = load_metadata(second.out)
    tensors = load_file(second.out / "model.safetensors")
    encoder = {name for name in tensors if name.startswith("encoder.")}
    assert set(metadata["transfer"]["loaded"]) == encoder
    assert set(metadata["transfer"]["fresh"]) == set(tensors) - encoder
    assert metadata["pretrained"]["encoder"]["tensors_moved"] == len(encoder)
    record = load_provenance(second.provenance, "finetune", second.name)
    assert record["made_by"]["seed"] == 0
    assert set(record["made_by"]["inputs"]) == {"scenes", "pretrained"}
    assert metadata["last_epoch"]["loss"] > 0
    network, again = load_forecaster(second.out)
    assert again == metadata
    assert all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())


def test_a_checkpoint_is_refused_for_scenes_of_another_timing(store: Path, tmp_path: Path) -> None:
    longer = write_store(tmp_path / "longer", 12, timing=ARGOVERSE2)
    parameters = _parameters(tmp_path, **{"pretrain.held_out_fraction": 0.0})
    first = _run(tmp_path, "forecast", parameters)
    second = _run(tmp_path, "forecast", parameters, "finetune")
    pretrain(first, longer)
    assert load_metadata(first.out)["timing"] == ARGOVERSE2.plain()
    with pytest.raises(
        InputError, match="timing: found 50 observed and 60 future.*; expected 20 observed and 30 future"
    ):
        finetune(second, store, first.out)
    assert not second.out.exists()
    finetune(second, longer, first.out)
    network, metadata = load_forecaster(second.out)
    assert network.timing == ARGOVERSE2
    assert metadata["timing"] == ARGOVERSE2.plain()
    evaluation = committed(EvaluateParameters, num_restarts=2)
    with (
        pytest.raises(InputError, match="found 20 observed and 30 future.*; expected 50 observed and 60 future"),
        checkpoint_forecasts(second.out, store, evaluation, "cpu", 1, tmp_path / "runs", tmp_path / "provenance"),
    ):
        pass


def test_a_variant_without_pre_training_starts_from_random_weights(store: Path, tmp_path: Path) -> None:
    parameters = _parameters(tmp_path)
    with pytest.raises(ParameterError, match=r"variants\.none\.pretrain\.objective"):
        pretrain(_run(tmp_path, "none", parameters), store)
    run = _run(tmp_path, "none", parameters, "finetune")
    finetune(run, store)
    metadata = load_metadata(run.out)
    assert metadata["transfer"]["loaded"] == []
    assert metadata["pretrained"] == {"trained": False}
    with pytest.raises(InputError, match="variants.map"):
        finetune(_run(tmp_path, "map", parameters, "finetune"), store)


def test_checkpoints_do_not_depend_on_machine_or_commit(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = _parameters(tmp_path)
    monkeypatch.setattr(provenance, "git_commit", lambda: "a" * 40)
    first, second = (_run(tmp_path / place, "combined", parameters) for place in ("one", "another"))
    pretrain(first, store)
    monkeypatch.setattr(provenance, "git_commit", lambda: "b" * 40)
    monkeypatch.setattr("platform.platform", lambda *_: "elsewhere")
    pretrain(second, store)
    for path in first.out.iterdir():
        assert path.read_bytes() == (second.out / path.name).read_bytes(), path.name
    records = [load_provenance(run.provenance, "pretrain", run.name)["made_by"]["commit"] for run in (first, second)]
    assert records == ["a" * 40, "b" * 40]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_released_mask_leaves_the_encoder_unchanged(store: Path, tmp_path: Path, precision: str) -> None:
    parameters = _parameters(tmp_path, **{"pretrain.precision": precision})
    encoders = {}
    for variant in ("combined", "as_released"):
        run = _run(tmp_path, variant, parameters)
        pretrain(run, store)
        encoders[variant] = load_metadata(run.out)["encoder"]
    assert encoders["as_released"]["tensors_moved"] == 0
    assert encoders["as_released"]["relative_change"] == 0
    assert encoders["as_released"]["gradient_norm_per_epoch"] == [0.0]
    assert encoders["combined"]["tensors_moved"] == encoders["combined"]["tensors"]
    assert encoders["combined"]["gradient_norm_per_epoch"][0] > 0


def test_forecast_variant_transfers_the_whole_network(store: Path, tmp_path: Path) -> None:
    parameters = _parameters(tmp_path)
    first, second = _run(tmp_path, "forecast", parameters), _run(tmp_path, "forecast", parameters, "finetune")
    pretrain(first, store)
    assert not (first.out / RECONSTRUCTIONS).exists()
    finetune(second, store, first.out)
    transferred = load_metadata(second.out)["transfer"]
    modules = {name.split(".")[0] for name in transferred["loaded"]}
    assert modules == {"encoder", "lane_scorer", "goal_scorer", "completion"}
    assert transferred["unused"] == transferred["fresh"] == []  # the same network on both sides


def test_initial_weights_depend_only_on_the_seed() -> None:
    model = paper(ModelParameters, hidden_size=32, sub_graph_layers=1)

    def start(seed: int, **changes: Any) -> dict[str, torch.Tensor]:
        seed_model("pretrain", seed)
        return pretraining_model(model, paper(PretrainParameters, **changes), ARGOVERSE1).state_dict()

    combined = start(0)
    for changes in ({"map_probability": 1.0}, {"map_probability": 0.0}, {"decoder_sees_encoder": False}):
        other = start(0, **changes)
        assert all(torch.equal(combined[name], other[name]) for name in combined)
    forecast = start(0, objective="forecast")
    shared = [name for name in combined if name.startswith("encoder.")]
    assert all(torch.equal(combined[name], forecast[name]) for name in shared)
    assert not torch.equal(combined[shared[0]], start(1)[shared[0]])


def test_a_user_defined_variant_can_be_trained(store: Path, tmp_path: Path) -> None:
    variant = {"description": "half of the scenes", "pretrain": {"mask_ratio": 0.25}, "finetune": {"fraction": 0.5}}
    parameters = _parameters(tmp_path, **{"variants.mine": variant})
    first, second = _run(tmp_path, "mine", parameters), _run(tmp_path, "mine", parameters, "finetune")
    pretrain(first, store)
    finetune(second, store, first.out)
    assert load_metadata(first.out)["parameters"]["pretrain"]["mask_ratio"] == 0.25
    assert load_metadata(second.out)["data"] == {"scenes": 12, "used": 6}
    with pytest.raises(ParameterError, match="no variant 'yours'"):
        pretrain(_run(tmp_path, "yours", parameters), store)


def test_a_variant_can_have_another_network_configuration(store: Path, tmp_path: Path) -> None:
    variant = {"description": "the paper's features", "model": {"polyline_index": True, "detach_endpoint_query": True}}
    parameters = _parameters(tmp_path, **{"variants.indexed": variant})
    for name in ("combined", "indexed"):
        first, second = _run(tmp_path, name, parameters), _run(tmp_path, name, parameters, "finetune")
        pretrain(first, store)
        finetune(second, store, first.out)
        network, metadata = load_forecaster(second.out)
        assert metadata["model"] == load_metadata(first.out)["model"] == metadata["parameters"]["model"]
        assert metadata["model"]["hidden_size"] == 32
        assert network.model.polyline_index == (name == "indexed")
        seed_model("finetune", 0)
        start, trained = (
            part.completion.endpoint_encoder.state_dict() for part in (DenseTNT(network.model, network.timing), network)
        )
        moved = any(not torch.equal(start[key], value) for key, value in trained.items())
        assert moved == (name == "combined")  # the release's detached query leaves it unchanged


@pytest.mark.parametrize(
    "change",
    [
        {"finetune.goal_label_std": 1.0},
        {"variants.forecast.pretrain.goal_label_std": 1.0},
        {"model.second_coordinate_scale": 1.0},
    ],
)
def test_options_of_label_and_scale_change_losses_and_are_recorded(
    store: Path, tmp_path: Path, change: dict[str, float]
) -> None:
    losses = []
    off = {"finetune.goal_label_std": 0.0, "variants.forecast.pretrain.goal_label_std": 0.0}
    for name, changes in (("off", off), ("on", off | change)):
        parameters = _parameters(tmp_path, **changes)
        folder = tmp_path / name
        first, second = (_run(folder, "forecast", parameters, stage) for stage in ("pretrain", "finetune"))
        pretrain(first, store)
        finetune(second, store, first.out)
        losses.append((load_metadata(first.out)["last_epoch"]["loss"], load_metadata(second.out)["last_epoch"]["loss"]))
    assert losses[0][1] != losses[1][1]
    assert (losses[0][0] != losses[1][0]) == ("finetune.goal_label_std" not in change)
    network, metadata = load_forecaster(second.out)
    key = "second_coordinate_scale"
    assert getattr(network.model, key) == metadata["parameters"]["model"][key] == change.get(f"model.{key}", 0.0)
    assert load_metadata(first.out)["model"][key] == network.model.second_coordinate_scale


def test_checkpoint_that_does_not_match_the_parameters_is_refused(store: Path, tmp_path: Path) -> None:
    first = _run(tmp_path, "map", _parameters(tmp_path))
    pretrain(first, store)
    wider = _parameters(tmp_path, **{"model.hidden_size": 64})
    with pytest.raises(InputError, match=r"model\.hidden_size: found 32"):
        finetune(_run(tmp_path, "map", wider, "finetune"), store, first.out)
    parameters = _parameters(tmp_path)
    with pytest.raises(InputError, match="map_probability"):
        finetune(_run(tmp_path, "trajectory", parameters, "finetune"), store, first.out)
    with pytest.raises(InputError, match="seed"):
        finetune(_run(tmp_path, "map", parameters, "finetune", seed=1), store, first.out)
    with pytest.raises(InputError, match="stage"):
        load_forecaster(first.out)
    damaged = first.out / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(InputError, match="model.safetensors"):
        finetune(_run(tmp_path, "map", parameters, "finetune"), store, first.out)
    assert not (tmp_path / "finetune").exists()


def _without(metadata: dict[str, Any], key: str) -> dict[str, Any]:
    """A copy of metadata without an entry, by dotted key."""
    copied = deepcopy(metadata)
    *parents, last = key.split(".")
    place = copied
    for parent in parents:
        place = place[parent]
    del place[last]
    return copied


def test_incomplete_metadata_of_a_checkpoint_are_refused_with_the_key(store: Path, tmp_path: Path) -> None:
    parameters = _parameters(tmp_path)
    first = _run(tmp_path, "map", parameters)
    pretrain(first, store)
    metadata = load_metadata(first.out)
    for key in ("parameters", "parameters.pretrain", "model", "last_epoch", "encoder", "data", "data.used"):
        write_json(first.out / "metadata.json", _without(metadata, key))
        with pytest.raises(InputError, match=rf"map-0: {re.escape(key)}"):
            finetune(_run(tmp_path, "map", parameters, "finetune"), store, first.out)
    write_json(first.out / "metadata.json", metadata | {"model": [32]})
    with pytest.raises(InputError, match=r"map-0: model: found \[32\]"):
        finetune(_run(tmp_path, "map", parameters, "finetune"), store, first.out)


def test_forecaster_with_damaged_weights_or_without_a_model_is_refused(store: Path, tmp_path: Path) -> None:
    run = _run(tmp_path, "none", _parameters(tmp_path), "finetune")
    finetune(run, store)
    path = run.out / "model.safetensors"
    tensors, metadata = load_file(path), load_metadata(run.out)
    name = next(iter(tensors))
    for damaged, message in (
        (torch.full_like(tensors[name], float("nan")), "infinity or NaN; expected finite"),
        (tensors[name].double(), "torch.float64.*expected torch.float32"),
        (tensors[name][..., None], "of shape"),
    ):
        save_file(tensors | {name: damaged}, path)
        with pytest.raises(InputError, match=f"none-0: {re.escape(name)}: found .*{message}"):
            load_forecaster(run.out)
    write_json(run.out / "metadata.json", _without(metadata, "model"))
    with pytest.raises(InputError, match="none-0: model: found None"):
        load_forecaster(run.out)


def test_windows_are_selected_by_source_lanes_and_fraction(store: Path) -> None:
    windows = SceneStore.load(store)
    everything = paper(PretrainParameters, min_lanes=0)

    def used(**changes: Any) -> set[int]:
        return set(usable_windows(windows, replace(everything, **changes), 0, store).tolist())

    assert used() == set(range(12))
    assert used(windows="augmented") == {0, 3, 6, 9}
    assert used(windows="original") == used() - used(windows="augmented")
    counts = np.diff(windows.lane_offsets)
    assert used(min_lanes=6) == set(np.flatnonzero(counts >= 6).tolist())
    assert used(fraction=0.25) < used(fraction=0.5) < used()
    with pytest.raises(InputError, match="none of 12 windows"):
        used(min_lanes=1000)


def test_held_out_routes_without_a_usable_window_are_named(store: Path, tmp_path: Path) -> None:
    parameters = _parameters(tmp_path, **{"pretrain.min_lanes": 11})  # the held-out windows have 3 and 10 lanes
    with pytest.raises(InputError, match=r"held-out routes \(pretrain\.held_out_fraction: 0 .*none of 12 windows"):
        pretrain(_run(tmp_path, "map", parameters), store)


def test_a_checkpoint_lost_before_its_use_is_restored_from_the_last_state(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DVC loses a checkpoint if it is killed, or the disk is full, before it has recorded the stage."""
    parameters = _parameters(tmp_path)
    run = _run(tmp_path, "map", parameters)
    pretrain(run, store)
    weights = (run.out / "model.safetensors").read_bytes()
    shutil.rmtree(run.out)
    capsys.readouterr()
    pretrain(run, store)
    printed = capsys.readouterr().out
    assert "resumed after epoch 1" in printed
    assert "epoch 1 of 1" not in printed
    assert (run.out / "model.safetensors").read_bytes() == weights


def _interrupt_pretraining(run: TrainingRun, store: Path, error: type = KeyboardInterrupt, status: int = 130) -> None:
    """Stop a pre-training in its second epoch, as Ctrl-C does, or SIGTERM with the error Terminated."""
    real_fit = training_run.fit

    def interrupted(model: torch.nn.Module, *arguments: Any) -> Any:
        calls = []

        def count(*_: object) -> None:
            calls.append(1)
            if len(calls) == 6:  # 12 windows in steps of 6, in parts of 4: the second part of the second epoch
                raise error

        model.register_forward_pre_hook(count)
        return real_fit(model, *arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(training_run, "fit", interrupted)
        pretrain(run, store)
    assert caught.value.code == status
    assert not run.out.exists()
    assert [path.name for path in (run.runs / "pretrain").glob("*/epoch-*")] == ["epoch-0001"]


def test_exit_status_after_sigterm_is_that_of_the_other_commands(store: Path, tmp_path: Path) -> None:
    parameters = _parameters(tmp_path, **{"pretrain.epochs": 2})
    _interrupt_pretraining(_run(tmp_path, "map", parameters), store, Terminated, 143)


def test_ctrl_c_in_the_measurement_after_the_last_epoch_says_that_the_command_continues(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    run = _run(tmp_path, "map", _parameters(tmp_path))
    with monkeypatch.context() as patch, pytest.raises((SystemExit, KeyboardInterrupt)) as caught:
        patch.setattr("synthdrive.pretraining.pretrain.measure_reconstruction", stopped)
        pretrain(run, store)
    assert caught.value.args == (130,)
    assert "stopped; the same command continues after the last complete epoch" in capsys.readouterr().err
    assert not run.out.exists()
    pretrain(run, store)
    assert "resumed after epoch 1" in capsys.readouterr().out


def test_curve_may_be_the_file_in_the_checkpoint(store: Path, tmp_path: Path) -> None:
    run = _run(tmp_path, "none", _parameters(tmp_path), "finetune")
    finetune(replace(run, curve=run.out / "curve.csv"), store)
    assert sorted(path.name for path in run.out.iterdir()) == ["curve.csv", "metadata.json", "model.safetensors"]
    assert (run.out / "curve.csv").read_text().startswith("epoch,")


def test_training_for_a_folder_of_other_files_is_refused_before_it_begins(store: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "thesis.txt").write_text("precious")
    run = replace(_run(tmp_path, "none", _parameters(tmp_path), "finetune"), out=tmp_path / "models")
    with pytest.raises(InputError, match=r"models: found a folder with thesis\.txt"):
        finetune(run, store)
    assert (tmp_path / "models" / "thesis.txt").read_text() == "precious"
    assert not run.runs.exists()


def test_a_negative_number_of_workers_is_refused(store: Path, tmp_path: Path) -> None:
    run = replace(_run(tmp_path, "none", _parameters(tmp_path), "finetune"), workers=-1)
    with pytest.raises(ParameterError, match="--workers: found -1; expected a whole number from 0"):
        finetune(run, store)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_interrupted_run_resumes_and_writes_the_same_files(store: Path, tmp_path: Path, precision: str) -> None:
    parameters = _parameters(tmp_path, **{"pretrain.epochs": 2, "pretrain.precision": precision})
    uninterrupted = _run(tmp_path / "uninterrupted", "map", parameters)
    pretrain(uninterrupted, store)
    run = _run(tmp_path, "map", parameters)
    _interrupt_pretraining(run, store)
    pretrain(run, store)
    assert load_provenance(run.provenance, "pretrain", run.name)["training"]["resumed_after"] == [1]
    for name in ("model.safetensors", "curve.csv", RECONSTRUCTIONS, RECONSTRUCTION):
        assert (run.out / name).read_bytes() == (uninterrupted.out / name).read_bytes()


def test_an_interrupted_run_with_options_of_label_and_scale_writes_the_same_files(store: Path, tmp_path: Path) -> None:
    changes = {f"variants.forecast.pretrain.{key}": value for key, value in (("epochs", 2), ("global_batch_size", 6))}
    options = {"pretrain.goal_label_std": 1.0, "model.second_coordinate_scale": 1.0}
    parameters = _parameters(tmp_path, **changes, **options)
    uninterrupted, run = (
        _run(tmp_path / "uninterrupted", "forecast", parameters),
        _run(tmp_path, "forecast", parameters),
    )
    pretrain(uninterrupted, store)
    _interrupt_pretraining(run, store)
    pretrain(run, store)
    assert load_provenance(run.provenance, "pretrain", run.name)["training"]["resumed_after"] == [1]
    for name in ("model.safetensors", "curve.csv"):
        assert (run.out / name).read_bytes() == (uninterrupted.out / name).read_bytes()


@pytest.mark.skipif(torch.cuda.is_available(), reason="the number of CPU threads does not affect training on a GPU")
def test_a_state_made_with_another_number_of_threads_is_not_resumed(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run(tmp_path, "map", _parameters(tmp_path, **{"pretrain.epochs": 2}))
    _interrupt_pretraining(run, store)
    _parameters(tmp_path, **{"pretrain.epochs": 2, "pretrain.cpu_threads": 2})
    pretrain(run, store)
    assert "threads 1 (now 2)" in capsys.readouterr().out
    training = load_provenance(run.provenance, "pretrain", run.name)["training"]
    assert training["threads"] == 2
    assert training["resumed_after"] == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_stage_on_two_processes_gives_the_same_loss_as_on_one(store: Path, tmp_path: Path, stage: str) -> None:
    parameters = _parameters(tmp_path)
    source = ["--synthetic", store] if stage == "pretrain" else ["--scenes", store]
    variant = "combined" if stage == "pretrain" else "none"
    losses = {}
    for processes in ("1", "2"):
        out = tmp_path / processes
        command = [sys.executable, REPOSITORY / "stages" / f"{stage}.py", "--variant", variant, "--seed", "0", *source]
        command += ["--out", out, "--params", parameters, "--runs", tmp_path / "runs"]
        command += ["--provenance", tmp_path / "provenance"]
        environment = {**os.environ, "SYNTHDRIVE_PROCESSES": processes, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*map(str, command)], check=True, env=environment, capture_output=True, text=True)
        assert "find_unused_parameters" not in done.stderr
        course = load_provenance(tmp_path / "provenance", stage, f"{variant}-0")["training"]
        assert course["processes"] == int(processes)
        losses[processes] = load_metadata(out)["last_epoch"]
        losses[processes].pop("modes_won", None)  # counted within each process's part of a batch
    assert losses["2"] == pytest.approx(losses["1"], rel=1e-3)


def test_variants_that_differ_only_in_fine_tuning_can_share_pre_training(store: Path, tmp_path: Path) -> None:
    longer = {"description": "combined, fine-tuned for longer", "pretrain": {}, "finetune": {"epochs": 2}}
    other = {"description": "another mask", "pretrain": {"mask_ratio": 0.3}, "finetune": {}}
    parameters = _parameters(tmp_path, **{"variants.longer": longer, "variants.other": other})
    first = _run(tmp_path, "combined", parameters)
    pretrain(first, store)
    run = _run(tmp_path, "longer", parameters, "finetune")
    finetune(run, store, first.out)
    assert load_metadata(run.out)["training"]["epochs"] == 2
    with pytest.raises(InputError, match="mask_ratio"):
        finetune(_run(tmp_path, "other", parameters, "finetune"), store, first.out)
