"""Write the page of the first study: Markdown with charts, and the numbers as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studies.argoverse1_small.charts import comparison_chart, curve_chart, learning_chart, spread_chart
from studies.argoverse1_small.collected import StudyRun, StudyRuns
from studies.argoverse1_small.comparisons import (
    ComparedVariant,
    compare,
    compare_amounts,
    compare_by_stratum,
    error_spread,
    judge_on_runs,
)
from studies.argoverse1_small.plan import (
    AmountCurve,
    ClaimsSection,
    Comparison,
    Headline,
    LearningSection,
    StudyPlan,
    VariantsSection,
)
from studies.argoverse1_small.tables import (
    change,
    claims_table,
    comparison_tables,
    curve_table,
    deviation_table,
    encoder_table,
    named_seeds,
    run_table,
    spread_table,
    strata_table,
)
from studies.markdown import rounded
from synthdrive.core.artifacts import atomic_file, write_json
from synthdrive.reporting.claims import Claim, Judged
from synthdrive.reporting.evidence import Published
from synthdrive.reporting.measurements import Difference
from synthdrive.reporting.wording import HEADLINE, counted, metric, signed

RESULTS, PAGE, CHARTS = "results.json", "README.md", "charts"


def write_study(
    plan: StudyPlan,
    runs: StudyRuns,
    choices: StudyRuns,
    command: str,
    out: Path,
    claims: Sequence[Claim],
    published: Published,
) -> None:
    """Write README.md, results.json and charts/.

    Args:
        plan: comparisons and texts.
        runs: runs on the validation scenes; the page says which variants of the plan have no runs yet.
        choices: runs evaluated on scenes held out from the training scenes.
        command: command that trains and collects the runs, as named on the page.
        claims: the claims ledger; published: the published numbers to which it refers.
    """
    page = _Page(runs)
    page.lines += [f"# {plan.title}", "", f"> **Withdrawn.** {plan.withdrawn.text.strip()}", ""]
    page.lines += [plan.introduction.strip().format(**page.facts), ""]
    for headline in plan.headlines:
        page.lines += _headline(headline, runs, published)
    page.lines += _standing(runs, command)
    page.comparisons(plan.comparisons)
    page.curves(plan.curves)
    page.strata(plan.strata)
    page.spread(plan.spread)
    page.learning(plan.learning)
    page.heading(plan.encoder.title, plan.encoder.text)
    page.table(encoder_table(plan.encoder.variants, runs))
    page.choices(plan.choices, choices)
    page.claims(plan.claims, judge_on_runs(claims, published, runs, plan.claims.source, plan.withdrawn.variants))
    page.lines += ["", "## Differences from the paper", "", *deviation_table(plan.deviations, runs, page.facts)]
    page.lines += ["", "## All runs", "", *run_table(runs)]
    page.results["runs"] = {run.name: run.means for run in runs}
    page.write(out)


class _Page:
    """The page under construction: every section adds Markdown, charts, and numbers for the JSON file.

    Attributes:
        runs: the runs that it shows; facts: their numbers that replace names in braces in the texts.
        lines: Markdown; charts: file name without suffix -> SVG; results: section -> numbers.
    """

    def __init__(self, runs: StudyRuns) -> None:
        self.runs = runs
        self.facts = _facts(runs)
        self.lines: list[str] = []
        self.charts: dict[str, str] = {}
        self.results: dict[str, Any] = {"scenes": runs.scene_count}

    def heading(self, title: str, text: str, facts: Mapping[str, str] | None = None) -> None:
        self.lines += ["", f"## {title}", "", text.strip().format(**(facts or self.facts))]

    def table(self, rows: Sequence[str]) -> None:
        self.lines += ["", *rows]

    def chart(self, stem: str, caption: str, svg: str) -> None:
        """Add a chart, unless it is empty because there is nothing to draw."""
        if svg:
            self.charts[stem] = svg
            self.lines += ["", f"![{caption}]({CHARTS}/{stem}.svg)"]

    def comparisons(self, comparisons: Sequence[Comparison]) -> None:
        self.results["comparisons"] = []
        for number, comparison in enumerate(comparisons):
            steps = _steps(self.runs.variants.get(comparison.reference, {}))
            compared = self._comparison("comparisons", comparison, self.runs, self.facts | steps)
            for name in HEADLINE:
                svg = comparison_chart(compared, name)
                self.chart(f"comparison-{number}-{name}", f"{comparison.title}: {name}", svg)

    def choices(self, comparisons: Sequence[Comparison], runs: StudyRuns) -> None:
        self.results["choices"] = []
        for comparison in comparisons:
            self._comparison("choices", comparison, runs, _facts(runs))

    def _comparison(
        self, section: str, comparison: Comparison, runs: StudyRuns, facts: Mapping[str, str]
    ) -> list[ComparedVariant]:
        """Add the table of the reference and those other variants that have runs."""
        variants = (comparison.reference, *comparison.variants)
        compared = [row for variant in variants if (row := compare(runs, variant, comparison.reference))]
        self.heading(comparison.title, comparison.text, facts)
        self.table(comparison_tables(comparison, compared, runs))
        self.results[section].append({"title": comparison.title, "rows": [_plain(row) for row in compared]})
        return compared

    def curves(self, curves: Sequence[AmountCurve]) -> None:
        self.results["curves"] = []
        for number, curve in enumerate(curves):
            points = compare_amounts(curve, self.runs)
            self.heading(curve.title, curve.text)
            self.table(curve_table(curve, points))
            for name in HEADLINE:
                self.chart(f"curve-{number}-{name}", f"{curve.title}: {name}", curve_chart(curve, points, name))
            rows = [{"x": x, "series": label, **_plain(row)} for (label, x), row in points.items() if row is not None]
            self.results["curves"].append({"title": curve.title, "points": rows})

    def strata(self, comparisons: Sequence[Comparison]) -> None:
        self.results["strata"] = []
        for comparison in comparisons:
            self.heading(comparison.title, comparison.text)
            for variant in comparison.variants:
                found = compare_by_stratum(self.runs, variant, comparison.reference)
                self.table(strata_table(variant, comparison.reference, found))
                rows = [asdict(row) for row in found]
                self.results["strata"].append({"variant": variant, "reference": comparison.reference, "rows": rows})

    def spread(self, section: VariantsSection) -> None:
        spreads = [spread for variant in section.variants if (spread := error_spread(self.runs, variant))]
        self.heading(section.title, section.text)
        self.table(spread_table(spreads))
        self.chart("spread", section.title, spread_chart(section.variants, self.runs))
        self.results["spread"] = [asdict(spread) for spread in spreads]

    def learning(self, section: LearningSection) -> None:
        self.heading(section.title, section.text)
        for number, (title, variants) in enumerate(section.charts.items()):
            self.chart(f"learning-{number}", title, learning_chart(variants, self.runs))

    def claims(self, section: ClaimsSection, judged: Sequence[Judged]) -> None:
        self.heading(section.title, section.text)
        self.table(claims_table(judged))
        self.results["claims"] = [
            {
                "claim": entry.claim.identifier,
                "measured": entry.outcome.measured,
                "verdict": entry.outcome.verdict.value,
            }
            for entry in judged
        ]

    def write(self, out: Path) -> None:
        """Write the page to a folder and remove charts that it no longer shows."""
        for stem, svg in self.charts.items():
            with atomic_file(out / CHARTS / f"{stem}.svg") as partial:
                partial.write_text(svg, encoding="utf-8")
        for stale in sorted((out / CHARTS).glob("*.svg")):
            if stale.stem not in self.charts:
                stale.unlink()
        with atomic_file(out / PAGE) as partial:
            partial.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        write_json(out / RESULTS, rounded(self.results))


def _facts(runs: StudyRuns) -> dict[str, str]:
    """Return the numbers that replace names in braces in the plan's texts; a question mark without any runs."""
    tuned = [run.finetuning for run in runs if run.finetuning]
    numbers = {
        "val_scenes": runs.scene_count,
        "train_scenes": max((run["scenes"] for run in tuned), default=0),
    }
    return {name: _number(number) for name, number in numbers.items()}


def _steps(reference: Mapping[int, StudyRun]) -> dict[str, str]:
    """Return the number of optimisation steps of the reference, which is the same for every seed."""
    return {"steps": _number(max((run.finetuning["steps"] for run in reference.values()), default=0))}


def _number(number: int) -> str:
    return f"{number:,}" if number else "?"


def _standing(runs: StudyRuns, command: str) -> list[str]:
    count = sum(len(seeds) for seeds in runs.variants.values())
    return [
        f"This page contains {counted(count, 'run')} of {counted(len(runs.variants), 'variant')}, all evaluated on the "
        f"same {counted(runs.scene_count, 'validation scene')}. `{command}` trains missing runs and writes this page. "
        "The errors of every scene are in [runs](runs), the numbers of the tables in [results.json](results.json).",
        "",
        "Metrics are means over seeds and scenes, ± the standard deviation over seeds. Changes are relative to the "
        "reference and paired, on the same scenes and seeds. Brackets: 95 % confidence intervals for other scenes and "
        "other seeds (random effects of both, with Student's t, and Fieller's method for the ratio; with one seed, a "
        "bootstrap over scenes). **Bold**: the interval excludes zero, and there are several seeds.",
    ]


def _headline(headline: Headline, runs: StudyRuns, published: Published) -> list[str]:
    """Return one result with the published one as a paragraph, or nothing if it has no runs yet."""
    row = compare(runs, headline.variant, headline.reference)
    if row is None:
        return []
    changes = []
    for name in HEADLINE:
        theirs = published.change(headline.published, name)
        paper = "" if theirs is None else f" (paper: {signed(theirs, 2)} %)"
        changes.append(f"{metric(name).label} {change(row.differences[name])}{paper}")
    of = f"`{headline.variant}` against `{headline.reference}`, {named_seeds(row.seeds)}"
    return [f"{of}: {'; '.join(changes)}. {headline.text.strip()}", ""]


def _plain(row: ComparedVariant) -> dict[str, Any]:
    def difference(value: Difference | None) -> dict[str, Any] | None:
        return None if value is None else asdict(value) | {"direction": value.direction}

    return {
        "variant": row.variant,
        "description": row.description,
        "seeds": row.seeds,
        "levels": {name: asdict(level) for name, level in row.levels.items()},
        "differences": {name: difference(value) for name, value in row.differences.items()},
    }


def describe(runs: StudyRuns) -> str:
    """Return a line that lists the baselines, and the variants with their numbers of runs."""
    return ", ".join([*runs.baselines, *(f"{variant} ({len(seeds)})" for variant, seeds in runs.variants.items())])
