"""Variants of a study compared: paired on scenes and seeds, overall, by amount of data and by kind of scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from studies.argoverse1_small.collected import METRICS, StudyRuns
from studies.argoverse1_small.plan import AmountCurve
from synthdrive.reporting.claims import EFFECT, Claim, Judged, judge
from synthdrive.reporting.evidence import Evidence, Published
from synthdrive.reporting.measurements import Difference, Level, Measurements, VariantErrors
from synthdrive.reporting.wording import HEADLINE, ONE_GUESS, label_of, listed, metric

SAMPLES = 4000  # of every bootstrap
FAR = 5.0  # m; six goals that all lie further from the truth have left out where the focal agent went


@dataclass(frozen=True)
class ComparedVariant:
    """A variant beside its reference, on the seeds that both have.

    Attributes:
        variant, description: which.
        seeds: (R,).
        levels: metric -> of the variant.
        differences: metric -> paired difference; None for the reference itself.
    """

    variant: str
    description: str
    seeds: list[int]
    levels: Mapping[str, Level]
    differences: Mapping[str, Difference | None]


def compare(runs: StudyRuns, variant: str, reference: str) -> ComparedVariant | None:
    """One variant against its reference in all of METRICS; None where they have no seed in common yet."""
    levels, differences = {}, {}
    seeds: list[int] = []
    for name in METRICS:
        seeds, (ours, theirs) = runs.paired_errors([variant, reference], name)
        if not seeds:
            return None
        levels[name] = Level.of(ours, SAMPLES, 0, "study level")
        differences[name] = Difference.of(ours, theirs, SAMPLES, 0, "study") if variant != reference else None
    return ComparedVariant(variant, runs.variants[variant][seeds[0]].description, seeds, levels, differences)


def compare_amounts(curve: AmountCurve, runs: StudyRuns) -> dict[tuple[str, float], ComparedVariant | None]:
    """(series, x) -> that variant against the first series' at the same amount, or against the first amount of a series
    that stands alone."""
    first = next(iter(curve.series.values()))
    points = {}
    for label, variants in curve.series.items():
        for place, (x, variant) in enumerate(zip(curve.x, variants, strict=True)):
            points[label, x] = compare(runs, variant, first[place] if len(curve.series) > 1 else first[0])
    return points


def losses_to_baselines(runs: StudyRuns, variants: Sequence[str]) -> list[str]:
    """A sentence for every variant and baseline that beats it in a metric: such a variant has not learned enough."""
    found = []
    for variant in (variant for variant in variants if variant in runs.variants):
        for baseline in runs.baselines.values():
            lost = []
            for name in (*HEADLINE, *ONE_GUESS):
                _, (errors,) = runs.paired_errors([variant], name)
                what, ours, theirs = metric(name), float(errors.mean()), float(baseline.errors[name].mean())
                if ours > theirs:
                    lost.append(f"{what.label} ({what.text(ours)} against {what.text(theirs)} {what.unit})")
            if lost:
                found.append(f"`{variant}` loses to {label_of(baseline.variant).lower()} in {listed(lost)}.")
    return found


@dataclass(frozen=True)
class StratumDifference:
    """Two variants in one kind of scene.

    Attributes:
        stratum: as evaluation names it; scenes: how many.
        reference, difference: metric -> mean of the reference, paired difference to it.
    """

    stratum: str
    scenes: int
    reference: Mapping[str, float]
    difference: Mapping[str, Difference]


def compare_by_stratum(runs: StudyRuns, variant: str, reference: str) -> list[StratumDifference]:
    """One variant against another in every stratum that has scenes; empty where they have no seed in common yet."""
    seeds, _ = runs.paired_errors([variant, reference], HEADLINE[0])
    if not seeds:
        return []
    rows = []
    for stratum, members in runs.variants[variant][seeds[0]].strata.items():
        inside = np.array(list(members)) == "1"
        if not inside.any():
            continue
        means, differences = {}, {}
        for name in HEADLINE:
            _, (ours, theirs) = runs.paired_errors([variant, reference], name)
            ours, theirs = ours[:, inside], theirs[:, inside]
            means[name] = float(theirs.mean())
            differences[name] = Difference.of(ours, theirs, SAMPLES, 0, "study", stratum)
        rows.append(StratumDifference(stratum, int(inside.sum()), means, differences))
    return rows


@dataclass(frozen=True)
class ErrorSpread:
    """How a variant's smallest endpoint errors (minFDE6) are spread over the scenes; means over its seeds.

    Attributes:
        variant: which; seeds: (R,).
        median, ninth_decile: metres.
        far: scenes with an error beyond FAR (%).
        far_share: what these make up of the mean error (%).
    """

    variant: str
    seeds: list[int]
    median: float
    ninth_decile: float
    far: float
    far_share: float


def error_spread(runs: StudyRuns, variant: str) -> ErrorSpread | None:
    """The spread of one variant's errors; None where it has no run yet."""
    seeds, (errors,) = runs.paired_errors([variant], "minFDE6")  # [R, S]
    if not seeds:
        return None
    median, ninth_decile = np.quantile(errors, (0.5, 0.9), axis=1).mean(axis=1)
    far = errors > FAR
    share = (errors * far).sum(axis=1) / errors.sum(axis=1)
    return ErrorSpread(
        variant, seeds, float(median), float(ninth_decile), 100.0 * float(far.mean()), 100.0 * float(share.mean())
    )


def judge_on_runs(
    claims: Sequence[Claim], published: Published, runs: StudyRuns, source: str, withdrawn: Sequence[str] = ()
) -> list[Judged]:
    """Every claim about effects, with its verdict on the seeds that all variants it needs have.

    Args:
        claims: of the ledger; those about something else are left to the report.
        source: of the scenes, as `data.source` names it.
        withdrawn: variants whose runs say nothing; a claim that needs one is not testable.
    """
    kept = StudyRuns({name: of for name, of in runs.variants.items() if name not in withdrawn}, runs.baselines)
    judged: list[Judged] = []
    for claim in claims:
        if claim.about == EFFECT:
            measured = _measured(claim.needs.get("variants", []), kept, source)
            judged += judge([claim], Evidence(measured, published, None, {}))
    return judged


def _measured(variants: Sequence[str], runs: StudyRuns, source: str) -> Measurements:
    """The runs of these variants, on the seeds that all of them have."""
    there = [variant for variant in variants if variant in runs.variants]
    seeds = tuple(runs.paired_errors(there, METRICS[0])[0])
    errors = {name: dict(zip(there, runs.paired_errors(there, name)[1], strict=True)) for name in METRICS}
    rows = {
        variant: VariantErrors(variant, seeds, {name: errors[name][variant] for name in METRICS})
        for variant in there
        if seeds
    }
    some = next((runs.variants[variant][seeds[0]] for variant in rows), None)
    baselines = {
        name: VariantErrors(name, (), {metric: values[None] for metric, values in run.errors.items()})
        for name, run in runs.baselines.items()
    }
    return Measurements(
        source=source,
        scene_count=runs.scene_count if rows else 0,
        train_scenes=0 if some is None else int(some.finetuning["scenes"]),
        windows=0,
        windows_augmented=0,
        seeds=seeds,
        variants=rows,
        baselines=baselines,
        samples=SAMPLES,
    )
