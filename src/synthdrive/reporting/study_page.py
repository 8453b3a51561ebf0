"""The study as Markdown with charts, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from synthdrive.artifacts import atomic_file, write_json
from synthdrive.reporting.claims import Claim, Judged
from synthdrive.reporting.measurements import Difference, Level
from synthdrive.reporting.metric_names import HEADLINE, counted, metric
from synthdrive.reporting.palette import arm_colour, colour
from synthdrive.reporting.pictures.charts import Estimate, Series, interval_chart, line_chart
from synthdrive.reporting.published import Published
from synthdrive.reporting.results_table import label_of
from synthdrive.reporting.strata_table import stratum_order, stratum_words
from synthdrive.reporting.study import (
    AmountCurve,
    Cells,
    ComparedArm,
    Comparison,
    Deviation,
    Headline,
    StudyPlan,
    compare,
    compare_by_stratum,
)
from synthdrive.reporting.study_claims import judge_on_cells

RESULTS, PAGE, CHARTS = "results.json", "README.md", "charts"


def write_study(
    plan: StudyPlan, cells: Cells, command: str, out: Path, claims: Sequence[Claim], published: Published
) -> None:
    """Write README.md, results.json and charts/.

    Args:
        plan: what is put beside what.
        cells: arm -> seed -> cell; arms that the plan names and that are not there yet are said to be open.
        command: the command that trains and collects, for the page to name.
        claims: the claims ledger; published: the numbers that it refers to.
    """
    charts: dict[str, str] = {}
    results: dict[str, Any] = {"scenes": _scenes(cells), "comparisons": [], "curves": []}
    lines = [f"# {plan.title}", "", plan.introduction.strip(), "", *_headline(plan.headline, cells, published),
             *_standing(cells, command)]  # fmt: skip
    for number, comparison in enumerate(plan.comparisons):
        compared = [row for arm in (comparison.reference, *comparison.arms)
                    if (row := compare(cells, arm, comparison.reference))]  # fmt: skip
        lines += ["", f"## {comparison.title}", "", comparison.text.strip(), ""]
        lines += _comparison_table(comparison, compared)
        for name in HEADLINE:
            if chart := _comparison_chart(compared, name):
                charts[f"comparison-{number}-{name}"] = chart
                lines += ["", f"![{comparison.title}: {name}]({CHARTS}/comparison-{number}-{name}.svg)"]
        results["comparisons"].append({"title": comparison.title, "rows": [_plain(row) for row in compared]})
    for number, curve in enumerate(plan.curves):
        lines += ["", f"## {curve.title}", "", curve.text.strip(), "", *_curve_table(curve, cells)]
        for name in HEADLINE:
            if chart := _curve_chart(curve, cells, name):
                charts[f"curve-{number}-{name}"] = chart
                lines += ["", f"![{curve.title}: {name}]({CHARTS}/curve-{number}-{name}.svg)"]
        results["curves"].append({"title": curve.title, "x": list(curve.x), "series": dict(curve.series)})
    for comparison in plan.strata:
        lines += ["", f"## {comparison.title}", "", comparison.text.strip()]
        for arm in comparison.arms:
            lines += ["", *_strata_table(arm, comparison.reference, cells)]
    lines += ["", f"## {plan.learning.title}", "", plan.learning.text.strip()]
    for number, (title, arms) in enumerate(plan.learning.charts.items()):
        if chart := _learning_chart(arms, cells):
            charts[f"learning-{number}"] = chart
            lines += ["", f"![{title}]({CHARTS}/learning-{number}.svg)"]
    lines += ["", f"## {plan.encoder.title}", "", plan.encoder.text.strip(), ""]
    lines += _encoder_table(plan.encoder.arms, cells)
    judged = judge_on_cells(claims, published, cells, plan.claims.source)
    lines += ["", f"## {plan.claims.title}", "", plan.claims.text.strip(), "", *_claims_table(judged)]
    results["claims"] = [
        {"claim": entry.claim.identifier, "measured": entry.outcome.measured, "verdict": entry.outcome.verdict.value}
        for entry in judged
    ]
    lines += ["", "## Where this is not the paper", "", *_deviation_table(plan.deviations, cells)]
    lines += ["", "## Every cell", "", *_cell_table(cells)]
    for stem, svg in charts.items():
        with atomic_file(out / CHARTS / f"{stem}.svg") as partial:
            partial.write_text(svg, encoding="utf-8")
    for stale in sorted((out / CHARTS).glob("*.svg")):
        if stale.stem not in charts:
            stale.unlink()
    with atomic_file(out / PAGE) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(out / RESULTS, results)


def _scenes(cells: Cells) -> int:
    return next((len(cell.errors[HEADLINE[0]]) for seeds in cells.values() for cell in seeds.values()), 0)


def _standing(cells: Cells, command: str) -> list[str]:
    count = sum(len(seeds) for seeds in cells.values())
    return [
        f"{counted(count, 'cell')} of {counted(len(cells), 'arm')} stand below, each judged on the same "
        f"{counted(_scenes(cells), 'validation scene')}. `{command}` trains what is missing and writes this page; the "
        "errors of every scene are in [cells](cells), the numbers of the tables in [results.json](results.json).",
        "",
        "Levels are means over seeds and scenes, with the standard deviation over seeds. A difference is paired on "
        "the same scenes and seeds; the brackets are its 95 % interval for other scenes and other seeds (random "
        "effects of both, Student's t; a bootstrap over scenes where there is one seed). **Bold**: it leaves out zero.",
    ]


def _headline(headline: Headline, cells: Cells, published: Published) -> list[str]:
    """The main result in a paragraph, beside what is published."""
    row = compare(cells, headline.arm, headline.reference)
    if row is None:
        return []
    changes = []
    for name in HEADLINE:
        theirs = published.change(headline.published, name)
        beside = "" if theirs is None else f" (paper: {theirs:+.2f} %)".replace("-", "\N{MINUS SIGN}")
        changes.append(f"{metric(name).label} {_change(row.differences[name])}{beside}")
    of = f"`{headline.arm}` against `{headline.reference}`, seed{'s' * (len(row.seeds) > 1)} {_seeds(row.seeds)}"
    return [f"{of}: {'; '.join(changes)}. {headline.text.strip()}", ""]


def _claims_table(judged: Sequence[Judged]) -> list[str]:
    rows = [
        [entry.says, entry.outcome.measured, f"{entry.outcome.verdict.value}: {entry.outcome.why}"] for entry in judged
    ]
    return _table(["the paper says", "measured here", "verdict"], rows) if rows else ["No claim is about results."]


def _comparison_table(comparison: Comparison, compared: Sequence[ComparedArm]) -> list[str]:
    head = ["arm", "seeds", *(f"{metric(name).label} ({metric(name).unit})" for name in HEADLINE)]
    head += [f"{metric(name).label}, change" for name in HEADLINE]
    rows = []
    for row in compared:
        levels = [_level(row.levels[name], name) for name in HEADLINE]
        changes = [_change(row.differences[name]) for name in HEADLINE]
        rows.append([_arm(row.arm, row.description), _seeds(row.seeds), *levels, *changes])
    found = {row.arm for row in compared}
    missing = [arm for arm in (comparison.reference, *comparison.arms) if arm not in found]
    note = ["", f"Not measured yet: {', '.join(f'`{arm}`' for arm in missing)}."] if missing else []
    return [*_table(head, rows), *note]


def _curve_table(curve: AmountCurve, cells: Cells) -> list[str]:
    head = [curve.x_label, *(f"{label}: {metric(name).label}" for label in curve.series for name in HEADLINE)]
    rows = []
    for place, amount in enumerate(curve.x):
        row = [f"{amount:g}"]
        for arms in curve.series.values():
            for name in HEADLINE:
                runs = _runs(cells, arms[place], name)
                text = "not yet" if not len(runs) else metric(name).text(float(runs.mean()))
                row.append(text if len(runs) < 2 else f"{text} ± {metric(name).text(float(runs.std(ddof=1)))}")
        rows.append(row)
    return _table(head, rows)


def _strata_table(arm: str, reference: str, cells: Cells) -> list[str]:
    head = ["scenes", "number"]
    for name in HEADLINE:
        head += [f"{metric(name).label} of `{reference}` ({metric(name).unit})", f"`{arm}`, change"]
    rows = []
    for row in sorted(compare_by_stratum(cells, arm, reference), key=lambda row: stratum_order(row.stratum)):
        shown = [stratum_words(row.stratum), str(row.scenes)]
        for name in HEADLINE:
            shown += [metric(name).text(row.reference[name]), _change(row.difference[name])]
        rows.append(shown)
    return _table(head, rows) if rows else [f"Not measured yet: `{arm}`."]


def _learning_chart(arms: Sequence[str], cells: Cells) -> str:
    series = []
    for place, arm in enumerate(arms):
        runs = [cell.learning["top1_fde"] for cell in cells.get(arm, {}).values()]
        if runs:
            epochs = np.arange(1.0, len(runs[0]) + 1.0)
            series.append(Series(label_of(arm), arm_colour(place), epochs, np.array(runs)))
    return line_chart(series, "epoch", "endpoint error (m)", legend=True) if series else ""


def _encoder_table(arms: Sequence[str], cells: Cells) -> list[str]:
    head = ["cell", "tensors", "moved", "relative change", "gradient norm, first epoch", "last epoch"]
    rows = []
    for arm in arms:
        for cell in cells.get(arm, {}).values():
            if not cell.pretraining:
                continue
            encoder = cell.pretraining["encoder"]
            norms = encoder["gradient_norm_per_epoch"]
            row = [f"`{cell.name}`", str(encoder["tensors"]), str(encoder["tensors_moved"])]
            rows.append([*row, f"{encoder['relative_change']:.4g}", f"{norms[0]:.4g}", f"{norms[-1]:.4g}"])
    return _table(head, rows) if rows else ["Not measured yet."]


def _deviation_table(deviations: Sequence[Deviation], cells: Cells) -> list[str]:
    rows = []
    for deviation in deviations:
        effect = "not measured"
        if len(deviation.arms) == 2 and (row := compare(cells, deviation.arms[1], deviation.arms[0])):
            changes = [f"{metric(name).label} {_change(row.differences[name])}" for name in HEADLINE]
            effect = f"`{row.arm}` against `{deviation.arms[0]}`: {'; '.join(changes)}"
        rows.append([deviation.what, deviation.why, effect])
    return _table(["what", "why", "effect"], rows)


def _cell_table(cells: Cells) -> list[str]:
    head = ["cell", *(metric(name).label for name in HEADLINE), "pre-training", "fine-tuning", "commit"]
    rows = []
    for seeds in cells.values():
        for cell in seeds.values():
            before, after = cell.pretraining, cell.finetuning
            trained = f"{before['windows']:,} windows x {before['epochs']}" if before else "none"
            commit = str(cell.run.get("commit") or "unknown")[:8]
            values = [metric(name).text(float(cell.errors[name].mean())) for name in HEADLINE]
            tuned = f"{after['scenes']:,} scenes x {after['epochs']}"
            rows.append([f"`{cell.name}`", *values, trained, tuned, commit])
    return _table(head, rows)


def _comparison_chart(compared: Sequence[ComparedArm], name: str) -> str:
    estimates = []
    for place, row in enumerate(compared):
        difference = row.differences[name]
        if difference is None or difference.relative is None:
            continue
        relative, low, high = difference.relative
        dots = tuple(100.0 * value / difference.reference for value in difference.seeds)
        estimates.append(Estimate(label_of(row.arm), arm_colour(place), relative, low, high, dots))
    label = f"change in {metric(name).label} (%)"
    return interval_chart(estimates, label, colour("ink"), zero=colour("muted")) if estimates else ""


def _curve_chart(curve: AmountCurve, cells: Cells, name: str) -> str:
    series = []
    for place, (label, arms) in enumerate(curve.series.items()):
        points = [(x, arm) for x, arm in zip(curve.x, arms, strict=True) if arm in cells]
        if len(points) < 2:
            continue
        seeds = sorted(set.intersection(*(set(cells[arm]) for _, arm in points)))
        runs = [[cells[arm][seed].errors[name].mean() for _, arm in points] for seed in seeds]
        if runs:
            series.append(Series(label, arm_colour(place), np.array([x for x, _ in points]), np.array(runs)))
    label = f"{metric(name).label} ({metric(name).unit})"
    return line_chart(series, curve.x_label, label, legend=True) if series else ""


def _runs(cells: Cells, arm: str, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([cell.errors[name].mean() for cell in cells.get(arm, {}).values()])


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


def _level(level: Level, name: str) -> str:
    text = metric(name).text(level.mean)
    return text if level.spread is None else f"{text} ± {metric(name).text(level.spread)}"


def _change(difference: Difference | None) -> str:
    if difference is None:
        return ""
    if difference.relative is None:
        return f"{difference.mean:+.3f}"
    mean, low, high = difference.relative
    text = f"{mean:+.1f} % [{low:+.1f}, {high:+.1f}]".replace("-", "\N{MINUS SIGN}")
    return text if difference.verdict == "no difference" else f"**{text}**"


def _arm(arm: str, description: str) -> str:
    return f"`{arm}`: {description}"


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def describe(cells: Mapping[str, Mapping[int, object]]) -> str:
    """Which cells there are, in a line."""
    return ", ".join(f"{arm} ({len(seeds)})" for arm, seeds in cells.items())
