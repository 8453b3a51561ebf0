"""Tests of the study's published models: which are published, their cards, and the committed ones."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from forecasting_scenes import driven, straight_lanes, write_store

from repository import PARAMS, REPOSITORY
from studies.argoverse1_folds.plan import BASELINE, Plan, Run, load_plan
from studies.argoverse1_folds.publish import MODELS, PUBLISHED, model_card, publish_models, published_name
from studies.argoverse1_folds.results import Result, Results, load_results
from synthdrive.config.training import ModelParameters
from synthdrive.core.artifacts import file_hash
from synthdrive.core.errors import InputError
from synthdrive.core.parameters import load_section
from synthdrive.core.provenance import plain_values
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.models.densetnt import DenseTNT
from synthdrive.training.checkpoints import MODEL, load_forecaster, save_checkpoint

STUDY = REPOSITORY / "studies" / "argoverse1_folds"
PRESENT = [run for run in PUBLISHED if (STUDY / MODELS / published_name(run)).is_dir()]  # made here, or pulled


@pytest.fixture
def plan() -> Plan:
    return load_plan(STUDY / "plan.yaml")


@pytest.fixture
def work(tmp_path: Path, plan: Plan) -> Path:
    """A work folder with an untrained network in the place of each published model."""
    model = replace(load_section(ModelParameters, "model", PARAMS), hidden_size=32)
    for run in PUBLISHED:
        seed = run.seed(plan.folds)
        metadata = {"stage": "finetune", "variant": run.variant, "seed": seed, "model": plain_values(model)}
        metadata |= {"timing": ARGOVERSE1.plain(), "percent": run.percent}
        folder = tmp_path / "work" / str(run.fold) / "runs" / run.name / "finetuned" / f"{run.variant}-{seed}"
        save_checkpoint(folder, DenseTNT(model, ARGOVERSE1), metadata, [])
    return tmp_path / "work"


def made_up_results(work: Path | None) -> Results:
    """Results of the published runs and of their references, computed with the models of the work folder."""
    found = {}
    runs = [*PUBLISHED, Run("scratch", 10, 0), Run("scratch", 100, 0), Run(BASELINE, 0, 0)]
    for number, run in enumerate(runs):
        fde = np.array([1.0, 3.0]) + number
        errors = {"minFDE6": fde, "minADE6": fde / 2, "minFDE1": 2 * fde, "minADE1": fde, "MR6": (fde > 2.0) * 1.0}
        provenance = {"commit": "0" * 40, "train_scenes": 20 * run.percent, "inputs": {}}
        if work is not None and run in PUBLISHED:
            folder = work / str(run.fold) / "runs" / run.name / "finetuned" / f"{run.variant}-{run.fold}"
            provenance["inputs"] = {"evaluate": {"checkpoint": file_hash(folder)}}
        found[run] = Result(run, {"finetune": {"epochs": 7}}, "", errors, {}, provenance)
    return Results(found, {})


def test_published_models_are_copies_with_a_card_each_and_declared_for_dvc(
    work: Path, plan: Plan, tmp_path: Path
) -> None:
    folders = publish_models(work, made_up_results(work), tmp_path / "out", plan)
    assert [folder.name for folder in folders] == [published_name(run) for run in PUBLISHED]
    declared = yaml.safe_load((tmp_path / "out" / "dvc.yaml").read_text())["artifacts"]
    for run, folder in zip(PUBLISHED, folders, strict=True):
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*[a-z0-9]", folder.name)  # what DVC accepts as the name of an artifact
        assert tmp_path / "out" / declared[folder.name]["path"] == folder
        made = work / str(run.fold) / "runs" / run.name / "finetuned" / f"{run.variant}-{run.fold}"
        assert file_hash(folder) == file_hash(made)
        assert folder.with_suffix(".md").read_text().startswith("---\nlicense: cc-by-nc-sa-4.0\n")


def test_a_card_states_errors_beside_references_licence_and_recipe(plan: Plan) -> None:
    run = next(run for run in PUBLISHED if run.percent == 10)
    card = model_card(run, made_up_results(None), 1_234, plan)
    assert yaml.safe_load(card.split("---")[1])["license"] == "cc-by-nc-sa-4.0"
    ours, scratch, following = re.findall(r"^\| ([\w ,]+) \| ([\d.]+) \| ([\d.]+) \|", card, flags=re.M)
    assert ours == ("this model", "3.00", "50.00")
    assert scratch == ("from scratch, same training scenes", "5.00", "100.00")
    assert following == ("lane following", "7.00", "100.00")
    for words in ("1,234 parameters", "fine-tuned on 200 recorded scenes", "epochs=7", "non-commercial"):
        assert words in card
    alone = model_card(PUBLISHED[0], made_up_results(None), 1_234, plan)
    assert "from scratch" not in alone
    assert "without fine-tuning" in alone


def test_a_model_that_is_not_the_evaluated_one_is_not_published(work: Path, plan: Plan, tmp_path: Path) -> None:
    results = made_up_results(work)
    (model,) = work.glob(f"0/runs/{PUBLISHED[1].name}/finetuned/*/{MODEL}")
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    with pytest.raises(InputError, match=f"as in the result of {PUBLISHED[1].name}"):
        publish_models(work, results, tmp_path / "out", plan)
    assert not (tmp_path / "out").exists()  # not even the models before it
    shutil.rmtree(model.parent)
    with pytest.raises(InputError, match=f"without {PUBLISHED[1].name}.json trains it again"):
        publish_models(work, results, tmp_path / "out", plan)
    with pytest.raises(InputError, match="no result"):
        publish_models(work, Results({}, {}), tmp_path / "out", plan)


@pytest.mark.parametrize("run", PUBLISHED, ids=published_name)
def test_committed_cards_agree_with_the_results(run: Run, plan: Plan) -> None:
    card = (STUDY / MODELS / f"{published_name(run)}.md").read_text()
    (size,) = re.findall(r"DenseTNT with ([\d,]+) parameters", card)
    assert card == model_card(run, load_results(STUDY / "results", plan), int(size.replace(",", "")), plan)
    assert published_name(run) in yaml.safe_load((STUDY / "dvc.yaml").read_text())["artifacts"]


@pytest.mark.parametrize("run", PUBLISHED, ids=published_name)
def test_dvc_tracks_each_model_and_git_does_not(run: Run) -> None:
    name = published_name(run)
    (out,) = yaml.safe_load((STUDY / MODELS / f"{name}.dvc").read_text())["outs"]
    assert (out["path"], out["nfiles"]) == (name, 3)
    assert re.fullmatch(r"[0-9a-f]{32}\.dir", out["md5"])
    assert f"/{name}" in (STUDY / MODELS / ".gitignore").read_text().split()


@pytest.mark.parametrize("run", PRESENT, ids=published_name)
def test_models_that_are_present_are_the_evaluated_ones_and_load(run: Run, plan: Plan) -> None:
    results = load_results(STUDY / "results", plan)
    known = results.runs[run].provenance["inputs"]["evaluate"]["checkpoint"]
    assert file_hash(STUDY / MODELS / published_name(run)) == known
    network, _ = load_forecaster(STUDY / MODELS / published_name(run))
    assert f"{sum(tensor.numel() for tensor in network.parameters()):,} parameters" in (
        STUDY / MODELS / f"{published_name(run)}.md"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize("run", PUBLISHED, ids=published_name)
def test_the_example_on_a_card_forecasts(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (STUDY / MODELS / f"{published_name(run)}.md").read_text(), re.S)
    model = replace(load_section(ModelParameters, "model", PARAMS), hidden_size=32)
    metadata = {"stage": "finetune", "variant": run.variant, "seed": 0, "model": plain_values(model)}
    folder = tmp_path / "studies" / "argoverse1_folds" / MODELS / published_name(run)
    save_checkpoint(folder, DenseTNT(model, ARGOVERSE1), metadata | {"timing": ARGOVERSE1.plain()}, [])
    agents = np.stack([driven(angle, 8.0, 0.1, (1000.0, -300.0)) for angle in (0.0, 1.0)])
    write_store(tmp_path / "data" / "scenes" / "val", agents, straight_lanes([(0, 0), (1, 0)]))
    shutil.copy(PARAMS, tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example, names)
    assert np.isfinite(names["found"].trajectories).all()  # type: ignore[attr-defined]
    assert capsys.readouterr().out
