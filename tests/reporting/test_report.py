"""Tests of the report: its tables, page and Markdown."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from fake_run import SEEDS, report_inputs, write_run

from repository import PARAMS, REPOSITORY
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.core.artifacts import file_hash, read_json, write_json
from synthdrive.core.errors import InputError
from synthdrive.core.parameters import load_section
from synthdrive.core.provenance import run_record, write_provenance
from synthdrive.forecasting.evaluate import load_scene_errors, write_evaluation
from synthdrive.forecasting.own_forecasts import read_own_forecasts
from synthdrive.reporting.content import Content
from synthdrive.reporting.measurements import Measurements, VariantErrors
from synthdrive.reporting.page import markdown, page, records, summary, write_provenance_page
from synthdrive.reporting.report import ReportInputs, _reconstructions, write_report
from synthdrive.reporting.run_results import Artifacts, RunPaths
from synthdrive.reporting.tables import Validated, results_table, strata_table, validated
from synthdrive.reporting.wording import HEADLINE, signed
from synthdrive.scenes.scene_store import SceneStore

MAX_BYTES = 8_000_000


def test_levels_are_means_over_the_errors_of_the_scenes(run: ReportInputs, report: tuple[Path, Content]) -> None:
    results = {row["name"]: row for row in read_json(report[0] / "results.json")["results"]}
    for variant in ("none", "combined"):
        seeds = [load_scene_errors(run.paths.forecasts / f"{variant}-{seed}")[1]["minFDE6"].mean() for seed in SEEDS]
        level = results[variant]["metrics"]["minFDE6"]["level"]
        assert level["mean"] == pytest.approx(np.mean(seeds))
        assert level["spread"] == pytest.approx(np.std(seeds, ddof=1))
        assert level["low"] < level["mean"] < level["high"]
    assert results["combined"]["metrics"]["minFDE6"]["difference"]["relative"] == pytest.approx(-30.0, abs=0.1)
    assert results["none"]["metrics"]["minFDE6"]["difference"] is None


def test_table_has_every_row_of_the_paper_and_both_baselines(report: tuple[Path, Content]) -> None:
    html = (report[0] / "index.html").read_text()
    published = yaml.safe_load((REPOSITORY / "published.yaml").read_text())
    for variant, numbers in published["table"].items():
        (row,) = [row for row in report[1].rows if row.name == variant]
        assert row.label in html
        assert f"{numbers['minFDE6']:.4f}" in html
    assert [row.kind for row in report[1].rows[:2]] == ["baseline", "baseline"]
    assert {row.name: row.kind for row in report[1].rows}["map"] == "not run"


def test_page_is_self_contained(report: tuple[Path, Content]) -> None:
    html = (report[0] / "index.html").read_text()
    assert len(html.encode()) < MAX_BYTES
    assert "<script" not in html
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"", html) == ['href="../provenance/index.html"']
    assert not re.findall(r"@import|url\((?!#)", html)
    panels = sum(len(picture.panels) for picture in report[1].pictures.all())
    assert html.count('<svg role="img"') == panels > 20


def test_ids_in_the_page_are_unique_and_references_resolve(report: tuple[Path, Content]) -> None:
    html = (report[0] / "index.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', html))
    assert references <= set(ids)


def test_report_of_the_same_run_has_the_same_bytes(
    run: ReportInputs, report: tuple[Path, Content], tmp_path: Path
) -> None:
    write_report(run, tmp_path / "again")
    assert file_hash(tmp_path / "again") == file_hash(report[0])


def test_markdown_links_to_pictures_that_exist(report: tuple[Path, Content]) -> None:
    text = (report[0] / "report.md").read_text()
    links = re.findall(r'src="([^"]+)"', text)
    assert links
    assert all((report[0] / link).is_file() for link in links)
    rows = [line for line in text.splitlines() if line.startswith("| Combined |")]
    assert rows
    table = text[text.index("## Results") :].split("\n\n")[2].splitlines()
    assert len({line.count("|") for line in table}) == 1


def measure(inputs: ReportInputs, artifacts: Artifacts) -> Measurements:
    return artifacts.measure(inputs.source, inputs.validation, inputs.parameters)


def test_only_the_selected_runs_are_read(tmp_path: Path) -> None:
    paths = write_run(tmp_path, scenes=9)
    shutil.copytree(paths.forecasts / "none-0", paths.forecasts / "none-7")
    shutil.copytree(paths.forecasts / "none-0", paths.forecasts / "map-0")
    inputs = report_inputs(paths, tmp_path, REPOSITORY)
    artifacts = Artifacts.load(paths, inputs.runs)
    measured = measure(inputs, artifacts)
    assert measured.variants["none"].seeds == SEEDS
    assert list(measured.variants) == ["none", "combined"]
    assert sorted(artifacts.metadata) == ["combined-0", "combined-1", "none-0", "none-1"]


def test_a_run_worse_than_the_baselines_causes_a_warning_and_decides_no_effect(tmp_path: Path) -> None:
    inputs = report_inputs(write_run(tmp_path, scenes=9, learned_error=3.0), tmp_path, REPOSITORY)
    content = write_report(inputs, tmp_path / "reports")
    warnings = [warning for warning in content.warnings if "minFDE6" in warning and "constant velocity" in warning]
    assert len(warnings) == 2
    assert all(warning in page(content) and warning in markdown(content) for warning in warnings)
    assert "0 supported, 0 contradicted, 0 undecided, 18 not testable here" in content.headline
    assert "This run cannot test any effect." in content.headline


def test_own_forecasts_appear_in_every_table_but_change_no_verdict(
    run: ReportInputs, report: tuple[Path, Content], tmp_path: Path
) -> None:
    """A variant that is worse than the user's forecasts causes no warning and is not judged to be untrained."""
    for folder in ("forecasts", "metrics"):
        shutil.copytree(getattr(run.paths, folder), tmp_path / folder)
    paths = replace(run.paths, forecasts=tmp_path / "forecasts", metrics=tmp_path / "metrics")
    store = SceneStore.load(paths.val)
    truth = np.stack([store[index].agent[20:] for index in range(len(store))])
    perfect = np.repeat(truth[:, None] + store.origins[:, None, None], 6, axis=1)
    np.savez(
        tmp_path / "mine.npz", scene_ids=store.scene_ids, trajectories=perfect, probabilities=np.ones(perfect.shape[:2])
    )
    forecasts = read_own_forecasts(tmp_path / "mine.npz", store)
    evaluate = load_section(EvaluateParameters, "evaluate", PARAMS)
    write_evaluation(forecasts, store, evaluate, {}, paths.forecasts / "my_model", paths.metrics / "my_model.json")
    inputs = replace(run, paths=paths, parameters=replace(run.parameters, own_forecasts=["my_model"]))
    content = write_report(inputs, tmp_path / "reports")
    row = content.rows[-1]
    assert (row.name, row.kind) == ("my_model", "own")
    assert row.entries["minFDE6"].level.mean == pytest.approx(0, abs=1e-3)
    assert content.strata.columns[-1] == "my model"
    for text in (page(content), markdown(content), summary(content)):
        assert "my model" in text
    assert (content.warnings, content.headline) == (report[1].warnings, report[1].headline)
    with pytest.raises(InputError, match="own_forecasts: found combined"):
        measure(
            replace(run, parameters=replace(run.parameters, own_forecasts=["combined"])),
            Artifacts.load(run.paths, run.runs),
        )


def test_own_forecasts_scored_with_other_parameters_are_refused(run: ReportInputs, tmp_path: Path) -> None:
    shutil.copytree(run.paths.forecasts, tmp_path / "forecasts")
    shutil.copytree(tmp_path / "forecasts" / "lane_following", tmp_path / "forecasts" / "mine")
    write_json(tmp_path / "forecasts" / "mine" / "metadata.json", {"parameters": {"evaluate": {"miss_threshold": 5.0}}})
    inputs = replace(
        run,
        paths=replace(run.paths, forecasts=tmp_path / "forecasts"),
        parameters=replace(run.parameters, own_forecasts=["mine"]),
    )
    with pytest.raises(InputError, match=r"mine: found scored with evaluate.miss_threshold 5.0.*as in the runs"):
        measure(inputs, Artifacts.load(inputs.paths, inputs.runs))


def test_pretraining_left_by_an_earlier_run_is_not_shown(run: ReportInputs, tmp_path: Path) -> None:
    """A variant that now shares another's pre-training may still have a checkpoint of its own from before."""
    pretrained = Path(shutil.copytree(run.paths.pretrained, tmp_path / "pretrained"))
    for seed in SEEDS:
        shutil.copytree(pretrained / f"combined-{seed}", pretrained / f"other-{seed}")
    paths = replace(run.paths, pretrained=pretrained)
    own = Artifacts.load(paths, run.runs)
    assert own.curves["pretrain"]["combined"]
    assert own.reconstruction["combined"]
    shared = Artifacts.load(paths, replace(run.runs, shared={"combined": "other"}))
    assert shared.curves["pretrain"]["combined"] == {}
    assert "combined" not in shared.reconstruction
    assert shared.metadata["combined-0"]["pretrain"] == own.metadata["combined-0"]["pretrain"]


def test_a_significant_change_without_a_relative_value_is_stated(report: tuple[Path, Content]) -> None:
    """The relative change of a miss rate is undefined if the baseline misses nothing."""
    content = report[1]
    random = np.random.default_rng(0)
    scenes = {"none": np.zeros((2, 200)), "combined": (random.random((2, 200)) < 0.3) * 100.0}
    variants = {name: VariantErrors(name, (0, 1), dict.fromkeys(HEADLINE, errors)) for name, errors in scenes.items()}
    measured = replace(content.measured, variants=variants, baselines={}, own={})
    found = replace(content, measured=measured, rows=results_table(measured, content.published), untrained="")
    assert re.search(
        r"combined raises MR6 by [\d.]+ percentage points \(95 % interval: [\d.]+ to [\d.]+\)", found.finding
    )
    (row,) = [row for row in found.rows if row.name == "combined"]
    text = row.entries["MR6"].difference.text
    assert text in markdown(found)
    assert text.split(" [")[0] in page(found)


def test_the_baseline_of_the_run_is_the_row_that_is_labelled_so(report: tuple[Path, Content]) -> None:
    content = report[1]
    swapped = dict(reversed(content.measured.variants.items()))
    rows = results_table(replace(content.measured, variants=swapped), content.published)
    assert [row.label for row in content.rows if "baseline" in row.label] == ["No pre-training (baseline)"]
    assert [row.label for row in rows if "baseline" in row.label] == ["Combined (baseline)"]


def test_runs_better_than_the_baselines_cause_no_warning(report: tuple[Path, Content]) -> None:
    assert not [warning for warning in report[1].warnings if "minFDE6" in warning]


def test_outliers_that_data_validation_permits_are_shown(report: tuple[Path, Content]) -> None:
    rows = [{"table": "train scenes", "row": f"scene{n}", "expected": "steps are short", "found": "max_interval 0.7"}
            for n in range(25)]  # fmt: skip
    expectation = {"description": "steps are short", "success": True, "result": {"element_count": 900}}
    tables = [{"table": name, "expectations": [expectation]} for name in ("train scenes", "val scenes")]
    found = validated({"raw": {"validation_results": tables, "outliers": rows}})
    assert [len(one.outliers) for one in found] == [25, 0]
    content = replace(report[1], validation=found)
    for text in (page(content), markdown(content)):
        assert "scene19 (max_interval 0.7)" in text
        assert "scene20" not in text
        assert "25" in text
    assert content.warnings == report[1].warnings


def test_failed_data_validation_causes_a_warning(report: tuple[Path, Content]) -> None:
    content = replace(report[1], validation=[Validated("synthetic", "windows", 9, (("speed is plausible", False),))])
    assert any("synthetic" in warning for warning in content.warnings)
    assert "FAILED" in page(content)


def test_headline_counts_effects_and_states_the_results_of_the_run(report: tuple[Path, Content]) -> None:
    effects = report[1].tallies["effects"]
    assert (sum(effects.values()), effects["supported"]) == (18, 2)
    assert "2 supported" in report[1].headline
    assert re.search(r"combined lowers min[AF]DE6 by 30\.0 %", report[1].headline)
    html = (report[0] / "index.html").read_text()
    assert html.index("Of 18 effects") < html.index('id="results-table"') < html.index('id="details"')


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"MR6": (40.0, 35.0, 46.0), "minFDE6": (-30.0, -34.0, -26.0)}, "raises MR6 by 40.0 % (95 % interval: 35.0 to"),
        ({"MR6": (20.0, 15.0, 25.0), "minFDE6": (-30.0, -34.0, -26.0)}, "lowers minFDE6 by 30.0 % (95 % interval: 26"),
        ({"MR6": (50.0, -5.0, 90.0), "minFDE6": (2.0, 1.0, 3.0)}, "raises minFDE6 by 2.0 % (95 % interval: 1.0 to 3.0"),
    ],
)
def test_headline_is_the_largest_significant_change_for_better_or_worse(
    report: tuple[Path, Content], changes: dict[str, tuple[float, float, float]], expected: str
) -> None:
    (row,) = [row for row in report[1].rows if row.name == "combined"]
    entries = {
        name: replace(row.entries[name], difference=replace(row.entries[name].difference, mean=change[0] / 100,
                      low=change[1] / 100, high=change[2] / 100, relative=change))
        for name, change in changes.items()
    }  # fmt: skip
    entries["minADE6"] = replace(row.entries["minADE6"], difference=None)
    content = replace(report[1], rows=[replace(row, entries=entries)])
    assert f"This run shows: combined {expected}" in content.headline


def test_interval_is_said_to_be_over_scenes_alone_with_one_seed(report: tuple[Path, Content]) -> None:
    one = replace(report[1], measured=replace(report[1].measured, seeds=(0,)))
    for write in (page, markdown):
        assert "95 % interval over scenes and seeds (random effects of both, Student's t" in write(report[1])
        assert "95 % interval over scenes (bootstrap)" in write(one)
        assert "random effects" not in write(one)


def test_reconstruction_losses_are_shown_beside_their_floors(report: tuple[Path, Content]) -> None:
    losses = read_json(report[0] / "metrics.json")["reconstruction"]
    assert losses == {"combined": {
        "lanes": {"loss": 0.35, "blind": 0.8, "straight": 0.4, "gain": 0.5},
        "trajectory": {"loss": 0.2, "blind": 0.25, "quadratic": 0.18, "gain": 0.2},
    }}  # fmt: skip
    assert "reconstruction-floors" in {picture.name for picture in report[1].pictures.training}
    warnings = [warning for warning in report[1].warnings if "no better than" in warning]
    assert warnings == ["Combined, trajectory: the loss 0.2 is no better than that of a quadratic (0.18)."]


def test_missing_reconstruction_losses_are_left_out(tmp_path: Path) -> None:
    paths = write_run(tmp_path, scenes=9)
    (paths.pretrained / "combined-1" / "reconstruction.json").unlink()
    assert Artifacts.load(paths, report_inputs(paths, tmp_path, REPOSITORY).runs).reconstruction == {}


def test_report_states_the_limited_scope_of_small_data(report: tuple[Path, Content]) -> None:
    assert "Simulated traffic" in (report[0] / "index.html").read_text()
    full = replace(report[1].measured, source="argoverse1", train_scenes=205_942, scene_count=39_472)
    assert replace(report[1], measured=full).scope == ""
    assert "2,399 of its 205,942" in replace(report[1], measured=replace(full, train_scenes=2_399)).scope


def test_report_states_that_the_validation_scenes_are_not_the_official_ones(report: tuple[Path, Content]) -> None:
    full = replace(report[1].measured, source="argoverse1", train_scenes=205_942, scene_count=39_472)
    scope = replace(report[1], measured=replace(full, validation="held_out")).scope
    assert scope.startswith("Not the official validation scenes (ingest.validation: held_out)")


def test_headline_of_a_single_variant_mentions_no_difference(report: tuple[Path, Content]) -> None:
    without = [replace(row, entries={key: replace(entry, difference=None) for key, entry in row.entries.items()})
               for row in report[1].rows]  # fmt: skip
    both = replace(report[1], rows=without)
    assert "no difference from the baseline is statistically significant" in both.headline
    alone = replace(both, measured=replace(both.measured, variants={"none": both.measured.variants["none"]}))
    assert "reaches minFDE6" in alone.headline
    assert "difference" not in alone.headline


def test_forecasts_scored_for_other_kinds_of_scenes_are_named() -> None:
    every = {"scenes": 9, "minFDE6": {"mean": 1.0}}
    runs = {"none": [{"all": every, "left": every}], "map": [{"all": every, "left": every}, {"all": every}]}
    with pytest.raises(InputError, match=r"forecasts of map: strata\.json: found other kinds of scenes"):
        strata_table(runs)


def test_metrics_that_disagree_with_the_forecasts_are_refused(tmp_path: Path) -> None:
    paths = write_run(tmp_path, scenes=9)
    inputs = report_inputs(paths, tmp_path, REPOSITORY)
    file = paths.metrics / "combined-1.json"
    write_json(file, read_json(file) | {"minFDE6": 0.1})
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/report.md").write_text("the last report")
    with pytest.raises(InputError, match=r"combined-1.json: minFDE6"):
        write_report(inputs, tmp_path / "reports")
    assert (tmp_path / "reports/report.md").read_text() == "the last report"
    assert not list(tmp_path.glob(".reports.partial*"))


@pytest.mark.parametrize("missing", ["forecasts/combined-0/errors.parquet", "models/finetuned/none-1/metadata.json",
                                     "data/checks/raw.json", "metrics/lane_following.json",
                                     "models/pretrained/combined-0/reconstructions.safetensors"])  # fmt: skip
def test_missing_artifact_is_named(missing: str, tmp_path: Path) -> None:
    paths = write_run(tmp_path, scenes=6)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=re.escape(missing)):
        write_report(report_inputs(paths, tmp_path, REPOSITORY), tmp_path / "reports")


def test_metrics_for_dvc_are_few_and_named_by_variant(run: ReportInputs, report: tuple[Path, Content]) -> None:
    metrics = read_json(report[0] / "metrics.json")
    assert set(metrics) == {"MR6", "minFDE6", "minADE6", "reconstruction"}
    assert set(metrics["MR6"]) == {"none", "combined"}
    means = [read_json(run.paths.metrics / f"none-{seed}.json")["MR6"] for seed in SEEDS]
    assert metrics["MR6"]["none"] == pytest.approx(np.mean(means), abs=5.1e-5)


def test_provenance_has_a_separate_page(tmp_path: Path) -> None:
    made_by = run_record({}, {"scenes": "ab" * 32}, 0, "cpu")
    course = {"threads": 1, "seconds": 12.5}
    write_provenance(tmp_path, "finetune", "none-0", {"made_by": made_by, "training": course})
    write_provenance_page(tmp_path, ["none-0", "combined-0"])  # combined-0 was downloaded and has no record
    (row,) = records(tmp_path, ["none-0", "combined-0"])
    assert (row.run, row.stage, row.device, row.threads, row.seconds) == ("none-0", "finetune", "cpu", "1", "12.5")
    page = (tmp_path / "index.html").read_text()
    assert "scenes ababababab" in page
    assert "1 artifacts" in page


def test_summary_is_a_table_for_a_terminal(report: tuple[Path, Content]) -> None:
    text = (report[0] / "summary.txt").read_text()
    assert max(map(len, text.splitlines())) <= 112
    (row,) = [line for line in text.splitlines() if line.startswith("Combined")]
    level = report[1].measured.level("combined", "minFDE6")
    assert f"1.0349   {level.mean:.3f} ± {level.spread:.3f}" in row


def test_stage_writes_the_report_and_prints_an_error_in_one_line(
    run: ReportInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = yaml.safe_load(PARAMS.read_text())
    parameters |= {"from_scratch": ["none"], "run_variants": ["combined"], "seeds": [0, 1]}
    parameters["report"] |= {"bootstrap_samples": 100, "forecast_scenes": 1, "reconstructions": 1, "recorded_scenes": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(parameters))
    arguments = ["report.py", "--params", str(tmp_path / "params.yaml"), "--out", str(tmp_path / "reports"),
                 "--claims", str(REPOSITORY / "claims.yaml"),
                 "--published", str(REPOSITORY / "published.yaml")]  # fmt: skip
    monkeypatch.chdir(run.paths.maps.parents[1])
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(REPOSITORY / "stages/report.py"), run_name="__main__")
    printed = capsys.readouterr().err
    assert "index.html: Of 18 effects" in printed
    assert "Lane following" not in printed, "only `make report` prints the table"
    assert json.loads((tmp_path / "reports/results.json").read_text())["run"]["seeds"] == [0, 1]
    monkeypatch.setattr(sys, "argv", [*arguments, "--maps", "nowhere"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(REPOSITORY / "stages/report.py"), run_name="__main__")
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: nowhere: found no lane map")


def test_a_variant_that_shares_pre_training_adds_no_reconstructions(run: ReportInputs, tmp_path: Path) -> None:
    root = shutil.copytree(run.paths.maps.parents[1], tmp_path / "run")
    paths = RunPaths(**{field.name: root / field.default for field in fields(RunPaths)})
    for folder in (paths.finetuned, paths.forecasts):
        for seed in (0, 1):
            shutil.copytree(folder / f"combined-{seed}", folder / f"combined_10-{seed}")
    runs = replace(run.runs, variants=("none", "combined", "combined_10"), shared={"combined_10": "combined"})
    artifacts = Artifacts.load(paths, runs)
    assert artifacts.metadata["combined_10-1"]["pretrain"] == artifacts.metadata["combined-1"]["pretrain"]
    assert artifacts.curves["pretrain"]["combined_10"] == {}
    shown = {picture.name for picture in _reconstructions(artifacts, run.parameters)}
    assert shown == {picture.name for picture in _reconstructions(Artifacts.load(paths, run.runs), run.parameters)}


def test_reconstructions_are_of_the_median_seed_also_if_a_curve_is_missing(run: ReportInputs, tmp_path: Path) -> None:
    root = shutil.copytree(run.paths.maps.parents[1], tmp_path / "run")
    paths = RunPaths(**{field.name: root / field.default for field in fields(RunPaths)})
    (paths.pretrained / "combined-0" / "curve.csv").unlink()
    shown = _reconstructions(Artifacts.load(paths, run.runs), run.parameters)
    assert shown
    assert all("median seed 1" in picture.title for picture in shown)


def test_signed_numbers_that_round_to_zero_have_no_sign():
    assert [signed(value, 1) for value in (-0.04, 0.04, -0.06)] == ["0.0", "0.0", "\N{MINUS SIGN}0.1"]
