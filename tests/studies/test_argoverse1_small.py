"""Tests of the study's page: the comparisons, their seeds, and the text if runs are missing."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

sys.path.append(str(Path(__file__).resolve().parents[1] / "reporting"))
from fake_run import town, write_scenes

from studies.argoverse1_small.collected import (
    METRICS,
    StudyRun,
    StudyRuns,
    collect_baseline,
    collect_run,
    load_runs,
    save_run,
)
from studies.argoverse1_small.comparisons import compare, compare_by_stratum, error_spread
from studies.argoverse1_small.page import write_study
from studies.argoverse1_small.plan import StudyPlan, load_plan
from studies.argoverse1_small.tables import change
from studies.markdown import rounded
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.config.training import FinetuneParameters, ModelParameters, PretrainParameters, load_variant_section
from synthdrive.core.artifacts import file_hash
from synthdrive.core.errors import InputError, ParameterError
from synthdrive.core.parameters import load_section
from synthdrive.core.provenance import plain_values, run_record, write_provenance
from synthdrive.forecasting.baselines import ConstantVelocity
from synthdrive.forecasting.evaluate import write_evaluation
from synthdrive.reporting.claims import load_claims
from synthdrive.reporting.evidence import Published
from synthdrive.reporting.measurements import Difference
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import CURVE, METADATA, write_curve, write_metadata

REPOSITORY = Path(__file__).resolve().parents[2]
SCENES = 200
CLAIMS, PUBLISHED = load_claims(REPOSITORY / "claims.yaml"), Published.load(REPOSITORY / "published.yaml")
PLAN = {
    "title": "A study",
    "introduction": "Of {train_scenes} scenes, {val_scenes} to judge by.",
    "withdrawn": {"variants": ["combined"], "text": "The objective was broken."},
    "headlines": [
        {"variant": "map", "reference": "none", "published": "map", "text": "In short."},
        {"variant": "absent", "reference": "none", "published": "map", "text": "Not yet."},
    ],
    "comparisons": [
        {"title": "Short", "text": "In {steps} steps.", "reference": "none", "variants": ["map", "absent"]}
    ],
    "curves": [
        {"title": "Less data", "text": "Shares.", "x_label": "share (%)", "x": [10.0, 100.0],
         "series": {"scratch": ["none_10", "none"], "map": ["map_10", "map"]}},
    ],
    "strata": [{"title": "Kinds", "text": "Of scene.", "reference": "none", "variants": ["map", "absent"]}],
    "spread": {"title": "Spread", "text": "Over scenes.", "variants": ["none", "map", "absent"]},
    "learning": {"title": "Learning", "text": "Curves.", "charts": {"Short": ["none", "map", "absent"]}},
    "encoder": {"title": "Encoder", "text": "Gradient.", "variants": ["map"]},
    "choices": [
        {"title": "Choices", "text": "On {val_scenes}.", "reference": "none", "variants": ["map", "absent"]},
        {"title": "Others", "text": "Of these.", "reference": "map", "variants": ["none"]},
    ],
    "claims": {"title": "Claims", "text": "Of the paper.", "source": "argoverse1"},
    "deviations": [{"what": "clipping", "why": "stability", "variants": ["none", "map"]}],
}  # fmt: skip


def made_run(variant: str, seed: int, shift: float, pretrained: bool = True) -> StudyRun:
    """A run with errors that all variants of a seed share, plus `shift` metres."""
    base = np.random.default_rng(seed).uniform(0.5, 4.0, SCENES)
    missed = (base + shift > 2.0).astype(np.float64)
    errors = {"MR6": 100.0 * missed, "minFDE6": base + shift, "minADE6": 0.5 * (base + shift)}
    errors |= {"brier_minFDE6": base + shift + 0.7, "minFDE1": 2 * (base + shift), "minADE1": base, "MR1": 100 * missed}
    encoder = {"tensors": 29, "tensors_moved": 29, "relative_change": 0.25, "gradient_norm_per_epoch": [0.8, 0.4]}
    training = {
        "epochs": 3,
        "steps": 9,
        "global_batch_size": 64,
        "last_epoch": {"loss": 1.0},
        "encoder": encoder,
        "same_as": None,
    }
    run = {"commit": "0123456789abcdef", "modified": True, "parameters_sha256": "same", "device": "cpu"}
    before = {"windows": 1000, **training} if pretrained else {}
    after = {"scenes": 500, "loaded": 29, "fresh": 51, **training}
    strata = {"left": "10" * (SCENES // 2), "right": "0" * SCENES}
    learning = {"loss": [3.0, 2.0, 1.0], "top1_fde": [9.0, 6.0, 5.0]}
    return StudyRun(variant, seed, f"what {variant} is", "hash", errors, strata, learning, before, after,
                     {"finetune": run, "evaluate": run})  # fmt: skip


def baseline(error: float) -> StudyRun:
    """A run without training that has the same error in every scene and a miss rate of 60 %."""
    run = made_run("constant_velocity", 0, 0.0)
    errors = {name: np.full(SCENES, 60.0 if name.startswith("MR") else error) for name in METRICS}
    return replace(run, seed=None, errors=errors, learning={}, pretraining={}, finetuning={})


def write(folder: Path, plan: StudyPlan, runs: StudyRuns | None = None) -> None:
    """Write the study's page about the folder's runs or the given ones."""
    runs = load_runs(folder / "runs") if runs is None else runs
    write_study(plan, runs, load_runs(folder / "choices"), "make study", folder, CLAIMS, PUBLISHED)


def results(folder: Path) -> dict[str, Any]:
    """The machine-readable results of the study."""
    written: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study with three seeds of two variants and two seeds of a third one."""
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN, sort_keys=False))
    for seed in range(3):
        save_run(made_run("none", seed, 0.0, pretrained=False), tmp_path / "runs")
        save_run(made_run("map", seed, -0.3), tmp_path / "runs")
    save_run(baseline(4.2), tmp_path / "runs")
    for seed in range(2):
        save_run(made_run("none_10", seed, 1.0, pretrained=False), tmp_path / "runs")
    return tmp_path


def test_runs_are_loaded_as_they_were_saved(folder: Path) -> None:
    runs = load_runs(folder / "runs")
    seeds = {variant: sorted(found) for variant, found in runs.variants.items()}
    assert list(runs.baselines) == ["constant_velocity"]
    assert runs.baselines["constant_velocity"].seed is None
    assert seeds == {"map": [0, 1, 2], "none": [0, 1, 2], "none_10": [0, 1]}
    expected = made_run("map", 1, -0.3)
    found = runs.variants["map"][1]
    for name, values in expected.errors.items():
        np.testing.assert_allclose(found.errors[name], values, atol=5.1e-5)
    assert replace(found, errors={}) == replace(expected, errors={})


def write_stage_outputs(root: Path, parameters: Path) -> list[Path]:
    """Write what the stages write for `combined-0`, with `parameters` and windows in root/synthetic; return folders."""
    (root / "synthetic").mkdir(parents=True)
    (root / "synthetic" / "windows").write_text("of this run")
    model = load_section(ModelParameters, "model", parameters)
    encoder = {"tensors": 29, "tensors_moved": 29, "relative_change": 0.25, "gradient_norm_per_epoch": [0.8, 0.4]}
    training = {"epochs": 2, "steps": 4, "global_batch_size": 64}
    card = {"variant": "combined", "seed": 0, "description": "both", "data": {"used": 10}, "encoder": encoder,
            "training": training, "last_epoch": {"loss": 1.0}, "transfer": {"loaded": ["a"], "fresh": []}}  # fmt: skip
    inputs = {"synthetic": file_hash(root / "synthetic")}
    for stage, used in (
        ("pretrain", load_variant_section(PretrainParameters, "pretrain", "combined", parameters)),
        ("finetune", load_variant_section(FinetuneParameters, "finetune", "combined", parameters)),
    ):
        made_by = run_record({stage: used, "model": model}, inputs if stage == "pretrain" else {})
        write_provenance(root / "provenance", stage, "combined-0", {"made_by": made_by})
        (root / stage / "combined-0").mkdir(parents=True)
        made = {
            "stage": stage,
            "pretrained": {"trained": True},
            "parameters": plain_values({stage: used, "model": model}),
        }
        write_metadata(root / stage / "combined-0" / METADATA, {**card, **made})
    curve = [{"epoch": epoch, "step": 2 * epoch, "loss": 9.0 / epoch, "top1_fde": 4.0 / epoch} for epoch in (1, 2)]
    write_curve(root / "finetune" / "combined-0" / CURVE, curve)
    write_scenes(root / "val", town(), 6, 2)
    store = SceneStore.load(root / "val")
    evaluate = load_section(EvaluateParameters, "evaluate", parameters)
    for name, seed in (("combined-0", 0), ("constant_velocity", None)):
        run = {
            "stage": "evaluate",
            "variant": name.split("-")[0],
            "seed": seed,
            "parameters": plain_values({"evaluate": evaluate}),
        }
        write_provenance(root / "provenance", "evaluate", name, {"made_by": run_record({"evaluate": evaluate}, {})})
        forecasts = ConstantVelocity().forecast(store, range(6))
        write_evaluation(forecasts, store, evaluate, run, root / "forecasts" / name, root / f"{name}.json")
    return [root / "pretrain" / "combined-0", root / "finetune" / "combined-0", root / "forecasts" / "combined-0"]


def test_a_run_with_other_parameters_or_windows_is_not_collected(tmp_path: Path) -> None:
    parameters, other = REPOSITORY / "params.yaml", tmp_path / "params.yaml"
    folders = write_stage_outputs(tmp_path / "run", parameters)
    found = collect_run(*folders, parameters, tmp_path / "run" / "synthetic", tmp_path / "run" / "provenance")
    assert (found.name, found.learning["top1_fde"], found.finetuning["loaded"]) == ("combined-0", [4.0, 2.0], 1)
    assert set(found.provenance) == {"pretrain", "finetune", "evaluate"}
    plain = collect_baseline(tmp_path / "run" / "forecasts" / "constant_velocity")
    for run in (found, plain):
        save_run(run, tmp_path / "runs")
    again = load_runs(tmp_path / "runs")
    np.testing.assert_allclose(
        again.variants["combined"][0].errors["minFDE6"], again.baselines[plain.variant].errors["minFDE6"]
    )
    for line, changed, where in (
        ("  mask_ratio: 0.5", "  mask_ratio: 0.25", "pretrain.mask_ratio 0.5"),
        ("  num_restarts: 32", "  num_restarts: 33", "evaluate.num_restarts 32"),
    ):
        assert line in parameters.read_text()
        other.write_text(parameters.read_text().replace(line, changed, 1))
        with pytest.raises(InputError, match=where):
            collect_run(*folders, other, tmp_path / "run" / "synthetic")
    (tmp_path / "run" / "synthetic" / "windows").write_text("of another profile")
    with pytest.raises(InputError, match="made from windows"):
        collect_run(*folders, parameters, tmp_path / "run" / "synthetic", tmp_path / "run" / "provenance")


def test_a_difference_is_paired_and_uses_only_common_seeds(folder: Path) -> None:
    runs = load_runs(folder / "runs")
    row = compare(runs, "map", "none")
    assert row is not None
    difference = row.differences["minFDE6"]
    assert difference is not None
    assert row.seeds == [0, 1, 2]
    # Errors differ by metres between scenes, but all pairs have the same difference: the interval has no width.
    assert difference.mean == pytest.approx(-0.3, abs=1e-4)
    assert difference.high - difference.low < 1e-3
    fewer = compare(runs, "none_10", "none")
    assert fewer is not None
    assert fewer.seeds == [0, 1]
    assert compare(runs, "absent", "none") is None


def test_the_page_lists_measured_and_missing_results(folder: Path) -> None:
    plan = load_plan(folder / "plan.yaml")
    (folder / "charts").mkdir()
    (folder / "charts" / "stale.svg").write_text("<svg/>")
    write(folder, plan)
    page = (folder / "README.md").read_text()
    assert "8 runs of 3 variants" in page
    assert "Of 500 scenes, 200 to judge by." in page
    assert "| Constant velocity |  | 60.00 | 4.200 | 4.200 |" in page
    assert "`none` loses to constant velocity in minFDE1 (" in page
    assert "`map` loses to" not in page
    assert "`map-0` | " in page
    assert "01234567+" in page
    assert "Not measured yet: `absent`." in page
    assert "| `map`: what map is | 0, 1, 2 |" in page
    map_runs = load_runs(folder / "runs").variants["map"]
    mean = np.mean([map_runs[seed].errors["minFDE6"].mean() for seed in range(3)])
    assert f"{mean:.3f} ± " in page
    assert "`map-2` | 29 | 29 | 0.25 | 0.8 | 0.4 |" in page
    assert "| 10 | scratch | 0, 1 |" in page
    assert "| 100 | map | 0, 1, 2 |" in page
    assert "not yet" in page
    assert "`map` against `none`: MR6 **" in page
    assert "`map` against `none`, seeds 0, 1, 2: MR6 **" in page
    assert "(paper: \N{MINUS SIGN}3.09 %)" in page
    verdicts = {entry["claim"]: entry["verdict"] for entry in results(folder)["claims"]}
    assert verdicts["map-lowers-minFDE6"] == "supported"
    assert verdicts["trajectory-lowers-minFDE6"] == "not testable here"
    assert verdicts["map-size"] == "not testable here", "too few scenes to judge the published effect sizes"
    assert "table-arithmetic" not in verdicts
    names = {path.name for path in (folder / "charts").iterdir()}
    metrics = ("MR6", "minFDE6", "minADE6")
    charts = {f"{stem}-{name}.svg" for stem in ("comparison-0", "curve-0") for name in metrics}
    assert names == charts | {"learning-0.svg", "spread.svg"}
    assert "| left turns | 100 |" in page
    assert "right turns" not in page, "a stratum without scenes has no row"
    assert [row["variant"] for row in results(folder)["comparisons"][0]["rows"]] == ["none", "map"]
    points = results(folder)["curves"][0]["points"]
    assert [(point["x"], point["series"], point["variant"]) for point in points] == [
        (10.0, "scratch", "none_10"), (100.0, "scratch", "none"), (100.0, "map", "map")]  # fmt: skip
    assert points[-1]["differences"]["minFDE6"]["mean"] == pytest.approx(-0.3, abs=1e-4)
    assert results(folder)["runs"]["constant_velocity"]["minFDE6"] == 4.2
    first = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write(folder, plan)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == first


def test_a_comparison_gives_the_number_of_steps_of_its_reference(folder: Path) -> None:
    fewer = made_run("none_10", 0, 1.0)
    save_run(replace(fewer, finetuning={**fewer.finetuning, "steps": 1}), folder / "runs")
    write(folder, load_plan(folder / "plan.yaml"))
    assert "In 9 steps." in (folder / "README.md").read_text()


def test_a_change_is_bold_if_its_interval_excludes_zero() -> None:
    inside = Difference(-0.2, -0.4, -0.1, (-12.0, -25.0, 1.0), 1.7, (-0.2, -0.2), 1.0)
    outside = Difference(-0.2, -0.4, 0.1, (-12.0, -25.0, -1.0), 1.7, (-0.2, -0.2), 1.0)
    assert change(inside) == "\N{MINUS SIGN}12.0 % [\N{MINUS SIGN}25.0, +1.0]"
    assert change(outside) == "**\N{MINUS SIGN}12.0 % [\N{MINUS SIGN}25.0, \N{MINUS SIGN}1.0]**"
    one_seed = change(replace(outside, seeds=(-0.2,)))
    assert "**" not in one_seed, "one seed says nothing about the spread between seeds"
    absolute = change(replace(inside, relative=None))
    assert absolute == "**\N{MINUS SIGN}0.200 [\N{MINUS SIGN}0.400, \N{MINUS SIGN}0.100]**"


def test_a_variant_with_fewer_seeds_is_compared_on_common_seeds_only(folder: Path) -> None:
    plan = load_plan(folder / "plan.yaml")
    write(folder, plan)
    assert "is compared with" not in (folder / "README.md").read_text()
    (folder / "runs" / "map-2.json").unlink()
    runs = load_runs(folder / "runs")
    write(folder, plan, runs)
    means = [runs.variants["none"][seed].errors["minFDE6"].mean() for seed in range(3)]
    means_text = f"minFDE6 {np.mean(means[:2]):.3f} (all seeds: {np.mean(means):.3f})"
    page = (folder / "README.md").read_text()
    assert "`map` is compared with seeds 0, 1 of `none` only: " in page
    assert means_text in page
    plan.comparisons[0].variants.append("none_10")
    write(folder, plan)
    assert "`map`, `none_10` are compared with seeds 0, 1 of `none` only: " in (folder / "README.md").read_text()


def test_the_difference_in_a_stratum_uses_only_its_scenes(folder: Path) -> None:
    for seed in range(3):
        base = made_run("none", seed, 0.0)
        errors = {name: np.where(np.arange(SCENES) % 2 == 0, values - 0.5, values)
                  for name, values in base.errors.items()}  # fmt: skip
        save_run(replace(base, variant="left_helped", errors=errors), folder / "runs")
    (row,) = compare_by_stratum(load_runs(folder / "runs"), "left_helped", "none")
    assert (row.stratum, row.scenes) == ("left", SCENES // 2)
    assert row.difference["minFDE6"].mean == pytest.approx(-0.5, abs=1e-4)
    assert compare_by_stratum(load_runs(folder / "runs"), "absent", "none") == []


def test_a_stratum_whose_reference_may_be_zero_has_no_relative_change(folder: Path) -> None:
    plan = load_plan(folder / "plan.yaml")
    few = "1" * 3 + "0" * (SCENES - 3)
    shutil.rmtree(folder / "runs")
    for variant, missed in (("none", [100.0, 0.0, 0.0]), ("map", [0.0, 0.0, 0.0])):
        made = made_run(variant, 0, 0.0)
        errors = {**made.errors, "MR6": np.array([*missed, *[50.0] * (SCENES - 3)])}
        save_run(replace(made, errors=errors, strata={"right": few}), folder / "runs")
    runs = load_runs(folder / "runs")
    (row,) = compare_by_stratum(runs, "map", "none")
    assert row.difference["MR6"].relative is None
    write(folder, plan, runs)
    assert results(folder)["strata"][0]["rows"][0]["scenes"] == 3


def test_the_spread_of_errors_is_averaged_over_seeds_and_includes_the_worst_scenes(folder: Path) -> None:
    for seed, far in ((0, 10), (1, 30)):  # scenes 6 m off, of 200; all others are 1 m off
        made = made_run("tailed", seed, 0.0)
        errors = {**made.errors, "minFDE6": np.where(np.arange(SCENES) < far, 6.0, 1.0)}
        save_run(replace(made, errors=errors), folder / "runs")
    spread = error_spread(load_runs(folder / "runs"), "tailed")
    assert spread is not None
    assert (spread.seeds, spread.median) == ([0, 1], 1.0)
    assert spread.ninth_decile == pytest.approx((1.0 + 6.0) / 2)
    assert spread.far == pytest.approx(10.0)
    assert spread.far_share == pytest.approx(100 * (60 / 250 + 180 / 350) / 2)
    assert error_spread(load_runs(folder / "runs"), "absent") is None


def test_runs_on_other_scenes_are_refused(folder: Path) -> None:
    other = replace(made_run("map", 2, 0.0), scenes="other")
    before = (folder / "runs" / "map-2.json").read_bytes()
    with pytest.raises(InputError, match="map-2: found errors on other scenes"):
        save_run(other, folder / "runs")
    assert (folder / "runs" / "map-2.json").read_bytes() == before
    shutil.copytree(folder / "runs", folder / "moved")
    save_run(other, folder / "apart")
    shutil.copy(folder / "apart" / "map-2.json", folder / "moved")
    with pytest.raises(InputError, match="errors on other scenes"):
        load_runs(folder / "moved")


def test_runs_with_other_evaluation_parameters_are_refused(folder: Path) -> None:
    made = made_run("map", 2, 0.0)
    provenance = {**made.provenance, "evaluate": {**made.provenance["evaluate"], "parameters_sha256": "other"}}
    save_run(replace(made, provenance=provenance), folder / "runs")
    with pytest.raises(InputError, match="other parameters of evaluate"):
        load_runs(folder / "runs")


def test_claims_are_not_testable_if_a_baseline_beats_the_variants(folder: Path) -> None:
    plan = load_plan(folder / "plan.yaml")
    save_run(replace(baseline(0.1), variant="lane_following"), folder / "runs")
    write(folder, plan)
    verdicts = {entry["claim"]: entry["verdict"] for entry in results(folder)["claims"]}
    assert verdicts["map-lowers-minFDE6"] == "not testable here"


def test_withdrawn_variants_are_named_first_and_decide_no_claim(folder: Path) -> None:
    broken = {**PLAN, "withdrawn": {"variants": ["map"], "text": "The objective was broken."}}
    (folder / "plan.yaml").write_text(yaml.safe_dump(broken))
    write(folder, load_plan(folder / "plan.yaml"))
    assert "Withdrawn.** The objective was broken." in (folder / "README.md").read_text().splitlines()[2]
    verdicts = {entry["claim"]: entry["verdict"] for entry in results(folder)["claims"]}
    assert verdicts["map-lowers-minFDE6"] == "not testable here"


def test_withdrawn_variants_of_the_repository_are_in_no_comparison() -> None:
    plan = load_plan(REPOSITORY / "studies" / "argoverse1_small" / "plan.yaml")
    compared = {name for one in (*plan.comparisons, *plan.strata) for name in (one.reference, *one.variants)}
    compared |= {name for curve in plan.curves for names in curve.series.values() for name in names}
    compared |= {headline.variant for headline in plan.headlines} | {headline.reference for headline in plan.headlines}
    assert plan.withdrawn.variants
    assert not compared & set(plan.withdrawn.variants)


def test_a_curve_needs_a_variant_for_every_x_value(folder: Path) -> None:
    broken = {**PLAN, "curves": [{**PLAN["curves"][0], "x": [10.0]}]}  # type: ignore[index]
    (folder / "plan.yaml").write_text(yaml.safe_dump(broken))
    with pytest.raises(ParameterError, match="Less data: (map|scratch): found 2 variants; expected 1"):
        load_plan(folder / "plan.yaml")


def test_the_plan_of_the_repository_can_be_read() -> None:
    plan = load_plan(REPOSITORY / "studies" / "argoverse1_small" / "plan.yaml")
    assert plan.comparisons[0].reference == "none"


def test_choices_are_separate_from_the_study(folder: Path) -> None:
    for variant, shift in (("none", 0.0), ("map", -0.5)):
        run = made_run(variant, 0, shift)
        held_out_errors = {name: values[:50] for name, values in run.errors.items()}
        save_run(replace(run, scenes="held", errors=held_out_errors), folder / "choices")
    plan = load_plan(folder / "plan.yaml")
    write(folder, plan)
    section = (folder / "README.md").read_text().split("## Choices")[1].split("\n## ")[0]
    assert "On 50." in section
    assert "Not measured yet: `absent`." in section
    assert "| `map`: what map is | 0 |" in section
    first, second = results(folder)["choices"]
    (_, ours) = first["rows"]
    assert [row["variant"] for row in second["rows"]] == ["map", "none"]
    assert ours["differences"]["minFDE6"]["mean"] == pytest.approx(-0.5, abs=1e-4)
    (_, theirs, *_) = results(folder)["comparisons"][0]["rows"]
    assert theirs["differences"]["minFDE6"]["mean"] == pytest.approx(-0.3, abs=1e-4)
    assert results(folder)["scenes"] == SCENES


def test_numbers_are_rounded_so_that_machines_agree() -> None:
    noisy = {"rows": [(0.1 + 0.2, float("nan")), 3, None, "text"]}
    (first, missing), *rest = rounded(noisy)["rows"]
    assert first == 0.3
    assert np.isnan(missing)
    assert rest == [3, None, "text"]
