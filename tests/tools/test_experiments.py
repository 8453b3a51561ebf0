"""Tests of which stages a changed parameter affects, according to DVC and the committed pipeline; needs no data."""

import shutil
import subprocess
from pathlib import Path

import pytest

from repository import PARAMS, REPOSITORY
from tools.dvc_commands import changes_since_lock


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the tracked files without any artifact."""
    root = tmp_path_factory.mktemp("checkout") / "synthdrive"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if names.returncode or not (REPOSITORY / "dvc.lock").is_file():
        pytest.skip("needs a git checkout with its dvc.lock")
    for name in filter(None, names.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name)
    (root / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    return root


def affected_stages(checkout: Path) -> set[str]:
    """Stages that DVC would run because of a change; missing artifacts do not count."""
    return set(changes_since_lock(checkout))


@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ("# Parameters", "# The parameters", set()),
        ("  tracking_noise: 0.05", "  tracking_noise: 0.06", {"record_sample"}),
        ("  on_bad_scene: error", "  on_bad_scene: skip", {"ingest"}),
        ("  map_half_width: 50.0", "  map_half_width: 40.0", {"ingest", "augment", "synthesize"}),
        ("    min_length: 60.0", "    min_length: 70.0", {"augment"}),
        ("  speeds_per_scene: 2", "  speeds_per_scene: 5", {"synthesize"}),
        ("  mask_ratio: 0.5", "  mask_ratio: 0.3", {"pretrain"}),
        ("  nms_distance: 2.0", "  nms_distance: 2.5", {"evaluate", "evaluate_from_scratch", "evaluate_baselines"}),
        ("  forecast_scenes: 7", "  forecast_scenes: 8", {"report"}),
    ],
    ids=lambda value: str(value).strip() if isinstance(value, str) else "",
)
def test_a_parameter_affects_the_stages_that_read_it(checkout, old, new, stages):
    parameters = checkout / "params.yaml"
    text = parameters.read_text()
    assert text.count(old) == 1
    try:
        parameters.write_text(text.replace(old, new))
        assert {name.split("@")[0] for name in affected_stages(checkout)} == stages
    finally:
        parameters.write_text(text)


def comments(path: Path) -> list[str]:
    """Comment lines, each with the key below it."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    below = {number: next(text.split(":")[0] for text in lines[number:] if text and not text.startswith("#"))
             for number, line in enumerate(lines) if line.startswith("#")}  # fmt: skip
    return [f"{lines[number]} {key}" for number, key in below.items()]


def test_an_experiment_keeps_the_comments_of_params_yaml(tmp_path):
    """DVC replaces every list, and removes the comment after a list in block style."""
    from dvc.utils.hydra import apply_overrides

    parameters = Path(shutil.copy(PARAMS, tmp_path))
    before = comments(parameters)
    apply_overrides(str(parameters), ["evaluate.selection=nms", "seeds=[0,1,2]"])
    assert "seeds:\n- 0\n- 1\n- 2" in parameters.read_text()
    assert comments(parameters) == before


def test_a_variants_parameter_affects_only_its_own_runs(checkout):
    parameters = checkout / "params.yaml"
    text = parameters.read_text()
    try:
        parameters.write_text(text.replace("      map_probability: 1.0", "      map_probability: 0.9"))
        variants = {name.split("@")[1].rsplit("-", 1)[0] for name in affected_stages(checkout)}
        assert variants == {"map"}
    finally:
        parameters.write_text(text)


def test_a_change_of_fine_tuning_repeats_no_pretraining(checkout):
    parameters = checkout / "params.yaml"
    text = parameters.read_text()
    before = "      map_probability: 1.0\n    finetune: {}"
    after = "      map_probability: 1.0\n    finetune: {epochs: 4}"
    try:
        for old, new in ((before, after), ("description: map reconstruction", "description: lanes")):
            assert text.count(old) == 1
            parameters.write_text(text.replace(old, new))
            assert {name.rsplit("-", 1)[0] for name in affected_stages(checkout)} == {"finetune@map"}
    finally:
        parameters.write_text(text)


def test_variants_that_differ_in_fine_tuning_share_one_pretraining(checkout):
    """Such a variant has no pre-training stage and depends on the checkpoint of the other variant."""
    from dvc.repo import Repo

    parameters = checkout / "params.yaml"
    text = parameters.read_text()
    entries = "".join(f"\n- {{variant: map_{fraction}, pretraining: map}}" for fraction in (10, 30))
    try:
        parameters.write_text(text.replace("shared_pretraining: []", f"shared_pretraining:{entries}"))
        stages = {stage.name: stage for stage in Repo(checkout).index.stages}
    finally:
        parameters.write_text(text)
    assert not [name for name in stages if name.startswith("pretrain@") and "map_" in name]
    for place, name in enumerate(("map_10-0", "map_30-0")):
        stage = stages[f"finetune_shared@run{place}-0"]
        assert "models/pretrained/map-0" in {str(dependency) for dependency in stage.deps}
        assert {str(out) for out in stage.outs} == {f"models/finetuned/{name}"}
        evaluation = stages[f"evaluate_shared@run{place}-0"]
        assert f"models/finetuned/{name}" in {str(dependency) for dependency in evaluation.deps}
        assert f"metrics/{name}.json" in {str(out) for out in evaluation.outs}
