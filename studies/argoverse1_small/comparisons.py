"""Paired comparisons of variants on the same scenes and seeds: overall, by amount of data and by kind of scene."""

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

SAMPLES = 4000  # number of bootstrap resamples
FAR = 5.0  # m; if minFDE6 is larger, none of the six endpoints is near the true one


@dataclass(frozen=True)
class ComparedVariant:
    """A variant compared with its reference, on the seeds that both have.

    Attributes:
        variant, description: of the variant.
        seeds: (R,) common seeds.
        levels: metric -> level of the variant.
        differences: metric -> paired difference from the reference; None for the reference itself.
    """

    variant: str
    description: str
    seeds: list[int]
    levels: Mapping[str, Level]
    differences: Mapping[str, Difference | None]


def compare(runs: StudyRuns, variant: str, reference: str) -> ComparedVariant | None:
    """Compare a variant with its reference in all METRICS; return None if they have no common seed yet."""
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
    """Compare the variants of a curve: return (series, x) -> comparison.

    The reference is the first series at the same amount or, if there is only one series, its first amount.
    """
    first = next(iter(curve.series.values()))
    points = {}
    for label, variants in curve.series.items():
        for place, (x, variant) in enumerate(zip(curve.x, variants, strict=True)):
            points[label, x] = compare(runs, variant, first[place] if len(curve.series) > 1 else first[0])
    return points


def losses_to_baselines(runs: StudyRuns, variants: Sequence[str]) -> list[str]:
    """Return a sentence for each variant and baseline that beats it in any metric, a sign of too little training."""
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
    """Two variants compared on one kind of scene.

    Attributes:
        stratum: kind of scene, as named by the evaluation; scenes: number of such scenes.
        reference, difference: metric -> mean of the reference, and paired difference from it.
    """

    stratum: str
    scenes: int
    reference: Mapping[str, float]
    difference: Mapping[str, Difference]


def compare_by_stratum(runs: StudyRuns, variant: str, reference: str) -> list[StratumDifference]:
    """Compare two variants in every stratum that has scenes; return nothing if they have no common seed yet."""
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
    """Distribution of a variant's minFDE6 over the scenes; means over its seeds.

    Attributes:
        variant: its name; seeds: (R,) its seeds.
        median, ninth_decile: 50th and 90th percentile (m).
        far: scenes with an error beyond FAR (%).
        far_share: contribution of these scenes to the mean error (%).
    """

    variant: str
    seeds: list[int]
    median: float
    ninth_decile: float
    far: float
    far_share: float


def error_spread(runs: StudyRuns, variant: str) -> ErrorSpread | None:
    """Return the distribution of one variant's errors; None if it has no run yet."""
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
    """Test every claim about effects on the seeds that all variants it needs have in common.

    Args:
        claims: claims of the ledger; those about other topics are skipped.
        published: the published numbers; runs: the runs on which the claims are tested.
        source: source of the scenes, as in `data.source`.
        withdrawn: variants whose results are withdrawn; a claim that needs one is not testable.
    """
    kept = StudyRuns({name: of for name, of in runs.variants.items() if name not in withdrawn}, runs.baselines)
    judged: list[Judged] = []
    for claim in claims:
        if claim.about == EFFECT:
            measured = _measured(claim.needs.get("variants", []), kept, source)
            judged += judge([claim], Evidence(measured, published, None, {}))
    return judged


def _measured(variants: Sequence[str], runs: StudyRuns, source: str) -> Measurements:
    """Return the runs of these variants for the seeds that they have in common."""
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
