"""Tables of the first study's page, as lines of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from studies.argoverse1_small.collected import METRICS, StudyRuns
from studies.argoverse1_small.comparisons import (
    FAR,
    ComparedVariant,
    ErrorSpread,
    StratumDifference,
    compare,
    losses_to_baselines,
)
from studies.argoverse1_small.plan import AmountCurve, Comparison, Deviation
from studies.markdown import table
from synthdrive.reporting.claims import Judged
from synthdrive.reporting.measurements import Difference, Level
from synthdrive.reporting.wording import HEADLINE, counted, label_of, metric, stratum_order, stratum_words


def comparison_tables(comparison: Comparison, compared: Sequence[ComparedVariant], runs: StudyRuns) -> list[str]:
    """Return the tables of a comparison: the main metrics, notes on missing runs and baselines, the other metrics."""
    variants = [comparison.reference, *comparison.variants]
    found = {row.variant for row in compared}
    missing = [variant for variant in variants if variant not in found]
    note = ["", f"Not measured yet: {', '.join(f'`{variant}`' for variant in missing)}."] if missing else []
    losses = [line for loss in losses_to_baselines(runs, variants) for line in ("", loss)]
    others = [name for name in METRICS if name not in HEADLINE]
    return [
        *_comparison_table(compared, HEADLINE, runs),
        *note,
        *_fewer_seeds(compared),
        *losses,
        "",
        "<details><summary>Metrics of the most probable trajectory, and brier-minFDE6</summary>",
        "",
        *_comparison_table(compared, others, runs),
        "",
        "</details>",
    ]


def _fewer_seeds(compared: Sequence[ComparedVariant]) -> list[str]:
    """Return, for variants with fewer seeds than the reference, its metrics on these seeds in a sentence."""
    fewer: dict[tuple[int, ...], list[ComparedVariant]] = {}
    for row in compared[1:]:
        if row.seeds != compared[0].seeds:
            fewer.setdefault(tuple(row.seeds), []).append(row)
    lines = []
    for seeds, rows in fewer.items():
        reference, parts = compared[0], []
        for name, difference in rows[0].differences.items():
            if name in HEADLINE and difference is not None:
                what, whole = metric(name), reference.levels[name].mean
                parts.append(f"{what.label} {what.text(difference.reference)} (all seeds: {what.text(whole)})")
        variants = ", ".join(f"`{row.variant}`" for row in rows)
        verb = "is" if len(rows) == 1 else "are"
        which = f"{named_seeds(seeds)} of `{reference.variant}`"
        lines += ["", f"{variants} {verb} compared with {which} only: {'; '.join(parts)}."]
    return lines


def _comparison_table(compared: Sequence[ComparedVariant], names: Sequence[str], runs: StudyRuns) -> list[str]:
    head = ["variant", "seeds", *(f"{metric(name).label} ({metric(name).unit})" for name in names)]
    head += [f"change in {metric(name).label}" for name in names]
    rows = []
    for baseline in runs.baselines.values():
        means = baseline.means
        rows.append(
            [label_of(baseline.variant), "", *(metric(name).text(means[name]) for name in names), *[""] * len(names)]
        )
    for row in compared:
        levels = [_level(row.levels[name], name) for name in names]
        changes = [change(row.differences[name]) for name in names]
        rows.append([_variant(row.variant, row.description), seeds_text(row.seeds), *levels, *changes])
    return table(head, rows)


def curve_table(curve: AmountCurve, points: Mapping[tuple[str, float], ComparedVariant | None]) -> list[str]:
    """Return a row for each amount and series; `points` are those of `compare_amounts`."""
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
                shown.append(seeds_text(row.seeds))
                for name in HEADLINE:
                    shown += [_level(row.levels[name], name), change(row.differences[name])]
            rows.append(shown)
    return table(head, rows)


def strata_table(variant: str, reference: str, found: Sequence[StratumDifference]) -> list[str]:
    """Return the differences of one variant from another, with one row per kind of scene."""
    head = ["kind of scene", "scenes"]
    for name in HEADLINE:
        head += [f"{metric(name).label} of `{reference}` ({metric(name).unit})", f"change with `{variant}`"]
    rows = []
    for row in sorted(found, key=lambda row: stratum_order(row.stratum)):
        shown = [stratum_words(row.stratum), str(row.scenes)]
        for name in HEADLINE:
            shown += [metric(name).text(row.reference[name]), change(row.difference[name])]
        rows.append(shown)
    return table(head, rows) if rows else [f"Not measured yet: `{variant}`."]


def spread_table(spreads: Sequence[ErrorSpread]) -> list[str]:
    """Return the distribution of minFDE6 over the scenes, with one row per variant."""
    head = ["variant", "seeds", "median (m)", "90th percentile (m)"]
    head += [f"scenes beyond {FAR:g} m (%)", "their contribution to the mean (%)"]
    rows = [
        [f"`{row.variant}`", seeds_text(row.seeds), f"{row.median:.2f}", f"{row.ninth_decile:.2f}", f"{row.far:.1f}",
         f"{row.far_share:.0f}"]
        for row in spreads
    ]  # fmt: skip
    return table(head, rows) if rows else ["Not measured yet."]


def encoder_table(variants: Sequence[str], runs: StudyRuns) -> list[str]:
    """Return how pre-training changed the encoder, with one row per run."""
    head = ["run", "encoder tensors", "changed", "relative change", "gradient norm, first epoch"]
    head += ["gradient norm, last epoch"]
    rows = []
    for variant in variants:
        for run in runs.variants.get(variant, {}).values():
            if not run.pretraining:
                continue
            encoder = run.pretraining["encoder"]
            norms = encoder["gradient_norm_per_epoch"]
            row = [f"`{run.name}`", str(encoder["tensors"]), str(encoder["tensors_moved"])]
            rows.append([*row, f"{encoder['relative_change']:.4g}", f"{norms[0]:.4g}", f"{norms[-1]:.4g}"])
    return table(head, rows) if rows else ["Not measured yet."]


def deviation_table(deviations: Sequence[Deviation], runs: StudyRuns, facts: Mapping[str, str]) -> list[str]:
    """Return the differences from the paper; `facts` replaces the names in braces."""
    rows = []
    for deviation in deviations:
        effect = "not measured"
        if len(deviation.variants) == 2 and (row := compare(runs, deviation.variants[1], deviation.variants[0])):
            changes = [f"{metric(name).label} {change(row.differences[name])}" for name in HEADLINE]
            effect = f"`{row.variant}` against `{deviation.variants[0]}`: {'; '.join(changes)}"
        rows.append([deviation.what.format(**facts), deviation.why, effect])
    return table(["difference", "reason", "effect"], rows)


def claims_table(judged: Sequence[Judged]) -> list[str]:
    """Return the claims with their measurements and verdicts."""
    rows = [
        [entry.says, entry.outcome.measured, f"{entry.outcome.verdict.value}: {entry.outcome.why}"] for entry in judged
    ]
    return table(["the paper says", "measured here", "verdict"], rows) if rows else ["No claim is about effects."]


def run_table(runs: StudyRuns) -> list[str]:
    """Return all runs and baselines, with their training data and commits."""
    head = ["run", *(metric(name).label for name in METRICS), "pre-training", "fine-tuning", "commit"]
    rows = []
    for run in runs:
        before, after = run.pretraining, run.finetuning
        trained = f"{counted(before['windows'], 'window')}, {counted(before['epochs'], 'epoch')}" if before else "none"
        tuned = f"{counted(after['scenes'], 'scene')}, {counted(after['epochs'], 'epoch')}" if after else "none"
        values = [metric(name).text(mean) for name, mean in run.means.items()]
        rows.append([f"`{run.name}`", *values, trained, tuned, run.commit])
    note = ["", "A + after the commit: the source code or the parameters differed from those of the commit."]
    return table(head, rows) + (note if any(run.commit.endswith("+") for run in runs) else [])


def _level(level: Level, name: str) -> str:
    text = metric(name).text(level.mean)
    return text if level.spread is None else f"{text} ± {metric(name).text(level.spread)}"


def change(difference: Difference | None) -> str:
    """Return a difference with its interval, in per cent of the reference if that is defined.

    It is bold if there are several seeds and the interval excludes 0: one seed says nothing about others.
    """
    if difference is None:
        return ""
    _, low, high = difference.shown
    significant = (low > 0 or high < 0) and len(difference.seeds) > 1
    return f"**{difference.text}**" if significant else difference.text


def _variant(variant: str, description: str) -> str:
    return f"`{variant}`: {description}"


def seeds_text(seeds: Sequence[int]) -> str:
    """Return the seeds, separated by commas."""
    return ", ".join(map(str, seeds))


def named_seeds(seeds: Sequence[int]) -> str:
    """Return the seeds as named in a sentence: seed 0, seeds 0, 1, 2."""
    return f"seed{'s' * (len(seeds) > 1)} {seeds_text(seeds)}"
