"""The study as Markdown with charts, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synthdrive.artifacts import atomic_file, write_json
from synthdrive.reporting.claims import Claim
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
from synthdrive.reporting.study.plan import Comparison, Headline, StudyPlan
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
        cells: arms that the plan names and that are not there yet are said to be open.
        choices: cells judged on scenes held back from the training scenes.
        command: the command that trains and collects, for the page to name.
        claims: the claims ledger; published: the numbers that it refers to.
    """
    charts: dict[str, str] = {}
    results: dict[str, Any] = {"scenes": cells.scene_count}
    facts = _facts(cells)

    def heading(title: str, text: str, named: Mapping[str, str] = facts) -> list[str]:
        return ["", f"## {title}", "", text.strip().format(**named)]

    lines = [f"# {plan.title}", "", plan.introduction.strip().format(**facts), ""]
    for headline in plan.headlines:
        lines += _headline(headline, cells, published)
    lines += _standing(cells, command)

    def compared_in(kind: str, comparison: Comparison, of: StudyCells, named: Mapping[str, str]) -> list[ComparedArm]:
        compared = _compared(comparison, of)
        lines.extend([*heading(comparison.title, comparison.text, named), ""])
        lines.extend(comparison_tables(comparison, compared, of))
        results[kind].append({"title": comparison.title, "rows": [_plain(row) for row in compared]})
        return compared

    results["comparisons"] = []
    for number, comparison in enumerate(plan.comparisons):
        steps = facts | _steps(cells.arms.get(comparison.reference, {}))
        compared = compared_in("comparisons", comparison, cells, steps)
        for name in HEADLINE:
            if chart := comparison_chart(compared, name):
                charts[f"comparison-{number}-{name}"] = chart
                lines += ["", f"![{comparison.title}: {name}]({CHARTS}/comparison-{number}-{name}.svg)"]
    results["curves"] = []
    for number, curve in enumerate(plan.curves):
        points = compare_amounts(curve, cells)
        lines += [*heading(curve.title, curve.text), "", *curve_table(curve, points)]
        for name in HEADLINE:
            if chart := curve_chart(curve, points, name):
                charts[f"curve-{number}-{name}"] = chart
                lines += ["", f"![{curve.title}: {name}]({CHARTS}/curve-{number}-{name}.svg)"]
        rows = [{"x": x, "series": label, **_plain(row)} for (label, x), row in points.items() if row is not None]
        results["curves"].append({"title": curve.title, "points": rows})
    results["strata"] = []
    for comparison in plan.strata:
        lines += heading(comparison.title, comparison.text)
        for arm in comparison.arms:
            found = compare_by_stratum(cells, arm, comparison.reference)
            lines += ["", *strata_table(arm, comparison.reference, found)]
            rows = [asdict(row) for row in found]
            results["strata"].append({"arm": arm, "reference": comparison.reference, "rows": rows})
    spreads = [spread for arm in plan.spread.arms if (spread := error_spread(cells, arm))]
    lines += [*heading(plan.spread.title, plan.spread.text), "", *spread_table(spreads)]
    if chart := spread_chart(plan.spread.arms, cells):
        charts["spread"] = chart
        lines += ["", f"![{plan.spread.title}]({CHARTS}/spread.svg)"]
    results["spread"] = [asdict(spread) for spread in spreads]
    lines += heading(plan.learning.title, plan.learning.text)
    for number, (title, arms) in enumerate(plan.learning.charts.items()):
        if chart := learning_chart(arms, cells):
            charts[f"learning-{number}"] = chart
            lines += ["", f"![{title}]({CHARTS}/learning-{number}.svg)"]
    lines += [*heading(plan.encoder.title, plan.encoder.text), "", *encoder_table(plan.encoder.arms, cells)]
    results["choices"] = []
    for comparison in plan.choices:
        compared_in("choices", comparison, choices, _facts(choices))
    judged = judge_on_cells(claims, published, cells, plan.claims.source)
    lines += [*heading(plan.claims.title, plan.claims.text), "", *claims_table(judged)]
    results["claims"] = [
        {"claim": entry.claim.identifier, "measured": entry.outcome.measured, "verdict": entry.outcome.verdict.value}
        for entry in judged
    ]
    lines += ["", "## Where this is not the paper", "", *deviation_table(plan.deviations, cells, facts)]
    lines += ["", "## Every cell", "", *cell_table(cells)]
    results["cells"] = {cell.name: cell.means for cell in cells}
    for stem, svg in charts.items():
        with atomic_file(out / CHARTS / f"{stem}.svg") as partial:
            partial.write_text(svg, encoding="utf-8")
    for stale in sorted((out / CHARTS).glob("*.svg")):
        if stale.stem not in charts:
            stale.unlink()
    with atomic_file(out / PAGE) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(out / RESULTS, results)


def _compared(comparison: Comparison, cells: StudyCells) -> list[ComparedArm]:
    """The reference and the other arms, as far as they are measured."""
    arms = (comparison.reference, *comparison.arms)
    return [row for arm in arms if (row := compare(cells, arm, comparison.reference))]


def _facts(cells: StudyCells) -> dict[str, str]:
    """Numbers that the plan's texts name in braces; a question mark for what no cell tells yet."""
    tuned = [cell.finetuning for cell in cells if cell.finetuning]
    numbers = {
        "val_scenes": cells.scene_count,
        "train_scenes": max((cell["scenes"] for cell in tuned), default=0),
    }
    return {name: _number(number) for name, number in numbers.items()}


def _steps(reference: Mapping[int, StudyCell]) -> dict[str, str]:
    """Optimisation steps of the arm that others are compared with: the same with every seed."""
    return {"steps": _number(max((cell.finetuning["steps"] for cell in reference.values()), default=0))}


def _number(number: int) -> str:
    return f"{number:,}" if number else "?"


def _standing(cells: StudyCells, command: str) -> list[str]:
    count = sum(len(seeds) for seeds in cells.arms.values())
    return [
        f"{counted(count, 'cell')} of {counted(len(cells.arms), 'arm')} stand below, each judged on the same "
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
    row = compare(cells, headline.arm, headline.reference)
    if row is None:
        return []
    changes = []
    for name in HEADLINE:
        theirs = published.change(headline.published, name)
        beside = "" if theirs is None else f" (paper: {signed(theirs, 2)} %)"
        changes.append(f"{metric(name).label} {change(row.differences[name])}{beside}")
    of = f"`{headline.arm}` against `{headline.reference}`, {named_seeds(row.seeds)}"
    return [f"{of}: {'; '.join(changes)}. {headline.text.strip()}", ""]


def _plain(row: ComparedArm) -> dict[str, Any]:
    def difference(value: Difference | None) -> dict[str, Any] | None:
        return None if value is None else asdict(value) | {"verdict": value.verdict}

    return {
        "arm": row.arm,
        "description": row.description,
        "seeds": row.seeds,
        "levels": {name: asdict(level) for name, level in row.levels.items()},
        "differences": {name: difference(value) for name, value in row.differences.items()},
    }


def describe(cells: StudyCells) -> str:
    """Which cells there are, in a line."""
    return ", ".join([*cells.baselines, *(f"{arm} ({len(seeds)})" for arm, seeds in cells.arms.items())])
