"""The study as Markdown with charts, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synthdrive.core.artifacts import atomic_file, write_json
from synthdrive.reporting.claims import Claim, Judged
from synthdrive.reporting.measurements import Difference
from synthdrive.reporting.metric_names import HEADLINE, counted, metric, signed
from synthdrive.reporting.published import Published
from synthdrive.reporting.study.cells import StudyCell, StudyCells
from synthdrive.reporting.study.charts import comparison_chart, curve_chart, learning_chart, spread_chart
from synthdrive.reporting.study.claims import judge_on_cells
from synthdrive.reporting.study.comparisons import (
    ComparedArm,
    compare,
    compare_amounts,
    compare_by_stratum,
    error_spread,
)
from synthdrive.reporting.study.plan import (
    AmountCurve,
    ClaimsSection,
    Comparison,
    Headline,
    LearningSection,
    StudyPlan,
    VariantsSection,
)
from synthdrive.reporting.study.tables import (
    cell_table,
    change,
    claims_table,
    comparison_tables,
    curve_table,
    deviation_table,
    encoder_table,
    named_seeds,
    spread_table,
    strata_table,
)

RESULTS, PAGE, CHARTS = "results.json", "README.md", "charts"


def write_study(
    plan: StudyPlan,
    cells: StudyCells,
    choices: StudyCells,
    command: str,
    out: Path,
    claims: Sequence[Claim],
    published: Published,
) -> None:
    """Write README.md, results.json and charts/.

    Args:
        plan: what is put beside what.
        cells: variants that the plan names and that are not there yet are said to be open.
        choices: cells judged on scenes held back from the training scenes.
        command: the command that trains and collects, for the page to name.
        claims: the claims ledger; published: the numbers that it refers to.
    """
    page = _Page(cells)
    page.lines += [f"# {plan.title}", "", plan.introduction.strip().format(**page.facts), ""]
    for headline in plan.headlines:
        page.lines += _headline(headline, cells, published)
    page.lines += _standing(cells, command)
    page.comparisons(plan.comparisons)
    page.curves(plan.curves)
    page.strata(plan.strata)
    page.spread(plan.spread)
    page.learning(plan.learning)
    page.heading(plan.encoder.title, plan.encoder.text)
    page.table(encoder_table(plan.encoder.variants, cells))
    page.choices(plan.choices, choices)
    page.claims(plan.claims, judge_on_cells(claims, published, cells, plan.claims.source))
    page.lines += ["", "## Where this is not the paper", "", *deviation_table(plan.deviations, cells, page.facts)]
    page.lines += ["", "## Every cell", "", *cell_table(cells)]
    page.results["cells"] = {cell.name: cell.means for cell in cells}
    page.write(out)


class _Page:
    """The page as it grows, section by section: each adds Markdown, charts, and its numbers for the JSON.

    Attributes:
        cells: what it is about; facts: the numbers of theirs that texts name in braces.
        lines: Markdown; charts: stem of the file -> SVG; results: section -> numbers.
    """

    def __init__(self, cells: StudyCells) -> None:
        self.cells = cells
        self.facts = _facts(cells)
        self.lines: list[str] = []
        self.charts: dict[str, str] = {}
        self.results: dict[str, Any] = {"scenes": cells.scene_count}

    def heading(self, title: str, text: str, facts: Mapping[str, str] | None = None) -> None:
        self.lines += ["", f"## {title}", "", text.strip().format(**(facts or self.facts))]

    def table(self, rows: Sequence[str]) -> None:
        self.lines += ["", *rows]

    def chart(self, stem: str, caption: str, svg: str) -> None:
        """Show a chart; an empty one, where there is nothing to draw, is left out."""
        if svg:
            self.charts[stem] = svg
            self.lines += ["", f"![{caption}]({CHARTS}/{stem}.svg)"]

    def comparisons(self, comparisons: Sequence[Comparison]) -> None:
        self.results["comparisons"] = []
        for number, comparison in enumerate(comparisons):
            steps = _steps(self.cells.variants.get(comparison.reference, {}))
            compared = self._comparison("comparisons", comparison, self.cells, self.facts | steps)
            for name in HEADLINE:
                svg = comparison_chart(compared, name)
                self.chart(f"comparison-{number}-{name}", f"{comparison.title}: {name}", svg)

    def choices(self, comparisons: Sequence[Comparison], cells: StudyCells) -> None:
        self.results["choices"] = []
        for comparison in comparisons:
            self._comparison("choices", comparison, cells, _facts(cells))

    def _comparison(
        self, section: str, comparison: Comparison, cells: StudyCells, facts: Mapping[str, str]
    ) -> list[ComparedArm]:
        """The table of the reference and the other variants, as far as they are measured."""
        variants = (comparison.reference, *comparison.variants)
        compared = [row for variant in variants if (row := compare(cells, variant, comparison.reference))]
        self.heading(comparison.title, comparison.text, facts)
        self.table(comparison_tables(comparison, compared, cells))
        self.results[section].append({"title": comparison.title, "rows": [_plain(row) for row in compared]})
        return compared

    def curves(self, curves: Sequence[AmountCurve]) -> None:
        self.results["curves"] = []
        for number, curve in enumerate(curves):
            points = compare_amounts(curve, self.cells)
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
                found = compare_by_stratum(self.cells, variant, comparison.reference)
                self.table(strata_table(variant, comparison.reference, found))
                rows = [asdict(row) for row in found]
                self.results["strata"].append({"variant": variant, "reference": comparison.reference, "rows": rows})

    def spread(self, section: VariantsSection) -> None:
        spreads = [spread for variant in section.variants if (spread := error_spread(self.cells, variant))]
        self.heading(section.title, section.text)
        self.table(spread_table(spreads))
        self.chart("spread", section.title, spread_chart(section.variants, self.cells))
        self.results["spread"] = [asdict(spread) for spread in spreads]

    def learning(self, section: LearningSection) -> None:
        self.heading(section.title, section.text)
        for number, (title, variants) in enumerate(section.charts.items()):
            self.chart(f"learning-{number}", title, learning_chart(variants, self.cells))

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
        """Write all of it to a folder, and remove charts that are no longer shown."""
        for stem, svg in self.charts.items():
            with atomic_file(out / CHARTS / f"{stem}.svg") as partial:
                partial.write_text(svg, encoding="utf-8")
        for stale in sorted((out / CHARTS).glob("*.svg")):
            if stale.stem not in self.charts:
                stale.unlink()
        with atomic_file(out / PAGE) as partial:
            partial.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        write_json(out / RESULTS, self.results)


def _facts(cells: StudyCells) -> dict[str, str]:
    """Numbers that the plan's texts name in braces; a question mark for what no cell tells yet."""
    tuned = [cell.finetuning for cell in cells if cell.finetuning]
    numbers = {
        "val_scenes": cells.scene_count,
        "train_scenes": max((cell["scenes"] for cell in tuned), default=0),
    }
    return {name: _number(number) for name, number in numbers.items()}


def _steps(reference: Mapping[int, StudyCell]) -> dict[str, str]:
    """Optimisation steps of the variant that others are compared with: the same with every seed."""
    return {"steps": _number(max((cell.finetuning["steps"] for cell in reference.values()), default=0))}


def _number(number: int) -> str:
    return f"{number:,}" if number else "?"


def _standing(cells: StudyCells, command: str) -> list[str]:
    count = sum(len(seeds) for seeds in cells.variants.values())
    return [
        f"{counted(count, 'cell')} of {counted(len(cells.variants), 'variant')} stand below, each judged on the same "
        f"{counted(cells.scene_count, 'validation scene')}. `{command}` trains what is missing and writes this page; "
        "the errors of every scene are in [cells](cells), the numbers of the tables in [results.json](results.json).",
        "",
        "Levels are means over seeds and scenes, with the standard deviation over seeds. A difference is paired on "
        "the same scenes and seeds; the brackets are its 95 % interval for other scenes and other seeds (random "
        "effects of both, Student's t; of a share as Fieller has it; a bootstrap over scenes where there is one seed). "
        "**Bold**: the interval leaves out zero.",
    ]


def _headline(headline: Headline, cells: StudyCells, published: Published) -> list[str]:
    """One result in a paragraph, beside what is published; nothing while it is not measured."""
    row = compare(cells, headline.variant, headline.reference)
    if row is None:
        return []
    changes = []
    for name in HEADLINE:
        theirs = published.change(headline.published, name)
        beside = "" if theirs is None else f" (paper: {signed(theirs, 2)} %)"
        changes.append(f"{metric(name).label} {change(row.differences[name])}{beside}")
    of = f"`{headline.variant}` against `{headline.reference}`, {named_seeds(row.seeds)}"
    return [f"{of}: {'; '.join(changes)}. {headline.text.strip()}", ""]


def _plain(row: ComparedArm) -> dict[str, Any]:
    def difference(value: Difference | None) -> dict[str, Any] | None:
        return None if value is None else asdict(value) | {"verdict": value.verdict}

    return {
        "variant": row.variant,
        "description": row.description,
        "seeds": row.seeds,
        "levels": {name: asdict(level) for name, level in row.levels.items()},
        "differences": {name: difference(value) for name, value in row.differences.items()},
    }


def describe(cells: StudyCells) -> str:
    """Which cells there are, in a line."""
    return ", ".join([*cells.baselines, *(f"{variant} ({len(seeds)})" for variant, seeds in cells.variants.items())])
