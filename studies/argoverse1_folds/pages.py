"""The study's pages, made from its results: README.md gives the answer, the other pages the numbers behind it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from studies.argoverse1_folds.analysis import (
    SIGNIFICANT,
    Findings,
    Level,
    Tested,
    analyse,
    changes,
    metric_label,
    unit_of,
)
from studies.argoverse1_folds.answer import PAPER_WINDOWS, sentences
from studies.argoverse1_folds.figure import CITIES, error_figure
from studies.argoverse1_folds.ledger import judge_effects
from studies.argoverse1_folds.paper_page import paper_page
from studies.argoverse1_folds.plan import (
    ALL_SCENES,
    BASELINE,
    MAIN,
    SCRATCH,
    Comparison,
    Plan,
    Recipe,
    Run,
    best_recipe,
    groups,
    needs,
    size_of,
)
from studies.argoverse1_folds.reconstruction import load_reconstructions
from studies.argoverse1_folds.results import CAPPED, FAR, PRIMARY, Results, load_results
from studies.argoverse1_folds.schedule import SCORE
from studies.markdown import rounded, table
from synthdrive.core.artifacts import atomic_file, write_json
from synthdrive.reporting.claims import Claim
from synthdrive.reporting.evidence import Published
from synthdrive.reporting.wording import listed

QUESTION = (
    "Does pre-training on synthetic driving data help a forecasting model when real scenes are few? In particular, "
    "does the paper's own pre-training help?"
)
OPEN_TESTS = (
    "p: after Holm's correction for all tests; the intervals are not corrected. [Results](results.md) gives the "
    "significant changes, uncorrected p and the smallest detectable changes."
)
NO_TESTS = "Nothing has been tested yet."
WINDOWS = ((MAIN, PAPER_WINDOWS), (PAPER_WINDOWS, SCRATCH))
"""Comparisons that show what the windows contribute: variant and reference, at the same fraction of the scenes."""


def write_pages(
    folder: Path, reconstructions: Path, out: Path, plan: Plan, published: Published, claims: Sequence[Claim]
) -> None:
    """Write README.md, results.md, paper.md, recipes.md, statistics.md, the figures, results.csv and results.json.

    Args:
        folder: folder of the results; reconstructions: folder of the losses of pre-trained networks.
        out: folder of the pages.
        plan: the study's plan; published: the paper's numbers; claims: the claims ledger.
    """
    results = load_results(folder, plan)
    found = analyse(results, plan)
    effects = judge_effects(claims, results, plan, published)
    measured = load_reconstructions(reconstructions, plan)
    pages = {
        "README.md": _front(results, plan, found, published),
        "results.md": _results(results, plan, found),
        "paper.md": paper_page(results, plan, measured, effects),
        "recipes.md": _recipes(results, plan),
        "statistics.md": _statistics(plan, found.tests),
        "results.csv": _csv(found.levels),
    }
    if found.any_training:
        for metric, name in (("minFDE6", "figure.svg"), (CAPPED, "figure-capped.svg"), ("MR6", "figure-MR6.svg")):
            pages[name] = error_figure(found.levels, plan, found.training_scenes, metric)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        with atomic_file(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    plain = {"levels": [asdict(level) for level in found.levels], "tests": [_plain(tested) for tested in found.tests]}
    write_json(out / "results.json", rounded(plain))


def _front(results: Results, plan: Plan, found: Findings, published: Published) -> str:
    total = sum(len(group) for group in groups(plan))
    lines = ["# Pre-training on synthetic data when real scenes are few: five folds of Argoverse 1", "", QUESTION, ""]
    if results.scenes:
        lines += [_data(results.scenes, plan), ""]
    if len(results.runs) < total:
        command = "`python -m studies.argoverse1_folds run`"
        lines += [f"*{len(results.runs)} of {total} runs are finished. {command} continues the study.*", ""]
    lines += ["## Answer", ""]
    lines += [f"{number}. {text}" for number, text in enumerate(sentences(found, plan, published), start=1)]
    lines += [
        "",
        "Brackets: 95 % intervals for other places and other seeds. Significant: p is "
        f"below {SIGNIFICANT} after Holm's correction for all tests.{_seeds(found)}",
        "",
    ]
    if found.any_training:
        caption = "Each ring is one training run, evaluated on its own fold. Lines connect the means over all scenes."
        lines += ["![minFDE6 against the number of real scenes, by city](figure.svg)", "", caption, ""]
    lines += ["## What was not settled", "", *_open_tests(found.tests, plan), ""]
    lines += [
        "## More",
        "",
        "[Plan and its changes](PLAN.md) · [all results](results.md) · [the paper's pre-training](paper.md) · "
        "[recipes tried](recipes.md) · "
        "[statistics](statistics.md) · numbers: [results.csv](results.csv), [results.json](results.json), "
        "[each run](results)",
        "",
    ]
    return "\n".join(lines)


def _seeds(found: Findings) -> str:
    if not found.any_training:
        return ""
    if max(level.repeats for level in found.levels) > 1:
        return " Bold: significant, with several seeds per fold."
    return (
        " So far each fold has one training run per variant, so the variation between seeds is estimated from "
        "differences between folds ([statistics](statistics.md))."
    )


def _data(scenes: Mapping[str, Sequence[Any]], plan: Plan) -> str:
    cities = sorted(set(scenes["city"]))
    where = listed([f"{list(scenes['city']).count(city):,} in {CITIES.get(city, city)}" for city in cities])
    return (
        f"**Data.** {len(scenes['scene']):,} recorded scenes ({where}) in {len(set(scenes['block']))} blocks of 400 m, "
        f"divided into {plan.folds} folds. Each scene is evaluated in exactly one fold, by models whose training "
        "scenes are at least 100 m and whose synthetic windows are at least 150 m away from it."
    )


def _open_tests(tests: Sequence[Tested], plan: Plan) -> list[str]:
    """Return a table of the comparisons in which a metric has no significant difference, a row each."""
    if not tests:
        return [NO_TESTS]
    rows: dict[Comparison, dict[str, str]] = {}
    for one in tests:
        text = f"{one.difference.relative_text}, p = {one.adjusted:.2g}"
        rows.setdefault(one.test, {})[one.metric] = "significant" if one.direction else text
    still_open = {pair: cells for pair, cells in rows.items() if any(text != "significant" for text in cells.values())}
    if not still_open:
        return ["All tests so far found a significant difference."]
    cells = [[_pair(pair, plan), *(found.get(one, "") for one in PRIMARY)] for pair, found in still_open.items()]
    return [OPEN_TESTS, "", *table(["comparison", *map(metric_label, PRIMARY)], cells)]


def _pair(test: Comparison, plan: Plan) -> str:
    reference = _name(test.reference, test.reference_percent, plan)
    return f"{_name(test.variant, test.percent, plan)} against {reference[:1].lower()}{reference[1:]}"


def _name(variant: str, percent: int, plan: Plan) -> str:
    if variant == BASELINE:
        return "lane following"
    return f"{plan.variants[variant].label} ({percent} %)"


def _results(results: Results, plan: Plan, found: Findings) -> str:
    metrics = (*PRIMARY, FAR)
    head = [
        "variant (training scenes)",
        "training runs, all folds",
        *(f"{metric_label(one)} ({unit_of(one)})" for one in metrics),
    ]
    rows = []
    for level in found.levels:
        trainings = "" if level.variant == BASELINE else str(level.repeats * plan.folds)
        values = ["{:.2f} [{:.2f}, {:.2f}]".format(*level.values[metric]) for metric in metrics]
        rows.append([_name(level.variant, level.percent, plan), trainings, *values])
    caption = "Means over all scenes, with 95 % intervals that include the variation between places and between seeds."
    lines = ["# Results", "", caption, "", *table(head, rows), "", "## Planned tests", ""]
    head = ["comparison", "metric", "change", "p", "p (Holm)", "verdict", "smallest detectable change"]
    rows = [
        [
            _pair(tested.test, plan),
            metric_label(tested.metric),
            tested.difference.relative_text,
            f"{tested.difference.p:.4f}",
            f"{tested.adjusted:.4f}",
            ("better", "not significant", "worse")[tested.direction + 1],
            f"{tested.difference.detectable:.1f} %",
        ]
        for tested in found.tests
    ]
    lines += [*(table(head, rows) if rows else [NO_TESTS]), "", *_windows(results, plan)]
    if found.any_training:
        lines += [f"![{metric_label(CAPPED)}](figure-capped.svg)", "", "![MR6](figure-MR6.svg)", ""]
    return "\n".join(lines)


def _windows(results: Results, plan: Plan) -> list[str]:
    """Return the section about realistic windows; nothing before its first result."""
    pairs = [
        Comparison(variant, percent, reference, percent)
        for variant, reference in WINDOWS
        for percent in (0, *plan.percents)
    ]
    rows = [[_pair(pair, plan), *texts] for pair in pairs if (texts := changes(results, pair, plan)) is not None]
    if not rows:
        return []
    text = "The same pre-training on windows like the paper's shows what realistic windows contribute (not tested)."
    return ["## Realistic windows", "", text, "", *table(["comparison", *map(metric_label, PRIMARY)], rows), ""]


def _recipes(results: Results, plan: Plan) -> str:
    text = (
        "For each fold, recipes were tried only on scenes of the other folds: the next fold for evaluation, the rest "
        f"for training. The table shows {metric_label(SCORE)}; the recipe in bold has the smallest and was chosen."
    )
    lines = ["# Recipes", "", text, ""]
    for group, variant in plan.tuned.items():
        for percent in (min(plan.percents), ALL_SCENES):
            recipes: list[Recipe] = plan.recipes[group][size_of(percent)]
            columns = [_recipe_scores(results, plan, Run(variant, percent, fold)) for fold in range(plan.folds)]
            rows = [[recipe.text, *scores] for recipe, *scores in zip(recipes, *columns, strict=True)]
            head = ["recipe", *(f"fold {fold} (m)" for fold in range(plan.folds))]
            lines += [f"## {plan.variants[variant].label}, {percent} % of the scenes", "", *table(head, rows), ""]
    return "\n".join(lines)


def _recipe_scores(results: Results, plan: Plan, run: Run) -> list[str]:
    """Return the score of each recipe tried for a run, empty if it is still missing, with the chosen recipe in bold."""
    trials = needs(plan, run)
    scores = {trial: float(results.runs[trial].metric(SCORE).mean()) for trial in trials if trial in results.runs}
    texts = [f"{scores[trial]:.3f}" if trial in scores else "" for trial in trials]
    if len(scores) == len(trials):
        recipes = plan.recipes[plan.variants[run.variant].recipe][size_of(run.percent)]
        chosen = best_recipe(plan, run, scores)
        texts = [f"**{text}**" if recipe is chosen else text for recipe, text in zip(recipes, texts, strict=True)]
    return texts


def _statistics(plan: Plan, tests: Sequence[Tested]) -> str:
    planned = f"{len(plan.tests)} comparisons in {len(PRIMARY)} metrics each"
    bullets = [
        "Every scene is evaluated by models trained without its fold. A variant and its reference are compared scene "
        "by scene, with the same seeds.",
        "Intervals: whole blocks of 400 m, with all their scenes, are resampled within each fold, and the variation "
        "between seeds is added. Its variance is estimated from the differences between folds that places do not "
        "explain and, if there are repeats, from these; the larger estimate counts. Since blocks and trainings are "
        "few, the deviations have the tails of Student's t. For a baseline without training, the same term is the "
        "variation between folds.",
        "In simulated studies whose blocks differ in size as much, 93 to 99 % of the 95 % intervals contain the true "
        "value; intervals that resample single scenes contain it in 17 to 45 % of the cases. Without a true change, p "
        "is below 0.05 in at most 7 % and below 0.0025 in at most 0.3 % of these studies. "
        "`tests/studies/test_folds_statistics.py` prints these numbers.",
        f"Tests: {planned} are planned, and {len(tests)} of these tests have results. Holm's correction covers those, "
        "so adjusted p-values may change with further results.",
        "The smallest detectable change is the one that such a comparison finds with a probability of 80 %, before "
        "correction.",
        "The intervals do not account for other splits into folds, other cities or other training scenes.",
    ]
    return "\n".join(["# Statistics", "", *(f"* {bullet}" for bullet in bullets), ""])


def _csv(found: Iterable[Level]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "percent", "repeats", "metric", "unit", "mean", "low", "high"])
    for level in found:
        for metric, values in level.values.items():
            numbers = [f"{value:.4f}" for value in values]
            writer.writerow([level.variant, level.percent, level.repeats, metric, unit_of(metric), *numbers])
    return text.getvalue()


def _plain(tested: Tested) -> Mapping[str, Any]:
    numbers = {key: None if isinstance(value, float) and not np.isfinite(value) else value
               for key, value in asdict(tested.difference).items()}  # fmt: skip
    return {**asdict(tested.test), "metric": tested.metric, **numbers, "p_holm": tested.adjusted}
