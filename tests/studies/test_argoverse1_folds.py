"""Tests of the study of folds on made-up results: its plan, the order of its runs, its stored results and its pages."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import yaml
from forecasting_scenes import driven, straight_lanes, write_store

from repository import PARAMS, REPOSITORY
from studies.argoverse1_folds.analysis import analyse, compare, errors_of, levels, planned_tests, training_scenes
from studies.argoverse1_folds.answer import sentences
from studies.argoverse1_folds.execute import claim_work_folder, make_executor, modified_files, run_stage, stop_stages
from studies.argoverse1_folds.ledger import effect_rows, judge_effects
from studies.argoverse1_folds.pages import write_pages
from studies.argoverse1_folds.paper_page import reconstruction_sentences
from studies.argoverse1_folds.plan import BASELINE, Comparison, Plan, Recipe, Run, best_recipe, groups, load_plan, needs
from studies.argoverse1_folds.reconstruction import load_reconstructions, unseen_windows
from studies.argoverse1_folds.results import (
    CAPPED,
    FAR,
    SCENES,
    Result,
    load_result,
    load_results,
    save_result,
    scenes_hash,
)
from studies.argoverse1_folds.schedule import Scheduler, make_scheduler
from studies.argoverse1_folds.stores import Stores
from synthdrive.config.whole_file import compose
from synthdrive.core.artifacts import write_json
from synthdrive.core.errors import InputError, ParameterError, SynthDriveError
from synthdrive.core.parameters import read_parameters
from synthdrive.core.seeding import generator
from synthdrive.reporting.claims import load_claims
from synthdrive.reporting.evidence import Published, Verdict

PLAN = REPOSITORY / "studies" / "argoverse1_folds" / "plan.yaml"
PUBLISHED = Published.load(REPOSITORY / "published.yaml")
CLAIMS = load_claims(REPOSITORY / "claims.yaml")
FOLD_SCENES = 60
LEVEL = {"scratch": 2.6, "forecast_realistic": 1.9, "forecast_paper": 2.2, BASELINE: 2.5}  # m, made up
CODE = "made-up"


@pytest.fixture
def plan() -> Plan:
    return load_plan(PLAN)


def names_of(fold: int) -> list[str]:
    return [f"{fold}-{scene}" for scene in range(FOLD_SCENES)]


def made_up(run: Run, plan: Plan) -> Result:
    """A result without training: errors drawn around a level that falls with the fraction of the scenes."""
    inner = run.inner(plan.folds)
    judged = run.fold if inner is None else inner
    hardness = np.random.default_rng(judged).gamma(2.0, 0.5, FOLD_SCENES)
    noise = generator(0, run.name)
    level = LEVEL.get(run.variant, 2.5) - run.percent / 200 + (run.trial or 0) * 0.1
    fde = np.maximum(hardness * level + 0.05 * noise.standard_normal(FOLD_SCENES), 0.001)
    errors = {"minFDE6": fde, "minADE6": fde / 2, "minFDE1": 2 * fde, "minADE1": fde, "MR6": (fde > 2.0) * 1.0}
    provenance = {"commit": "0" * 40, "modified": False, "code": CODE, "train_scenes": 20 * run.percent}
    return Result(run, {}, scenes_hash(names_of(judged)), errors, {"finetune": 60.0}, provenance)


def write_scenes(folder: Path, plan: Plan) -> None:
    rows = [(name, fold, place) for fold in range(plan.folds) for place, name in enumerate(names_of(fold))]
    write_json(
        folder / SCENES,
        {
            "scene": [name for name, _, _ in rows],
            "city": ["MIA" if place % 2 else "PIT" for _, _, place in rows],
            "fold": [fold for _, fold, _ in rows],
            "block": [f"{fold}_{place % 6}" for _, fold, place in rows],
        },
    )


@pytest.fixture
def folder(tmp_path: Path, plan: Plan) -> Path:
    """Made-up results of a complete first repeat: three variants, the trials of their recipes, and the baseline."""
    out = tmp_path / "results"
    write_scenes(out, plan)
    for group in groups(plan):
        for run in group:
            if run.repeat == 0 and run.variant in LEVEL:
                save_result(made_up(run, plan), out)
    return out


def test_the_plan_lists_every_run_after_the_runs_that_it_needs(plan: Plan) -> None:
    runs = [run for group in groups(plan) for run in group]
    assert len(runs) == len(set(runs)) == len({run.name for run in runs})
    assert len(plan.variants) + 2 <= 8  # plus the baseline, and pre-training without recorded scenes
    assert plan.folds == 5
    for place, run in enumerate(runs):
        assert set(needs(plan, run)) <= set(runs[:place])
    finals = {(run.variant, run.percent) for run in runs if run.trial is None}
    assert {("scratch", 10), ("scratch", 100), ("forecast_realistic", 0), (BASELINE, 0)} <= finals
    assert ("scratch", 0) not in finals
    tried = [sum(run.trial is not None and run.variant == variant for run in runs) for variant in plan.tuned.values()]
    assert tried[0] == tried[1]  # both sides try the same number of recipes


def test_recipes_are_never_tried_on_the_fold_they_are_chosen_for(plan: Plan) -> None:
    for run in (run for group in groups(plan) for run in group if run.trial is not None):
        assert run.inner(plan.folds) != run.fold
    run = Run("scratch", 10, 3)
    assert {each.fold for each in needs(plan, run)} == {3}


def test_the_best_recipe_is_chosen_and_a_changed_model_only_for_variants_that_tried_it(plan: Plan) -> None:
    tried = needs(plan, Run("scratch", 10, 0))
    recipes: list[Recipe] = plan.recipes["scratch"]["few"]
    changed = next(number for number, recipe in enumerate(recipes) if recipe.model)
    scores = {run: 1.0 + (run.trial or 0) * 0.01 for run in tried} | {tried[changed]: 0.5}
    assert best_recipe(plan, Run("scratch", 30, 0), scores) is recipes[changed]
    assert best_recipe(plan, Run("combined", 30, 0), scores) is recipes[0]


def test_a_plan_with_uneven_budgets_or_unknown_names_is_refused(tmp_path: Path) -> None:
    content = yaml.safe_load(PLAN.read_text())
    content["recipes"]["whole"]["all"].pop()
    (tmp_path / "uneven.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ParameterError, match="as many for each group"):
        load_plan(tmp_path / "uneven.yaml")
    content = yaml.safe_load(PLAN.read_text())
    content["tests"][0]["variant"] = "absent"
    (tmp_path / "unknown.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ParameterError, match="absent"):
        load_plan(tmp_path / "unknown.yaml")


@pytest.mark.parametrize("name", ["scratch", "forecast_realistic"])
def test_a_plan_without_a_variant_of_the_answer_is_refused(tmp_path: Path, name: str) -> None:
    content = yaml.safe_load(PLAN.read_text())
    del content["variants"][name]
    content["tests"] = []
    content["tuned"] = dict.fromkeys(content["tuned"], "combined")
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ParameterError, match=rf"plan.yaml: variants: found .*combined.* without {name}; expected"):
        load_plan(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 1}, "at least two folds"),
        ({"percents": [10, 30]}, "with 100 among them"),
        ({"tuned": {"scratch": "absent", "whole": "scratch"}}, "tuned.scratch: found 'absent'"),
        ({"recipes": {"scratch": {"few": [], "all": []}}}, "recipes.whole"),
        ({"recipes": {"scratch": {"few": None, "all": []}, "whole": {"few": [], "all": []}}}, "recipes.scratch"),
        ({"tests": [{"variant": "scratch", "percent": 11, "reference": "scratch", "reference_percent": 10}]}, "11 %"),
        ({"tests": [{"variant": "scratch", "percent": 10, "reference": BASELINE, "reference_percent": 10}]}, "10 %"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(yaml.safe_load(PLAN.read_text()) | change))
    with pytest.raises(ParameterError, match=message):
        load_plan(tmp_path / "plan.yaml")


def test_a_result_is_stored_with_millimetre_precision(tmp_path: Path, plan: Plan) -> None:
    result = made_up(Run("scratch", 10, 2, 1), plan)
    path = save_result(result, tmp_path)
    assert path.stat().st_size < 60 * FOLD_SCENES
    again = load_result(path)
    assert again.run == result.run
    for name, values in result.errors.items():
        np.testing.assert_allclose(again.errors[name], values, atol=0.0005)
    assert again.metric(CAPPED).max() <= 2.0
    np.testing.assert_array_equal(again.metric(FAR), result.errors["minFDE6"] > 5.0)


def test_results_of_uncommitted_code_or_other_scenes_are_refused(folder: Path, plan: Plan) -> None:
    result = made_up(Run("scratch", 10, 0), plan)
    save_result(replace(result, provenance=dict(result.provenance) | {"modified": True}), folder)
    with pytest.raises(InputError, match="modified: True"):
        load_results(folder, plan)
    save_result(replace(result, scenes="others"), folder)
    with pytest.raises(InputError, match="other scenes"):
        load_results(folder, plan)
    save_result(replace(result, errors={name: values[1:] for name, values in result.errors.items()}), folder)
    with pytest.raises(InputError, match="other scenes"):
        load_results(folder, plan)
    save_result(result, folder)
    assert load_results(folder, plan).runs
    (folder / SCENES).unlink()
    with pytest.raises(InputError, match=f"{SCENES}.*missing"):
        load_results(folder, plan)


@pytest.mark.parametrize(("old", "new"), [('"missed": "', '"missed": "7'), ('"minFDE6": "', '"minFDE6": "nan ')])
def test_errors_that_are_no_errors_are_refused(tmp_path: Path, plan: Plan, old: str, new: str) -> None:
    path = save_result(made_up(Run("scratch", 10, 0), plan), tmp_path)
    text = path.read_text()
    text = text.replace(old + text.partition(old)[2][0], new) if "7" in new else re.sub(old + r"\d+ ", new, text)
    path.write_text(text)
    with pytest.raises(InputError, match="MR6 other than 0 and 1"):
        load_result(path)


def test_errors_of_every_scene_come_from_the_runs_of_its_fold(folder: Path, plan: Plan) -> None:
    results = load_results(folder, plan)
    errors = errors_of(results, "scratch", 100, "minFDE6", plan)
    assert list(errors) == [0]
    start = 3 * FOLD_SCENES
    own = results.runs[Run("scratch", 100, 3)].errors["minFDE6"]
    np.testing.assert_array_equal(errors[0][start : start + FOLD_SCENES], own)
    missing = folder / f"{Run('scratch', 100, 3).name}.json"
    missing.unlink()
    assert errors_of(load_results(folder, plan), "scratch", 100, "minFDE6", plan) == {}


def test_sentences_figures_and_tables_agree_with_the_results(folder: Path, plan: Plan, tmp_path: Path) -> None:
    results = load_results(folder, plan)
    write_pages(folder, tmp_path / "losses", tmp_path / "pages", plan, PUBLISHED, CLAIMS)
    written = {path.name: path.read_text() for path in (tmp_path / "pages").iterdir()}
    ours, theirs = (np.concatenate([made_up(Run(v, 10, f), plan).errors["minFDE6"] for f in range(plan.folds)])
                    for v in ("forecast_realistic", "scratch"))  # fmt: skip
    change = 100 * (ours.mean() - theirs.mean()) / theirs.mean()
    found_sentences = sentences(analyse(results, plan), plan, PUBLISHED)
    assert len(found_sentences) == 5
    assert f"\N{MINUS SIGN}{abs(change):.1f} %" in found_sentences[0]
    assert "(200)" in found_sentences[0]
    assert "**\N{MINUS SIGN}" not in "".join(found_sentences)  # results of a single seed for each fold are not bold
    few, everything = (np.mean([made_up(Run(variant, percent, fold), plan).errors["minFDE6"] for fold in range(5)])
                       for variant, percent in (("forecast_realistic", 10), ("scratch", 100)))  # fmt: skip
    assert f"It is then {few:.2f} m [" in found_sentences[0]
    assert f"on all 2,000 scenes reaches {everything:.2f} m [" in found_sentences[0]
    alone = np.concatenate([made_up(Run("forecast_realistic", 0, f), plan).errors["minFDE6"] for f in range(5)])
    assert f"minFDE6 is {alone.mean():.2f} m" in found_sentences[3]
    assert found_sentences[4] == "**The paper's pre-training:** not run yet."
    for text in found_sentences:
        assert text in written["README.md"]
    assert len(written["README.md"].splitlines()) < 60
    assert "Lane following" in written["figure.svg"]
    assert "Pittsburgh" in written["figure.svg"]
    table = [line.split(",") for line in written["results.csv"].splitlines()]
    row = next(row for row in table if row[:4] == ["scratch", "10", "1", "minFDE6"])
    assert float(row[5]) == pytest.approx(theirs.mean(), abs=1e-3)
    found = json.loads(written["results.json"])["tests"]
    assert len(found) == len(planned_tests(results, plan)) == 3 * 4
    assert all(test["p"] <= test["p_holm"] for test in found)
    assert written["recipes.md"].count("**") == 2 * 2 * 2 * plan.folds  # one best recipe for each group, size and fold


@pytest.mark.parametrize(("level", "verdict"), [(2.0, Verdict.SUPPORTED), (3.2, Verdict.CONTRADICTED)])
def test_the_papers_claims_are_judged_on_all_scenes(
    folder: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, level: float, verdict: Verdict
) -> None:
    before = judge_effects(CLAIMS, load_results(folder, plan), plan, PUBLISHED)
    assert len(before) == 4  # combined in three metrics, as_released in one
    assert {effect.verdict for effect in before} == {None}
    monkeypatch.setitem(LEVEL, "combined", level)
    for fold in range(plan.folds):
        save_result(made_up(Run("combined", 100, fold), plan), folder)
    judged = judge_effects(CLAIMS, load_results(folder, plan), plan, PUBLISHED)
    assert [effect.verdict for effect in judged if effect.difference] == [verdict] * 3
    _, rows = effect_rows(judged)
    assert [row[2] for row in rows] == [str(verdict)] * 3 + [""]
    assert rows[3][1] == "not run yet"


def write_losses(folder: Path, variant: str, fold: int, lanes: float) -> None:
    losses = {
        "lanes": {"loss": lanes, "straight": 0.4, "blind": 8.0, "gain": 0.0},
        "trajectory": {"loss": 0.1, "quadratic": 0.2, "blind": 4.0, "gain": 0.0},
    }
    write_json(folder / f"{variant}-{fold}.json", {"variant": variant, "fold": fold, "seed": fold, "losses": losses})


def test_page_of_the_papers_pretraining_compares_losses_with_simple_predictors(
    folder: Path, plan: Plan, tmp_path: Path
) -> None:
    losses = tmp_path / "losses"
    for fold, lanes in ((1, 0.7), (0, 0.5)):
        write_losses(losses, "combined", fold, lanes)
    measured = load_reconstructions(losses, plan)
    assert [each.fold for each in measured] == [0, 1]
    lanes, trajectory = reconstruction_sentences(measured)
    assert "a loss of 0.600, more than straight extrapolation (0.400)" in lanes
    assert "a loss of 0.100, less than a parabola (0.200)" in trajectory
    write_pages(folder, losses, tmp_path / "pages", plan, PUBLISHED, CLAIMS)
    page = (tmp_path / "pages" / "paper.md").read_text()
    assert "| The paper's combined | 2 | 0.600 | 0.400 | 8.000 | +92 % | 0.100 | 0.200 | 4.000 | +98 % |" in page
    assert "Against training from scratch: not run yet." in page


def test_page_of_the_papers_pretraining_shows_its_effect_on_forecasting(
    folder: Path, plan: Plan, tmp_path: Path
) -> None:
    for fold in range(plan.folds):
        save_result(made_up(Run("combined", 10, fold), plan), folder)
    write_pages(folder, tmp_path / "losses", tmp_path / "pages", plan, PUBLISHED, CLAIMS)
    page = (tmp_path / "pages" / "paper.md").read_text()
    test = Comparison("combined", 10, "scratch", 10)
    change = compare(load_results(folder, plan), test, "MR6", plan)
    assert change is not None
    assert change.relative_text in page
    assert "combined (30 %)" not in page


def test_windows_like_the_papers_are_compared_with_realistic_ones(folder: Path, plan: Plan, tmp_path: Path) -> None:
    next(folder.glob("forecast_paper-30-f0-*")).unlink()
    write_pages(folder, tmp_path / "losses", tmp_path / "pages", plan, PUBLISHED, CLAIMS)
    page = (tmp_path / "pages" / "results.md").read_text()
    for percent in (0, 10, 100):
        test = Comparison("forecast_realistic", percent, "forecast_paper", percent)
        change = compare(load_results(folder, plan), test, "MR6", plan)
        assert change is not None
        assert change.relative_text in page
    assert "against Forecasting, windows like the paper's (30 %)" not in page
    alone = np.mean([made_up(Run("forecast_paper", 0, fold), plan).errors["minFDE6"] for fold in range(plan.folds)])
    assert f"which use no real scenes, it is {alone:.2f} m" in (tmp_path / "pages" / "README.md").read_text()
    for file in folder.glob("forecast_paper-*"):
        file.unlink()
    write_pages(folder, tmp_path / "losses", tmp_path / "pages", plan, PUBLISHED, CLAIMS)
    assert "Realistic windows" not in (tmp_path / "pages" / "results.md").read_text()


def test_number_of_training_scenes_is_the_mean_over_folds(folder: Path, plan: Plan) -> None:
    """Whether or not further variants have been run on some folds only."""
    for variant in ("scratch", "forecast_paper", "forecast_realistic", "combined"):
        for fold in range(1 if variant == "combined" else plan.folds):
            result = made_up(Run(variant, 10, fold), plan)
            save_result(replace(result, provenance=result.provenance | {"train_scenes": 100 * (fold + 1)}), folder)
    assert training_scenes(load_results(folder, plan), plan)[10] == 300


def test_unseen_windows_are_those_that_the_networks_own_store_lacks(tmp_path: Path) -> None:
    agents = np.stack([driven(angle, 8.0) for angle in (0.0, 0.5, 1.0)])
    lanes = straight_lanes([(0, 0), (1, 0)])
    write_store(tmp_path / "own", agents, lanes, ["a", "b", "c"])
    write_store(tmp_path / "other", agents, lanes, ["d", "b", "e"])
    np.testing.assert_array_equal(unseen_windows(tmp_path / "own", tmp_path / "other"), [0, 2])
    with pytest.raises(InputError, match=r"no window; expected windows that are not in .*own"):
        unseen_windows(tmp_path / "own", tmp_path / "own")


def test_losses_of_an_unknown_variant_or_a_damaged_file_are_refused(plan: Plan, tmp_path: Path) -> None:
    write_losses(tmp_path, "unknown", 0, 0.5)
    with pytest.raises(InputError, match="variant 'unknown'"):
        load_reconstructions(tmp_path, plan)
    write_json(tmp_path / "unknown-0.json", {"variant": "combined"})
    with pytest.raises(InputError, match="expected losses written by this study"):
        load_reconstructions(tmp_path, plan)


def test_answer_names_significant_changes_in_other_metrics(folder: Path, plan: Plan) -> None:
    for fold in range(plan.folds):
        scratch = load_results(folder, plan).runs[Run("scratch", 10, fold)]
        worse = dict(scratch.errors) | {"minADE6": 1.2 * scratch.errors["minADE6"]}
        save_result(replace(scratch, run=Run("combined", 10, fold), errors=worse), folder)
    said = sentences(analyse(load_results(folder, plan), plan), plan, PUBLISHED)[4]
    assert "changes minFDE6 by 0.0 % [0.0, 0.0] compared with training from scratch; this change is not" in said
    assert "after Holm's correction), but that of minADE6 (+20.0 %" in said
    assert "MR6" not in said


def test_a_level_has_the_mean_error_of_every_training(folder: Path, plan: Plan) -> None:
    level = next(
        each for each in levels(load_results(folder, plan), plan) if (each.variant, each.percent) == ("scratch", 10)
    )
    assert len(level.trainings["minFDE6"][""]) == plan.folds
    own = made_up(Run("scratch", 10, 1), plan).errors["minFDE6"].mean()
    assert level.trainings["minFDE6"][""][1] == pytest.approx(own, abs=1e-3)


def test_pages_without_any_result_say_that_nothing_was_run(tmp_path: Path, plan: Plan) -> None:
    write_pages(tmp_path / "results", tmp_path / "losses", tmp_path / "pages", plan, PUBLISHED, CLAIMS)
    text = (tmp_path / "pages" / "README.md").read_text()
    assert text.count("not run yet") >= 5
    assert "Nothing has been tested yet." in text
    assert "one training run per variant" not in text


@dataclass
class FakeExecutor:
    """Makes up results and records the order of the runs."""

    plan: Plan
    code: str = CODE
    made: list[Run] = field(default_factory=list)
    before: Callable[[Run], None] = lambda run: None

    def make(self, run: Run, recipe: Recipe | None) -> Result:
        assert (recipe is None) == (run.variant == BASELINE or run.percent == 0)
        self.before(run)
        self.made.append(run)
        return made_up(run, self.plan)


def scheduler(plan: Plan, executor: FakeExecutor, folder: Path, hours: float = 1000.0) -> Scheduler:
    return make_scheduler(plan, executor, folder, hours)  # type: ignore[arg-type]


def test_a_new_scheduler_continues_where_the_last_one_stopped(tmp_path: Path, plan: Plan) -> None:
    write_scenes(tmp_path, plan)
    executor = FakeExecutor(plan)

    def stop(run: Run) -> None:
        if len(executor.made) == 40:
            raise SynthDriveError("the machine is gone")

    executor.before = stop
    with pytest.raises(SynthDriveError, match="the machine is gone"):
        scheduler(plan, executor, tmp_path).work(2)
    first = len(list(tmp_path.glob("*-*.json")))
    assert 40 <= first <= 41
    executor = FakeExecutor(plan)
    scheduler(plan, executor, tmp_path).work(3)
    everything = {run for group in groups(plan) for run in group}
    assert set(load_results(tmp_path, plan).runs) == everything
    assert len(executor.made) == len(everything) - first


def test_runs_that_may_end_after_the_deadline_are_not_started(tmp_path: Path, plan: Plan) -> None:
    write_scenes(tmp_path, plan)
    executor = FakeExecutor(plan)
    started = time.monotonic()
    scheduler(plan, executor, tmp_path, hours=100 / 3600).work(2)
    assert executor.made == []  # the first run is estimated to take longer
    assert time.monotonic() - started < 10
    scheduler(plan, executor, tmp_path, hours=300 / 3600).work(1)
    assert executor.made
    assert all(run.percent != 100 for run in executor.made[:6])


def test_results_of_other_code_cannot_be_continued(folder: Path, plan: Plan) -> None:
    with pytest.raises(SynthDriveError, match="results of other code, of commit 0000"):
        scheduler(plan, FakeExecutor(plan, code="other"), folder)


def test_a_work_folder_of_other_code_parameters_or_recipes_is_refused(plan: Plan, tmp_path: Path) -> None:
    profile = REPOSITORY / "profiles" / "argoverse1-folds.yaml"
    parameters = compose(read_parameters(PARAMS), profile)
    executor = make_executor(Stores(tmp_path, parameters, plan))
    for _ in range(2):
        claim_work_folder(executor)
    tested_otherwise = replace(plan, tests=[], variants=dict(reversed(plan.variants.items())))
    claim_work_folder(make_executor(Stores(tmp_path, parameters, tested_otherwise)))
    others = {
        "code": replace(executor, code="other"),
        "parameters": make_executor(Stores(tmp_path, parameters | {"augment": {}}, plan)),
        "plan": make_executor(Stores(tmp_path, parameters, replace(plan, folds=4))),
    }
    for word, other in others.items():
        with pytest.raises(SynthDriveError, match=f"other {word} than now"):
            claim_work_folder(other)


def test_recipes_are_chosen_from_results_as_stored(tmp_path: Path, plan: Plan) -> None:
    write_scenes(tmp_path, plan)
    found = scheduler(plan, FakeExecutor(plan), tmp_path)
    found.work(2)
    for run, result in load_results(tmp_path, plan).runs.items():
        for name, values in result.errors.items():
            np.testing.assert_array_equal(found.done[run].errors[name], values)


def test_no_stage_is_started_while_the_study_is_being_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.argoverse1_folds.execute._stopping", Event())
    stop_stages()
    with pytest.raises(SynthDriveError, match="pretrain was not started"):
        run_stage("pretrain", {}, tmp_path / "log")


def test_a_run_trains_its_variant_with_its_fraction_and_recipe(plan: Plan, tmp_path: Path) -> None:
    profile = REPOSITORY / "profiles" / "argoverse1-folds.yaml"
    executor = make_executor(Stores(tmp_path, compose(read_parameters(PARAMS), profile), plan))
    content = executor.parameters_of(Run("combined", 30, 1, 1), Recipe({"epochs": 7}))
    variant = content["variants"]["combined"]
    assert variant["finetune"]["fraction"] == pytest.approx(0.3)
    assert variant["finetune"]["epochs"] == 7
    assert content["seeds"] == [6]
    zero = executor.parameters_of(Run("forecast_realistic", 0, 1), None)["variants"]["forecast_realistic"]
    assert zero["finetune"]["learning_rate"] < 1e-9
    assert zero["finetune"]["load_pretrained_weights"] == ["encoder", "lane_scorer", "goal_scorer", "completion"]


def test_modified_files_are_those_that_determine_the_results(tmp_path: Path) -> None:
    assert modified_files(tmp_path) is None  # no repository
    names = ("src/package/module.py", "studies/one/plan.py", "studies/one/plan.yaml", "docs/page.md")
    files = [tmp_path / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "files"]):
        subprocess.run([*git, *command], check=True)
    assert modified_files(tmp_path) == []
    for file in files:
        file.write_text("2\n")
    assert modified_files(tmp_path) == [*names[:3]]
