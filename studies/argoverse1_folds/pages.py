"""The study's pages from its results alone: one that says what was found, and short ones behind it."""

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
    Level,
    Tested,
    levels,
    metric_label,
    planned_tests,
    unit_of,
)
from studies.argoverse1_folds.figure import CITIES, error_figure
from studies.argoverse1_folds.plan import BASELINE, Comparison, Plan, Run, best_recipe, groups, needs
from studies.argoverse1_folds.results import CAPPED, FAR, PRIMARY, Results, load_results
from studies.argoverse1_folds.schedule import SCORE
from synthdrive.core.artifacts import atomic_file, write_json
from synthdrive.reporting.evidence import Published
from synthdrive.reporting.wording import listed, signed

QUESTION = (
    "Does pre-training on synthetic driving help a forecaster where real scenes are few, and does the paper's own "
    "pre-training?"
)
NOT_YET = "not run yet"
BEST, FIRST = "forecast_realistic", "scratch"


def write_pages(folder: Path, out: Path, plan: Plan, published: Published) -> None:
    """Write README.md, results.md, recipes.md, statistics.md, figure.svg, results.csv and results.json.

    Args:
        folder: of the results; out: folder of the pages.
    """
    results = load_results(folder, plan)
    found = levels(results, plan) if results.runs else []
    tested = planned_tests(results, plan) if results.runs else []
    pages = {
        "README.md": _front(results, plan, found, tested, published),
        "results.md": _results(plan, found, tested),
        "recipes.md": _recipes(results, plan),
        "statistics.md": _statistics(plan, tested),
        "results.csv": _csv(found),
    }
    if any(level.variant != BASELINE for level in found):
        for metric, name in (("minFDE6", "figure.svg"), (CAPPED, "figure-capped.svg"), ("MR6", "figure-MR6.svg")):
            pages[name] = error_figure(found, plan, training_scenes(results, plan), metric)
    for name, text in pages.items():
        out.mkdir(parents=True, exist_ok=True)
        with atomic_file(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    write_json(out / "results.json", {"levels": [asdict(each) for each in found], "tests": [_plain(t) for t in tested]})


def training_scenes(results: Results, plan: Plan) -> dict[int, int]:
    """Fraction of the scenes (%) -> how many they are in a fold, as a mean over the runs; 0 where there is none."""
    counts = {
        percent: [
            result.provenance["train_scenes"]
            for run, result in results.runs.items()
            if run.percent == percent and run.trial is None
        ]
        for percent in (0, *plan.percents)
    }
    return {percent: round(sum(each) / len(each)) if each else 0 for percent, each in counts.items()}


def sentences(results: Results, plan: Plan, published: Published) -> list[str]:
    """The answer: a sentence a question, each with its number, from the results."""
    tested = {
        (each.test.variant, each.test.percent, each.test.reference, each.metric): each
        for each in planned_tests(results, plan)
    }
    few, count, label = min(plan.percents), training_scenes(results, plan), plan.variants[BEST].label.lower()

    def said(topic: str, before: str, key: tuple[str, int, str, str], after: str) -> str:
        found = tested.get(key)
        if found is None:
            return f"**{topic}:** {NOT_YET}."
        verdict = "" if found.direction else ": no statistically significant difference"
        return f"**{topic}:** {before} {_change(found)} {after}{verdict}."

    alone, trained = _level_of(results, plan, BEST, 0), _level_of(results, plan, FIRST, few)
    paper = published.change("combined", "minFDE6")
    return [
        said(
            "Few real scenes",
            f"with {few} % of them ({count[few]:,}), pre-training ({label}) changes minFDE6 by",
            (BEST, few, FIRST, "minFDE6"),
            "against training from scratch",
        ),
        said(
            "Beside a baseline without training",
            "with as few, it changes minFDE6 by",
            (BEST, few, BASELINE, "minFDE6"),
            "against lane following",
        ),
        said(
            "All real scenes",
            f"with all of them ({count[100]:,}), it changes minFDE6 up to 2 m by",
            (BEST, 100, FIRST, CAPPED),
            "against training from scratch",
        ),
        "**No real scene:** "
        + (
            f"without learning from one, minFDE6 is {alone}; from scratch with {few} % of them it is {trained}."
            if alone and trained
            else f"{NOT_YET}."
        ),
        said(
            "The paper's pre-training",
            "with all real scenes, its combined variant changes minFDE6 by",
            ("combined", 100, FIRST, "minFDE6"),
            "against training from scratch" + (f" (the paper: {signed(paper, 2)} %)" if paper is not None else ""),
        ),
    ]


def _change(tested: Tested) -> str:
    found = tested.difference
    ends = f"{signed(found.relative, 1)} % [{signed(found.relative_low, 1)}, {signed(found.relative_high, 1)}]"
    return f"**{ends}**" if tested.direction and found.repeats > 1 else ends


def _level_of(results: Results, plan: Plan, variant: str, percent: int) -> str | None:
    for level in levels(results, plan) if results.runs else []:
        if (level.variant, level.percent) == (variant, percent):
            mean, low, high = level.values["minFDE6"]
            return f"{mean:.2f} m [{low:.2f}, {high:.2f}]"
    return None


def _front(results: Results, plan: Plan, found: Sequence[Level], tested: Sequence[Tested], published: Published) -> str:
    total = sum(len(group) for group in groups(plan))
    scenes = results.scenes
    cities = {city: scenes["city"].count(city) for city in sorted(set(scenes["city"]))} if scenes else {}
    where = listed([f"{count:,} of {CITIES.get(city, city)}" for city, count in cities.items()])
    blocks = len(set(scenes["block"])) if scenes else 0
    lines = ["# Synthetic pre-training where real scenes are few: Argoverse 1, five folds of places", "", QUESTION, ""]
    if scenes:
        lines += [
            f"**Data.** {len(scenes['scene']):,} recorded scenes ({where}) in {blocks} blocks of the two cities, "
            f"dealt to {plan.folds} folds; every scene is judged once, by models that were trained away from it, "
            "on scenes at least 100 m and on synthetic windows at least 150 m away.",
            "",
        ]
    if len(results.runs) < total:
        going = "`python -m studies.argoverse1_folds run` goes on"
        lines += [f"*{len(results.runs)} of {total} runs are there; {going}.*", ""]
    lines += ["## Answer", ""]
    lines += [f"{number}. {text}" for number, text in enumerate(sentences(results, plan, published), start=1)]
    lines += [
        "",
        "Brackets are 95 % intervals for other places and other seeds. A change is called significant where Holm's "
        f"correction over all tests of the plan leaves p below {SIGNIFICANT}; bold: significant, and several "
        "seeds a fold.",
        "",
    ]
    if any(level.variant != BASELINE for level in found):
        caption = "A ring is one training, judged on its own fold; a line goes through the means over all scenes."
        lines += ["![minFDE6 against the number of real scenes, by city](figure.svg)", "", caption, ""]
    open_tests = [t for t in tested if t.direction == 0]
    lines += ["## What is not settled", ""]
    lines += [_undecided(t, plan) for t in open_tests] or [
        "Nothing has been tested yet." if not tested else "Every test of the plan found a difference."
    ]
    lines += [
        "",
        "## More",
        "",
        "[Plan, and what was decided when](PLAN.md) · [every result](results.md) · [recipes tried](recipes.md) · "
        "[statistics](statistics.md) · numbers: [results.csv](results.csv), [results.json](results.json), "
        "[each run](results)",
        "",
    ]
    return "\n".join(lines)


def _undecided(tested: Tested, plan: Plan) -> str:
    found = tested.difference
    return (
        f"* {_pair(tested.test, plan)}: {metric_label(tested.metric)} {signed(found.relative, 1)} % "
        f"[{signed(found.relative_low, 1)}, {signed(found.relative_high, 1)}]; a change below "
        f"{found.detectable:.0f} % would mostly have been missed."
    )


def _pair(test: Comparison, plan: Plan) -> str:
    return f"{_name(test.variant, test.percent, plan)} against {_name(test.reference, test.reference_percent, plan)}"


def _name(variant: str, percent: int, plan: Plan) -> str:
    if variant == BASELINE:
        return "lane following"
    return f"{plan.variants[variant].label} ({percent} %)"


def _results(plan: Plan, found: Sequence[Level], tested: Sequence[Tested]) -> str:
    metrics = (*PRIMARY, FAR)
    rows = [
        [
            _name(level.variant, level.percent, plan),
            str(level.repeats * plan.folds if level.variant != BASELINE else ""),
        ]
        + ["{:.2f} [{:.2f}, {:.2f}]".format(*level.values[metric]) for metric in metrics]
        for level in found
    ]
    head = [
        "variant (real scenes)",
        "trainings",
        *(f"{metric_label(metric)} ({unit_of(metric)})" for metric in metrics),
    ]
    lines = ["# Results", "", *_table(head, rows), "", "## Tests of the plan", ""]
    rows = [
        [_pair(t.test, plan), metric_label(t.metric),
         f"{signed(t.difference.relative, 1)} % [{signed(t.difference.relative_low, 1)}, "
         f"{signed(t.difference.relative_high, 1)}]",
         f"{t.difference.p:.4f}", f"{t.adjusted:.4f}", ("better", "not significant", "worse")[t.direction + 1],
         f"{t.difference.detectable:.1f} %"]
        for t in tested
    ]  # fmt: skip
    head = ["comparison", "metric", "change", "p", "p (Holm)", "verdict", "smallest detectable change"]
    lines += [*_table(head, rows), ""]
    if any(level.variant != BASELINE for level in found):
        lines += ["![minFDE6 up to 2 m](figure-capped.svg)", "", "![MR6](figure-MR6.svg)", ""]
    return "\n".join(lines)


def _recipes(results: Results, plan: Plan) -> str:
    done = results.runs
    text = (
        "Of each fold, recipes were tried on scenes of the other folds alone: the next fold judged them, the rest "
        f"trained them. Chosen is the smallest {metric_label(SCORE)}; bold."
    )
    lines = ["# Recipes", "", text, ""]
    for group, variant in plan.tuned.items():
        for percent in (min(plan.percents), 100):
            size = "all" if percent == 100 else "few"
            rows = []
            for number, recipe in enumerate(plan.recipes[group][size]):
                cells = []
                for fold in range(plan.folds):
                    run = Run(variant, percent, fold)
                    tried = needs(plan, run)
                    value = done[tried[number]].metric(SCORE).mean() if tried[number] in done else None
                    whole = all(each in done for each in tried)
                    scores = {each: float(done[each].metric(SCORE).mean()) for each in tried} if whole else {}
                    best = whole and best_recipe(plan, run, scores) is recipe
                    text = "" if value is None else f"{value:.3f}"
                    cells.append(f"**{text}**" if best else text)
                words = ", ".join(f"{key} {value}" for key, value in {**recipe.finetune, **recipe.model}.items())
                rows.append([words, *cells])
            head = ["recipe", *(f"fold {fold} (m)" for fold in range(plan.folds))]
            lines += [f"## {plan.variants[variant].label}, {percent} % of the scenes", "", *_table(head, rows), ""]
    return "\n".join(lines)


def _statistics(plan: Plan, tested: Sequence[Tested]) -> str:
    return "\n".join(
        [
            "# Statistics",
            "",
            "* Every scene is judged by the trainings of its own fold; a variant and its reference are compared scene "
            "by scene, with the same seeds.",
            "* Intervals: whole blocks of 400 m, with their scenes, are drawn again within each fold, and widened for "
            "how few and uneven they are. What other seeds might give is added with the variance that trainings show "
            "beyond that of their places, as Student's t of so few trainings.",
            "* On simulated studies with as uneven blocks, 93 to 99 % of the 95 % intervals hold the truth, where "
            "intervals over scenes alone hold it in 31 to 45 %: `tests/studies/test_folds_statistics.py` prints it.",
            f"* Tests: {len(plan.tests)} comparisons in {len(PRIMARY)} metrics are planned; {len(tested)} could be "
            "made. Holm's correction is over those.",
            "* The smallest detectable change is the one that such a comparison finds in 80 % of its repetitions, "
            "before correction.",
            "* Not covered: another split into folds, other cities, and what other scenes to train on would give.",
            "",
        ]
    )


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


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
