"""Tests of real experiments on a tiny pipeline: what re-runs for which parameter, sweeps, tables and plots."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from commands import dvc, git, run
from tiny_pipeline import copy_of, stages_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TRAINED = {"pretrain@combined-0", "finetune@combined-0", "evaluate@combined-0", "report"}
BASELINE = {"train_from_scratch@none-0", "evaluate_from_scratch@none-0"}
CHANGES = {  # an experiment for each stage: the changed parameter -> exactly the stages that run again
    "record_sample.scenes.tracking_noise=0.06": {
        "record_sample", "ingest", "check_raw", "synthesize", *BASELINE, "finetune@combined-0",
        "evaluate@combined-0", "evaluate_baselines", "report",
    },  # not stages that read only the maps; synthesize reads the scenes and makes the same windows
    "ingest.turn_angle=31.0": {"ingest"},  # the same scenes count as turns, so nothing after it runs
    "check_raw.scenes.max_speed=46.0": {"check_raw", "augment", "report"},  # the routes stay the same
    "augment.seed=1": {"augment", "synthesize", "check_synthetic", *TRAINED},
    "synthesize.seed=1": {"synthesize", "check_synthetic", *TRAINED},
    "check_synthetic.max_speed=21.0": {"check_synthetic", "pretrain@combined-0", "report"},  # the weights stay the same
    "pretrain.mask_ratio=0.3": TRAINED,  # the baseline is not trained again
    "finetune.lr_decay_factor=0.5": {*BASELINE, "finetune@combined-0", "evaluate@combined-0", "report"},
    "evaluate.miss_threshold=3.0": {
        "evaluate_from_scratch@none-0", "evaluate@combined-0", "evaluate_baselines", "report",
    },
    "report.seed=1": {"report"},
}  # fmt: skip


@pytest.fixture(scope="module")
def repository(tiny_pipeline, tmp_path_factory):
    """A copy in which experiments are run."""
    return copy_of(tiny_pipeline, tmp_path_factory.mktemp("experiments") / "pipeline")


def name_of(change: str) -> str:
    return change.split("=")[0].replace(".", "-").replace("_", "-")


@pytest.mark.parametrize("change", CHANGES)
def test_an_experiment_runs_exactly_the_stages_that_depend_on_its_parameter(repository, change):
    printed = dvc(repository, "exp", "run", "--temp", "--name", name_of(change), "--set-param", change)
    assert stages_run(printed) == CHANGES[change]
    assert git(repository, "status", "--porcelain") == ""
    reference = next(ref for ref in references(repository) if ref.endswith(f"/{name_of(change)}"))
    assert change.split("=")[1] in git(repository, "diff", "main", reference, "--", "params.yaml")


def references(repository: Path) -> list[str]:
    """Names of the git references to the results of experiments."""
    return git(repository, "for-each-ref", "--format=%(refname)", "refs/exps").split()


@pytest.fixture(scope="module")
def compared(tiny_pipeline, tmp_path_factory):
    """A copy with one experiment, which changes the selection of goals."""
    root = copy_of(tiny_pipeline, tmp_path_factory.mktemp("compared") / "pipeline")
    dvc(root, "exp", "run", "--temp", "--name", "nms", "--set-param", "evaluate.selection=nms")
    return root


def test_the_table_of_experiments_has_a_column_for_each_variant_and_each_changed_parameter(compared):
    printed = run(compared, "make", "experiments", f"SYNTHDRIVE_CONTAINER={Path(sys.executable).parents[1]}")
    title, header, main, nms = printed.splitlines()[:4]
    assert title == "minFDE6 (m) of each variant"
    assert header.split()[0] == "none"
    assert header.split()[-1] == "evaluate.selection"
    assert "reconstruction" not in header
    assert (main.split()[0], main.split()[-1]) == ("main", "goal_sets")
    assert (nms.split()[0], nms.split()[-1]) == ("nms", "nms")
    recorded = json.loads(git(compared, "show", "main:metrics/none-0.json"))
    assert float(main.split()[1]) == pytest.approx(recorded["minFDE6"], rel=1e-3)


def test_differences_are_listed_by_metric_and_parameter(compared):
    found = json.loads(dvc(compared, "exp", "diff", "main", "nms", "--json"))
    assert found["params"] == {"params.yaml": {"evaluate.selection": {"old": "goal_sets", "new": "nms"}}}
    changed = found["metrics"]["reports/metrics.json"]
    assert {"minFDE6.none", "minFDE6.combined"} <= set(changed)
    assert all(entry["old"] != entry["new"] for entry in changed.values())


def test_plots_show_the_pictures_side_by_side_and_load_nothing_else(compared, tmp_path):
    dvc(compared, "plots", "diff", "main", "nms", "--out", str(tmp_path))
    page = (tmp_path / "index.html").read_text()
    assert "<script" not in page
    assert "://" not in page
    printed = dvc(compared, "plots", "diff", "main", "nms", "--json", "--split", "--out", str(tmp_path))
    found = json.loads(printed)["data"]
    pictures = {name for name in found if name.endswith(".svg")}
    assert {Path(name).parent.name for name in pictures} == {
        "differences", "levels", "curves-pretrain", "curves-finetune", "forecasts",
    }  # fmt: skip
    for name in pictures:
        assert [entry["revisions"] for entry in found[name]] == [["main"], ["nms"]]
        for revision in ("main", "nms"):
            file = f"static/{revision}_{name.replace('/', '_')}"
            assert file in page
            assert "<svg" in (tmp_path / file).read_text()


def test_a_sweep_over_seeds_and_variants_runs_from_the_queue_of_a_fresh_clone(tiny_pipeline, tmp_path):
    clone = tmp_path / "clone"
    git(tiny_pipeline, "clone", "-q", "--no-hardlinks", str(tiny_pipeline), str(clone))
    assert not (clone / "data/maps").exists()
    dvc(clone, "exp", "run", "--queue", "--name", "two-seeds", "--set-param", "seeds=[0,1]")
    dvc(clone, "exp", "run", "--queue", "--name", "three-variants", "--set-param", "run_variants=[map,combined]")
    dvc(clone, "exp", "run", "--run-all", "--jobs", "1")
    status = dvc(clone, "queue", "status")
    assert status.count("Success") == 2
    table = csv.DictReader(io.StringIO(dvc(clone, "exp", "show", "--csv")))
    rows = {row["Experiment"]: row for row in table}
    assert rows["two-seeds"]["seeds"] == "[0, 1]"
    assert rows["three-variants"]["minFDE6.map"]
    dvc(clone, "exp", "apply", "two-seeds")
    both = [json.loads((clone / f"metrics/none-{seed}.json").read_text())["minFDE6"] for seed in (0, 1)]
    assert float(rows["two-seeds"]["minFDE6.none"]) == pytest.approx(sum(both) / 2, abs=1e-4)
    assert float(rows["three-variants"]["minFDE6.none"]) == pytest.approx(
        both[0], abs=1e-4
    )  # the same seed, the same model
    assert sorted(path.name for path in (clone / "models/finetuned").iterdir()) == [
        "combined-0", "combined-1", "none-0", "none-1",
    ]  # fmt: skip
