"""Tests of claims about the results of the variants."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from synthdrive.reporting.claim_outcome import Evidence, Outcome, Verdict, label, level_text
from synthdrive.reporting.metric_names import HEADLINE, counted
from synthdrive.reporting.results_table import label_of

FLOOR = "constant_velocity"  # a forecaster that does not beat it has not learned to forecast


def lowers(evidence: Evidence, variant: str, metric: str) -> Outcome:
    """Reproduced where the 95 % interval of the paired difference to the reference variant lies below 0."""
    untrained = _untrained(evidence, metric)
    if untrained is not None:
        return untrained
    measured, name = evidence.measured, label(metric)
    difference = measured.difference(variant, measured.reference, metric)
    text = difference.text
    seeds = f"{counted(measured.scene_count, 'scene')}, {counted(len(measured.seeds), 'seed')}"
    if difference.verdict == "lower":
        return Outcome(text, Verdict.REPRODUCED, f"The interval of the paired difference lies below 0 ({seeds}).")
    if difference.verdict == "higher":
        return Outcome(text, Verdict.NOT_REPRODUCED, f"{name} is higher: the interval lies above 0 ({seeds}).")
    return Outcome(text, Verdict.NOT_REPRODUCED, f"The interval holds 0: no effect can be told from none ({seeds}).")


def best(evidence: Evidence, variant: str, metric: str, among: list[str]) -> Outcome:
    """Reproduced where the variant's interval of the paired difference lies below 0 against every other variant."""
    untrained = _untrained(evidence, metric)
    if untrained is not None:
        return untrained
    measured = evidence.measured
    levels = {name: measured.level(name, metric).mean for name in among}
    lowest = min(levels, key=lambda name: levels[name])
    text = f"lowest: {label_of(lowest)}, {level_text(metric, levels[lowest])}"
    others = [name for name in among if name != variant]
    clear = [name for name in others if measured.difference(variant, name, metric).verdict == "lower"]
    if lowest != variant:
        return Outcome(text, Verdict.NOT_REPRODUCED, f"{label_of(lowest)} has the lowest mean; "
                       f"{label_of(variant)} has {level_text(metric, levels[variant])}.")  # fmt: skip
    if len(clear) == len(others):
        return Outcome(text, Verdict.REPRODUCED, "Every other variant is higher beyond the interval of the difference.")
    equal = ", ".join(label_of(name) for name in others if name not in clear)
    return Outcome(text, Verdict.NOT_REPRODUCED, f"It has the lowest mean, but cannot be told from: {equal}.")


def level(evidence: Evidence, variant: str) -> Outcome:
    """Reproduced where all three published levels lie in the measured 95 % intervals, widened by the seeds' spread."""
    parts, outside = [], []
    for name in HEADLINE:
        ours = evidence.measured.level(variant, name)
        slack = 2.0 * (ours.spread or 0.0)
        theirs = evidence.published.level(variant, name)
        parts.append(f"{label(name)} {level_text(name, ours.mean)}")
        if theirs is None or not ours.low - slack <= theirs <= ours.high + slack:
            outside.append(label(name))
    return _all_inside(
        "; ".join(parts), outside, "the measured interval (scenes and two standard deviations over seeds)"
    )


def size(evidence: Evidence, variant: str) -> Outcome:
    """Reproduced where all three published changes lie in the 95 % intervals of the paired relative differences."""
    parts, outside, unsure = [], [], []
    for name in HEADLINE:
        difference = evidence.measured.difference(variant, evidence.measured.reference, name)
        theirs = evidence.published.change(variant, name)
        parts.append(f"{label(name)} {difference.text}")
        relative = difference.relative
        if relative is None:
            unsure.append(label(name))
        elif theirs is None or not relative[1] <= theirs <= relative[2]:
            outside.append(label(name))
    if unsure and not outside:
        why = f"The baseline itself is too uncertain for a share of it: {', '.join(unsure)}."
        return Outcome("; ".join(parts), Verdict.NOT_TESTABLE, why)
    return _all_inside("; ".join(parts), outside, "the interval of the paired difference")


def exceeds_seed_spread(evidence: Evidence, variant: str, metric: str) -> Outcome:
    """Reproduced where the published change, of one run each, is more than other seeds would make of it.

    Two runs of the baseline differ by sqrt(2) of its standard deviation over seeds; the limit is that times Student's t
    (97.5 %) for so few seeds. Relative to each side's own baseline.
    """
    ours = evidence.measured.level(evidence.measured.reference, metric)
    seeds = len(ours.seeds)
    change = abs(evidence.published.recomputed_change(variant, metric))
    spread = 100.0 * (ours.spread or 0.0) / ours.mean
    limit = float(stdtrit(seeds - 1, 0.975)) * np.sqrt(2.0) * spread
    text = f"another seed: ±{spread:.2f} % (standard deviation of {counted(seeds, 'seed')})"
    verdict = Verdict.REPRODUCED if change > limit else Verdict.NOT_REPRODUCED
    relation = "more" if change > limit else "not more"
    return Outcome(text, verdict, f"The published {change:.2f} % are {relation} than the {limit:.2f} % of two seeds.")


def _untrained(evidence: Evidence, metric: str) -> Outcome | None:
    """Not testable where the baseline variant does not even beat constant velocity: then differences say nothing."""
    measured = evidence.measured
    if FLOOR not in measured.baselines:
        return None
    ours, floor = measured.level(measured.reference, metric).mean, measured.level(FLOOR, metric).mean
    if ours < floor:
        return None
    values = f"{level_text(metric, ours)} against {level_text(metric, floor)}"
    why = f"Trained too little to tell: the baseline variant does not beat {label_of(FLOOR).lower()} ({values})."
    return Outcome("", Verdict.NOT_TESTABLE, why)


def _all_inside(text: str, outside: list[str], what: str) -> Outcome:
    if not outside:
        return Outcome(text, Verdict.REPRODUCED, f"All published values lie in {what}.")
    return Outcome(text, Verdict.NOT_REPRODUCED, f"Outside {what}: {', '.join(outside)}.")
