"""Variants of a study compared: paired on the same scenes and seeds, overall, by amount of data and by kind of scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthdrive.forecasting.bootstrap import mean_intervals
from synthdrive.reporting.measurements import Difference, Level
from synthdrive.reporting.metric_names import HEADLINE, ONE_GUESS
from synthdrive.reporting.results_table import label_of, loss
from synthdrive.reporting.study.cells import METRICS, StudyCells
from synthdrive.reporting.study.plan import AmountCurve

SAMPLES = 4000  # of every bootstrap
FAR = 5.0  # m; six goals that all lie further from the truth have left out where AGENT went


@dataclass(frozen=True)
class ComparedArm:
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


def compare(cells: StudyCells, variant: str, reference: str) -> ComparedArm | None:
    """One variant against its reference in all of METRICS; None where they have no seed in common yet."""
    levels, differences = {}, {}
    seeds: list[int] = []
    for name in METRICS:
        seeds, (ours, theirs) = cells.paired_errors([variant, reference], name)
        if not seeds:
            return None
        levels[name] = level_of(ours)
        differences[name] = Difference.of(ours, theirs, SAMPLES, 0, "study") if variant != reference else None
    return ComparedArm(variant, cells.variants[variant][seeds[0]].description, seeds, levels, differences)


def compare_amounts(curve: AmountCurve, cells: StudyCells) -> dict[tuple[str, float], ComparedArm | None]:
    """(series, x) -> that variant against the first series' at the same amount, or against the first amount of a series
    that stands alone."""
    first = next(iter(curve.series.values()))
    points = {}
    for label, variants in curve.series.items():
        for place, (x, variant) in enumerate(zip(curve.x, variants, strict=True)):
            points[label, x] = compare(cells, variant, first[place] if len(curve.series) > 1 else first[0])
    return points


def losses_to_baselines(cells: StudyCells, variants: Sequence[str]) -> list[str]:
    """A sentence for every variant and baseline that beats or equals it in a metric: such a variant has not learned enough."""
    found = []
    for variant in (variant for variant in variants if variant in cells.variants):
        for baseline in cells.baselines.values():
            lost = []
            for name in (*HEADLINE, *ONE_GUESS):
                _, (ours,) = cells.paired_errors([variant], name)
                lost += loss(name, float(ours.mean()), float(baseline.errors[name].mean()))
            if lost:
                found.append(f"`{variant}` does not beat {label_of(baseline.variant).lower()} in {', '.join(lost)}.")
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


def compare_by_stratum(cells: StudyCells, variant: str, reference: str) -> list[StratumDifference]:
    """One variant against another in every stratum that has scenes; empty where they have no seed in common yet."""
    seeds, _ = cells.paired_errors([variant, reference], HEADLINE[0])
    if not seeds:
        return []
    rows = []
    for stratum, members in cells.variants[variant][seeds[0]].strata.items():
        inside = np.array(list(members)) == "1"
        if not inside.any():
            continue
        means, differences = {}, {}
        for name in HEADLINE:
            _, (ours, theirs) = cells.paired_errors([variant, reference], name)
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


def error_spread(cells: StudyCells, variant: str) -> ErrorSpread | None:
    """The spread of one variant's errors; None where it has no cell yet."""
    seeds, (errors,) = cells.paired_errors([variant], "minFDE6")  # [R, S]
    if not seeds:
        return None
    median, ninth_decile = np.quantile(errors, (0.5, 0.9), axis=1).mean(axis=1)
    far = errors > FAR
    share = (errors * far).sum(axis=1) / errors.sum(axis=1)
    return ErrorSpread(
        variant, seeds, float(median), float(ninth_decile), 100.0 * float(far.mean()), 100.0 * float(share.mean())
    )


def level_of(errors: npt.NDArray[np.float64]) -> Level:
    """(R, S) errors of one metric -> mean, spread over seeds, 95 % interval over scenes."""
    by_seed = errors.mean(axis=1)
    (interval,) = mean_intervals(errors.mean(axis=0)[:, None], SAMPLES, 0, "study level")
    spread = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None
    return Level(float(by_seed.mean()), spread, interval.low, interval.high, tuple(by_seed.tolist()))
