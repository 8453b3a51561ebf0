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
    ComparedArm,
    Comparison,
    Deviation,
    Headline,
    StudyPlan,
    compare,
    compare_by_stratum,
    losses_to_baselines,
)
from synthdrive.reporting.study_cells import METRICS, StudyCell, StudyCells
from synthdrive.reporting.study_claims import judge_on_cells

RESULTS, PAGE, CHARTS = "results.json", "README.md", "charts"


def write_study(
    plan: StudyPlan, cells: StudyCells, command: str, out: Path, claims: Sequence[Claim], published: Published
) -> None:
    """Write README.md, results.json and charts/.

    Args:
        plan: what is put beside what.
        cells: arms that the plan names and that are not there yet are said to be open.
        command: the command that trains and collects, for the page to name.
        claims: the claims ledger; published: the numbers that it refers to.
    """
    charts: dict[str, str] = {}
    results: dict[str, Any] = {"scenes": cells.scene_count}
    facts = _facts(cells)

    def heading(title: str, text: str) -> list[str]:
        return ["", f"## {title}", "", text.strip().format(**facts), ""]

    lines = [f"# {plan.title}", "", plan.introduction.strip().format(**facts), ""]
    lines += [*_headline(plan.headline, cells, published), *_standing(cells, command)]
    results["comparisons"] = []
    for number, comparison in enumerate(plan.comparisons):
        compared = [row for arm in (comparison.reference, *comparison.arms)
                    if (row := compare(cells, arm, comparison.reference))]  # fmt: skip
        lines += heading(comparison.title, comparison.text) + _comparison_tables(comparison, compared, cells)
        for name in HEADLINE:
            if chart := _comparison_chart(compared, name):
                charts[f"comparison-{number}-{name}"] = chart
                lines += ["", f"![{comparison.title}: {name}]({CHARTS}/comparison-{number}-{name}.svg)"]
        results["comparisons"].append({"title": comparison.title, "rows": [_plain(row) for row in compared]})
    results["curves"] = []
    for number, curve in enumerate(plan.curves):
        points = _curve_points(curve, cells)
        lines += heading(curve.title, curve.text) + _curve_table(curve, points)
        for name in HEADLINE:
            if chart := _curve_chart(curve, points, name):
                charts[f"curve-{number}-{name}"] = chart
                lines += ["", f"![{curve.title}: {name}]({CHARTS}/curve-{number}-{name}.svg)"]
        rows = [{"x": x, "series": label, **_plain(row)} for (label, x), row in points.items() if row is not None]
        results["curves"].append({"title": curve.title, "points": rows})
    results["strata"] = []
    for comparison in plan.strata:
        lines += heading(comparison.title, comparison.text)[:-1]
        for arm in comparison.arms:
            lines += ["", *_strata_table(arm, comparison.reference, cells)]
            rows = [asdict(row) for row in compare_by_stratum(cells, arm, comparison.reference)]
            results["strata"].append({"arm": arm, "reference": comparison.reference, "rows": rows})
    lines += heading(plan.learning.title, plan.learning.text)[:-1]
    for number, (title, arms) in enumerate(plan.learning.charts.items()):
        if chart := _learning_chart(arms, cells):
            charts[f"learning-{number}"] = chart
            lines += ["", f"![{title}]({CHARTS}/learning-{number}.svg)"]
    lines += heading(plan.encoder.title, plan.encoder.text) + _encoder_table(plan.encoder.arms, cells)
    judged = judge_on_cells(claims, published, cells, plan.claims.source)
    lines += heading(plan.claims.title, plan.claims.text) + _claims_table(judged)
    results["claims"] = [
        {"claim": entry.claim.identifier, "measured": entry.outcome.measured, "verdict": entry.outcome.verdict.value}
        for entry in judged
    ]
    lines += ["", "## Where this is not the paper", "", *_deviation_table(plan.deviations, cells)]
    lines += ["", "## Every cell", "", *_cell_table(cells)]
    results["cells"] = {cell.name: _means(cell) for cell in cells}
    for stem, svg in charts.items():
        with atomic_file(out / CHARTS / f"{stem}.svg") as partial:
            partial.write_text(svg, encoding="utf-8")
    for stale in sorted((out / CHARTS).glob("*.svg")):
        if stale.stem not in charts:
            stale.unlink()
    with atomic_file(out / PAGE) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(out / RESULTS, results)


def _facts(cells: StudyCells) -> dict[str, str]:
    """Numbers that the plan's texts name in braces; a question mark for what no cell tells yet."""
    tuned = [cell.finetuning for cell in cells if cell.finetuning]
    trained = [cell.pretraining for cell in cells if cell.pretraining]
    numbers = {
        "val_scenes": cells.scene_count,
        "train_scenes": max((cell["scenes"] for cell in tuned), default=0),
        "steps": min((cell["steps"] for cell in tuned), default=0),
        "windows": max((cell["windows"] for cell in trained), default=0),
        "pretraining_steps": max((cell["steps"] for cell in trained), default=0),
    }
    return {name: f"{number:,}" if number else "?" for name, number in numbers.items()}


def _standing(cells: StudyCells, command: str) -> list[str]:
    count = sum(len(seeds) for seeds in cells.arms.values())
    return [
        f"{counted(count, 'cell')} of {counted(len(cells.arms), 'arm')} stand below, each judged on the same "
        f"{counted(cells.scene_count, 'validation scene')}. `{command}` trains what is missing and writes this page; "
        "the errors of every scene are in [cells](cells), the numbers of the tables in [results.json](results.json).",
        "",
        "Levels are means over seeds and scenes, with the standard deviation over seeds. A difference is paired on "
        "the same scenes and seeds; the brackets are its 95 % interval for other scenes and other seeds (random "
        "effects of both, Student's t; a bootstrap over scenes where there is one seed). **Bold**: it leaves out zero.",
    ]


def _headline(headline: Headline, cells: StudyCells, published: Published) -> list[str]:
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


def _comparison_tables(comparison: Comparison, compared: Sequence[ComparedArm], cells: StudyCells) -> list[str]:
    """The headline metrics, what is missing, what loses to a baseline, and the other metrics."""
    arms = [comparison.reference, *comparison.arms]
    found = {row.arm for row in compared}
    missing = [arm for arm in arms if arm not in found]
    note = ["", f"Not measured yet: {', '.join(f'`{arm}`' for arm in missing)}."] if missing else []
    losses = [line for loss in losses_to_baselines(cells, arms) for line in ("", loss)]
    others = [name for name in METRICS if name not in HEADLINE]
    return [
        *_comparison_table(compared, HEADLINE, cells),
        *note,
        *losses,
        "",
        "<details><summary>The likeliest trajectory alone, and probabilities</summary>",
        "",
        *_comparison_table(compared, others, cells),
        "",
        "</details>",
    ]


def _comparison_table(compared: Sequence[ComparedArm], names: Sequence[str], cells: StudyCells) -> list[str]:
    head = ["arm", "seeds", *(f"{metric(name).label} ({metric(name).unit})" for name in names)]
    head += [f"{metric(name).label}, change" for name in names]
    rows = []
    for baseline in cells.baselines.values():
        means = _means(baseline)
        rows.append(
            [label_of(baseline.arm), "", *(metric(name).text(means[name]) for name in names), *[""] * len(names)]
        )
    for row in compared:
        levels = [_level(row.levels[name], name) for name in names]
        changes = [_change(row.differences[name]) for name in names]
        rows.append([_arm(row.arm, row.description), _seeds(row.seeds), *levels, *changes])
    return _table(head, rows)


def _curve_points(curve: AmountCurve, cells: StudyCells) -> dict[tuple[str, float], ComparedArm | None]:
    """(series, x) -> that arm against the first series' at the same amount, or against the first amount of a series
    that stands alone."""
    first = next(iter(curve.series.values()))
    points = {}
    for label, arms in curve.series.items():
        for place, (x, arm) in enumerate(zip(curve.x, arms, strict=True)):
            points[label, x] = compare(cells, arm, first[place] if len(curve.series) > 1 else first[0])
    return points


def _curve_table(curve: AmountCurve, points: Mapping[tuple[str, float], ComparedArm | None]) -> list[str]:
    head = [curve.x_label, "", "seeds"]
    for name in HEADLINE:
        head += [f"{metric(name).label} ({metric(name).unit})", "change"]
    rows = []
    for x in curve.x:
        for label in curve.series:
            row = points[label, x]
            shown = [f"{x:g}", label]
            if row is None:
                shown += ["not yet", *[""] * 2 * len(HEADLINE)]
            else:
                shown.append(_seeds(row.seeds))
                for name in HEADLINE:
                    shown += [_level(row.levels[name], name), _change(row.differences[name])]
            rows.append(shown)
    return _table(head, rows)


def _strata_table(arm: str, reference: str, cells: StudyCells) -> list[str]:
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


def _learning_chart(arms: Sequence[str], cells: StudyCells) -> str:
    series = []
    for place, arm in enumerate(arms):
        runs = [cell.learning["top1_fde"] for cell in cells.arms.get(arm, {}).values()]
        if runs:
            epochs = np.arange(1.0, len(runs[0]) + 1.0)
            series.append(Series(label_of(arm), arm_colour(place), epochs, np.array(runs)))
    return line_chart(series, "epoch", "endpoint error (m)", legend=True) if series else ""


def _encoder_table(arms: Sequence[str], cells: StudyCells) -> list[str]:
    head = ["cell", "tensors", "moved", "relative change", "gradient norm, first epoch", "last epoch"]
    rows = []
    for arm in arms:
        for cell in cells.arms.get(arm, {}).values():
            if not cell.pretraining:
                continue
            encoder = cell.pretraining["encoder"]
            norms = encoder["gradient_norm_per_epoch"]
            row = [f"`{cell.name}`", str(encoder["tensors"]), str(encoder["tensors_moved"])]
            rows.append([*row, f"{encoder['relative_change']:.4g}", f"{norms[0]:.4g}", f"{norms[-1]:.4g}"])
    return _table(head, rows) if rows else ["Not measured yet."]


def _deviation_table(deviations: Sequence[Deviation], cells: StudyCells) -> list[str]:
    rows = []
    for deviation in deviations:
        effect = "not measured"
        if len(deviation.arms) == 2 and (row := compare(cells, deviation.arms[1], deviation.arms[0])):
            changes = [f"{metric(name).label} {_change(row.differences[name])}" for name in HEADLINE]
            effect = f"`{row.arm}` against `{deviation.arms[0]}`: {'; '.join(changes)}"
        rows.append([deviation.what.format(**_facts(cells)), deviation.why, effect])
    return _table(["what", "why", "effect"], rows)


def _cell_table(cells: StudyCells) -> list[str]:
    head = ["cell", *(metric(name).label for name in METRICS), "pre-training", "fine-tuning", "commit"]
    rows = []
    for cell in cells:
        before, after = cell.pretraining, cell.finetuning
        trained = f"{before['windows']:,} windows x {before['epochs']}" if before else "none"
        tuned = f"{after['scenes']:,} scenes x {after['epochs']}" if after else "none"
        values = [metric(name).text(mean) for name, mean in _means(cell).items()]
        rows.append([f"`{cell.name}`", *values, trained, tuned, cell.commit])
    note = ["", "A + behind the commit: the sources, or the parameters, were not quite those of the commit."]
    return _table(head, rows) + (note if any(cell.commit.endswith("+") for cell in cells) else [])


def _means(cell: StudyCell) -> dict[str, float]:
    return {name: round(float(values.mean()), 6) for name, values in cell.errors.items()}


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


def _curve_chart(curve: AmountCurve, points: Mapping[tuple[str, float], ComparedArm | None], name: str) -> str:
    """A line a series, through the amounts that are measured, on the seeds that these have in common."""
    series = []
    for place, label in enumerate(curve.series):
        rows = [(x, row) for x in curve.x if (row := points[label, x]) is not None]
        if len(rows) < 2:
            continue
        seeds = sorted(set.intersection(*(set(row.seeds) for _, row in rows)))
        runs = [[row.levels[name].seeds[row.seeds.index(seed)] for _, row in rows] for seed in seeds]
        if runs:
            series.append(Series(label, arm_colour(place), np.array([x for x, _ in rows]), np.array(runs)))
    label = f"{metric(name).label} ({metric(name).unit})"
    return line_chart(series, curve.x_label, label, legend=True) if series else ""


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


def describe(cells: StudyCells) -> str:
    """Which cells there are, in a line."""
    return ", ".join([*cells.baselines, *(f"{arm} ({len(seeds)})" for arm, seeds in cells.arms.items())])
