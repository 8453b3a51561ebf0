"""One variant and seed through both stages, with the real networks in a small size."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_training import write_store

from synthdrive.core.errors import InputError, ParameterError
from synthdrive.models.densetnt import DenseTNT
from synthdrive.parameters.model import ModelParameters
from synthdrive.parameters.pretrain import PretrainParameters
from synthdrive.pretraining.pretrain import pretraining_model, usable_windows
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training import training_run
from synthdrive.training.cells import finetune, pretrain
from synthdrive.training.checkpoints import load_forecaster
from synthdrive.training.metadata import RECONSTRUCTION, RECONSTRUCTIONS, load_metadata
from synthdrive.training.training_run import TrainingRun, seed_model

REPOSITORY = Path(__file__).resolve().parents[2]
PRECISIONS = ["float32", "bfloat16"]  # torch does the second on any CPU, slowly where the processor cannot


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("runs") / "store", 12)


def _parameters(folder: Path, **changes: Any) -> Path:
    """The repository's parameters with small networks and one short epoch; `changes` are values by dotted key."""
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    values["model"] |= {"hidden_size": 32, "sub_graph_layers": 1, "dense_from_goals": 4}
    for section in ("pretrain", "finetune"):
        values[section] |= {"epochs": 1, "batch": 6, "device_batch": 4, "warmup_epochs": 0.0, "dead_mode_weight": 0.0}
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
    return TrainingRun(variant, seed, folder / stage / f"{variant}-{seed}", parameters, runs=folder / "runs")


def test_both_stages_of_an_variant(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parameters = _parameters(tmp_path)
    first = _run(tmp_path, "combined", parameters)
    second = replace(_run(tmp_path, "combined", parameters, "finetune"), curve=tmp_path / "plots" / "curve.csv")
    pretrain(first, store)
    finetune(second, store, first.out)
    assert "tensors loaded (encoder)" in capsys.readouterr().out
    files = ["metadata.json", "curve.csv", "model.safetensors"]
    assert sorted(path.name for path in second.out.iterdir()) == files
    assert sorted(path.name for path in first.out.iterdir()) == [*files, RECONSTRUCTION, RECONSTRUCTIONS]
    assert second.curve is not None
    assert second.curve.read_bytes() == (second.out / "curve.csv").read_bytes()
    left = sorted(path.parent.parent.name for path in (tmp_path / "runs").glob("*/*/epoch-*"))
    assert left == ["finetune"]  # its last state waits for evaluation; pre-training's result is used
    card = load_metadata(second.out)
    tensors = load_file(second.out / "model.safetensors")
    encoder = {name for name in tensors if name.startswith("encoder.")}
    assert set(card["transfer"]["loaded"]) == encoder
    assert set(card["transfer"]["fresh"]) == set(tensors) - encoder
    assert card["pretrained"]["encoder"]["tensors_moved"] == len(encoder)
    assert card["run"]["seed"] == 0
    assert set(card["run"]["inputs"]) == {"scenes", "pretrained"}
    assert card["last_epoch"]["loss"] > 0
    network, again = load_forecaster(second.out)
    assert again == card
    assert all(torch.equal(value, tensors[name]) for name, value in network.state_dict().items())


def test_variant_without_pre_training_has_a_card_alone_and_starts_fresh(store: Path, tmp_path: Path) -> None:
    parameters = _parameters(tmp_path)
    first, second = _run(tmp_path, "none", parameters), _run(tmp_path, "none", parameters, "finetune")
    pretrain(first, store)
    assert [path.name for path in first.out.iterdir()] == ["metadata.json"]
    finetune(second, store, first.out)
    card = load_metadata(second.out)
    assert card["transfer"]["loaded"] == []
    assert card["pretrained"] == {"trained": False}


def test_baseline_pre_trains_without_torch(store: Path, tmp_path: Path) -> None:
    arguments = [
        "--variant",
        "none",
        "--seed",
        "0",
        "--out",
        str(tmp_path / "out"),
        "--params",
        str(_parameters(tmp_path)),
    ]
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['pretrain', *{arguments!r}]\n"
        f"runpy.run_path({str(REPOSITORY / 'stages' / 'pretrain.py')!r}, run_name='__main__')\n"
        "print('torch' in sys.modules, 'accelerate' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_released_mask_leaves_the_encoder_where_it_was(store: Path, tmp_path: Path, precision: str) -> None:
    parameters = _parameters(tmp_path, **{"pretrain.precision": precision})
    cards = {}
    for variant in ("combined", "as_released"):
        run = _run(tmp_path, variant, parameters)
        pretrain(run, store)
        cards[variant] = load_metadata(run.out)["encoder"]
    assert cards["as_released"]["tensors_moved"] == 0
    assert cards["as_released"]["relative_change"] == 0
    assert cards["as_released"]["gradient_norm_per_epoch"] == [0.0]
    assert cards["combined"]["tensors_moved"] == cards["combined"]["tensors"]
    assert cards["combined"]["gradient_norm_per_epoch"][0] > 0


def test_forecast_variant_hands_over_the_whole_network(store: Path, tmp_path: Path) -> None:
    parameters = _parameters(tmp_path)
    first, second = _run(tmp_path, "forecast", parameters), _run(tmp_path, "forecast", parameters, "finetune")
    pretrain(first, store)
    assert not (first.out / RECONSTRUCTIONS).exists()
    finetune(second, store, first.out)
    transferred = load_metadata(second.out)["transfer"]
    modules = {name.split(".")[0] for name in transferred["loaded"]}
    assert modules == {"encoder", "lane_scorer", "goal_scorer", "completion"}
    assert transferred["unused"] == transferred["fresh"] == []  # the same network on both sides


def test_fresh_tensors_depend_on_the_seed_alone() -> None:
    model = ModelParameters(hidden_size=32, sub_graph_layers=1)

    def start(seed: int, **changes: Any) -> dict[str, torch.Tensor]:
        seed_model("pretrain", seed)
        return pretraining_model(model, PretrainParameters(**changes)).state_dict()

    combined = start(0)
    for changes in ({"map_probability": 1.0}, {"map_probability": 0.0}, {"decoder_sees_encoder": False}):
        other = start(0, **changes)
        assert all(torch.equal(combined[name], other[name]) for name in combined)
    forecast = start(0, objective="forecast")
    shared = [name for name in combined if name.startswith("encoder.")]
    assert all(torch.equal(combined[name], forecast[name]) for name in shared)
    assert not torch.equal(combined[shared[0]], start(1)[shared[0]])


def test_an_variant_of_the_users_own(store: Path, tmp_path: Path) -> None:
    variant = {"description": "half of the scenes", "pretrain": {"mask_ratio": 0.25}, "finetune": {"fraction": 0.5}}
    parameters = _parameters(tmp_path, **{"variants.mine": variant})
    first, second = _run(tmp_path, "mine", parameters), _run(tmp_path, "mine", parameters, "finetune")
    pretrain(first, store)
    finetune(second, store, first.out)
    assert load_metadata(first.out)["run"]["parameters"]["pretrain"]["mask_ratio"] == 0.25
    assert load_metadata(second.out)["data"] == {"scenes": 12, "used": 6}
    with pytest.raises(ParameterError, match="no variant 'yours'"):
        pretrain(_run(tmp_path, "yours", parameters), store)


def test_an_variant_with_another_network_beside_the_baseline(store: Path, tmp_path: Path) -> None:
    variant = {"description": "the paper's features", "model": {"polyline_index": True, "detach_endpoint_query": True}}
    parameters = _parameters(tmp_path, **{"variants.indexed": variant})
    for name in ("combined", "indexed"):
        first, second = _run(tmp_path, name, parameters), _run(tmp_path, name, parameters, "finetune")
        pretrain(first, store)
        finetune(second, store, first.out)
        network, card = load_forecaster(second.out)
        assert "same_as" not in load_metadata(first.out)
        assert card["model"] == load_metadata(first.out)["model"] == card["run"]["parameters"]["model"]
        assert card["model"]["hidden_size"] == 32
        assert network.model.polyline_index == (name == "indexed")
        seed_model("finetune", 0)
        start, trained = (part.completion.endpoint_encoder.state_dict() for part in (DenseTNT(network.model), network))
        moved = any(not torch.equal(start[key], value) for key, value in trained.items())
        assert moved == (name == "combined")  # the release's detached query leaves it where it was


def test_checkpoint_that_does_not_fit_is_refused(store: Path, tmp_path: Path) -> None:
    first = _run(tmp_path, "map", _parameters(tmp_path))
    pretrain(first, store)
    wider = _parameters(tmp_path, **{"model.hidden_size": 64})
    with pytest.raises(InputError, match="hidden_size 32"):
        finetune(_run(tmp_path, "map", wider, "finetune"), store, first.out)
    parameters = _parameters(tmp_path)
    with pytest.raises(InputError, match="expected 'trajectory'"):
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


def test_windows_by_source_lanes_and_share(store: Path) -> None:
    windows = SceneStore.load(store)
    everything = PretrainParameters(min_lanes=0)

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


def test_a_checkpoint_that_is_lost_before_it_is_used_is_not_trained_again(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As DVC loses it where it is killed, or finds the disk full, before it has recorded the stage."""
    parameters = _parameters(tmp_path)
    run = _run(tmp_path, "map", parameters)
    pretrain(run, store)
    weights = (run.out / "model.safetensors").read_bytes()
    shutil.rmtree(run.out)
    capsys.readouterr()
    pretrain(run, store)
    said = capsys.readouterr().out
    assert "taken up after epoch 1" in said
    assert "epoch 1 of 1" not in said
    assert (run.out / "model.safetensors").read_bytes() == weights


def _interrupt_pretraining(run: TrainingRun, store: Path) -> None:
    """Stop a pre-training in its second epoch, as Ctrl-C does."""
    real_fit = training_run.fit

    def interrupted(model: torch.nn.Module, *arguments: Any) -> Any:
        calls = []

        def count(*_: object) -> None:
            calls.append(1)
            if len(calls) == 6:  # 12 windows in steps of 6, in parts of 4: the second part of the second epoch
                raise KeyboardInterrupt

        model.register_forward_pre_hook(count)
        return real_fit(model, *arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(training_run, "fit", interrupted)
        pretrain(run, store)
    assert caught.value.code == 130
    assert not run.out.exists()
    assert [path.name for path in (run.runs / "pretrain").glob("*/epoch-*")] == ["epoch-0001"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_interrupted_run_keeps_its_state(store: Path, tmp_path: Path, precision: str) -> None:
    parameters = _parameters(tmp_path, **{"pretrain.epochs": 2, "pretrain.precision": precision})
    undisturbed = _run(tmp_path / "undisturbed", "map", parameters)
    pretrain(undisturbed, store)
    run = _run(tmp_path, "map", parameters)
    _interrupt_pretraining(run, store)
    pretrain(run, store)
    assert load_metadata(run.out)["training"]["resumed_after"] == [1]
    for name in ("model.safetensors", "curve.csv", RECONSTRUCTIONS, RECONSTRUCTION):
        assert (run.out / name).read_bytes() == (undisturbed.out / name).read_bytes()


@pytest.mark.skipif(torch.cuda.is_available(), reason="threads touch no sum of a GPU")
def test_a_state_made_under_another_number_of_threads_is_not_taken_up(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run(tmp_path, "map", _parameters(tmp_path, **{"pretrain.epochs": 2}))
    threads = torch.get_num_threads()
    _interrupt_pretraining(run, store)
    try:
        torch.set_num_threads(threads + 1)
        pretrain(run, store)
    finally:
        torch.set_num_threads(threads)
    assert f"was made with threads {threads} (now {threads + 1})" in capsys.readouterr().out
    training = load_metadata(run.out)["training"]
    assert training["threads"] == threads + 1
    assert training["resumed_after"] == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_stage_on_two_processes_gives_the_loss_of_one(store: Path, tmp_path: Path, stage: str) -> None:
    parameters = _parameters(tmp_path)
    source = ["--synthetic", store] if stage == "pretrain" else ["--scenes", store, "--pretrained", tmp_path / "none"]
    variant = "combined" if stage == "pretrain" else "none"
    if stage == "finetune":
        pretrain(TrainingRun("none", 0, tmp_path / "none", parameters), store)
    losses = {}
    for processes in ("1", "2"):
        out = tmp_path / processes
        command = [sys.executable, REPOSITORY / "stages" / f"{stage}.py", "--variant", variant, "--seed", "0", *source]
        command += ["--out", out, "--params", parameters, "--runs", tmp_path / "runs"]
        environment = {**os.environ, "SYNTHDRIVE_PROCESSES": processes, "OMP_NUM_THREADS": "1"}
        subprocess.run([*map(str, command)], check=True, env=environment, capture_output=True)
        card = json.loads((out / "metadata.json").read_text())
        assert card["training"]["processes"] == int(processes)
        losses[processes] = card["last_epoch"]
        losses[processes].pop("modes_won", None)  # counted within each process's part of a batch
    assert losses["2"] == pytest.approx(losses["1"], rel=1e-3)


def test_variants_that_part_in_fine_tuning_share_their_pre_training(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = {"description": "combined, fine-tuned for longer", "pretrain": {}, "finetune": {"epochs": 2}}
    other = {"description": "another mask", "pretrain": {"mask_ratio": 0.3}, "finetune": {}}
    parameters = _parameters(tmp_path, **{"variants.longer": longer, "variants.other": other})
    runs = {variant: _run(tmp_path, variant, parameters) for variant in ("combined", "longer", "other")}
    for run in runs.values():
        pretrain(run, store)
    assert "pretrain longer-0: the same pre-training as combined-0, taken over" in capsys.readouterr().out
    cards = {variant: load_metadata(run.out) for variant, run in runs.items()}
    assert cards["longer"]["same_as"] == "combined-0"
    assert (cards["longer"]["variant"], cards["longer"]["description"]) == ("longer", "combined, fine-tuned for longer")
    assert "same_as" not in cards["combined"] | cards["other"]
    weights = {variant: (run.out / "model.safetensors").read_bytes() for variant, run in runs.items()}
    assert weights["longer"] == weights["combined"] != weights["other"]
    shown = {variant: (run.out / RECONSTRUCTIONS).read_bytes() for variant, run in runs.items()}
    assert shown["longer"] == shown["combined"] != shown["other"]
    shutil.rmtree(tmp_path / "runs")
    pretrain(runs["combined"], store)  # its own earlier result, and what was taken from it, are not taken for it
    assert "same_as" not in load_metadata(runs["combined"].out)
    assert "pretrain combined-0: epoch 1 of 1" in capsys.readouterr().out
