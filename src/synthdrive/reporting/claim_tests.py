"""The tests that claims.yaml can name; each docstring says how the test reaches its verdict."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import stdtrit

from synthdrive.reporting.evidence import Evidence, Outcome, Verdict
from synthdrive.reporting.wording import HEADLINE, counted, label_of, listed, metric, number_and_unit, signed

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE = Verdict


# ---- Effects: how pre-training changes the errors.


def lowers(evidence: Evidence, variant: str, metric: str) -> Outcome:
    """Judge by the 95 % interval of the paired difference from the reference.

    Supported: it lies below 0. Contradicted: it lies above 0, or it contains 0 and excludes the published change.
    Undecided: it contains 0 and the published change (or none is published).
    """
    measured = evidence.measured
    difference = measured.difference(variant, measured.reference, metric)
    published = evidence.published.change(variant, metric)
    verdict = effect_verdict(*difference.shown[1:], published if difference.relative else None)
    claimed = "" if published is None else f" the published {signed(published)} %"
    size = f"Smallest detectable change (80 % power): {difference.detectable_text}."
    if verdict == SUPPORTED:
        why = "The interval lies below 0."
    elif difference.direction == "higher":
        why = "The interval lies above 0: the error is higher."
    elif verdict == CONTRADICTED:
        why = f"The interval contains 0 and excludes{claimed}. {size}"
    else:
        why = f"The interval contains 0{' and' + claimed if claimed else ''}. {size}"
    data = f"{counted(measured.scene_count, 'scene')}, {counted(len(measured.seeds), 'seed')}"
    return Outcome(f"{difference.text} ({data})", verdict, why)


def best(evidence: Evidence, variant: str, metric: str, among: list[str]) -> Outcome:
    """Judge by the 95 % intervals of the paired differences from every other variant of `among`.

    Supported: all lie below 0. Contradicted: at least one lies above 0. Undecided: otherwise.
    """
    measured = evidence.measured
    means = {name: measured.mean(name, metric) for name in among}
    lowest = min(means, key=lambda name: means[name])
    text = f"lowest: {label_of(lowest)}, {number_and_unit(metric, means[lowest])}"
    others = {name: measured.difference(variant, name, metric) for name in among if name != variant}
    better = [name for name, difference in others.items() if difference.direction == "higher"]
    unclear = {name: difference for name, difference in others.items() if difference.direction == "unclear"}
    if better:
        return Outcome(text, CONTRADICTED, f"Significantly lower: {_labels(better)}.")
    if not unclear:
        return Outcome(text, SUPPORTED, "Every other variant is significantly higher.")
    needed = max(unclear.values(), key=lambda difference: difference.detectable).detectable_text
    why = f"No statistically significant difference from {_labels(list(unclear))}; smallest detectable: {needed}."
    return Outcome(text, UNDECIDED, why)


def level(evidence: Evidence, variant: str) -> Outcome:
    """Supported if all published levels lie in the measured 95 % intervals, widened by twice the spread over seeds."""
    parts, outside = [], []
    for name in HEADLINE:
        ours = evidence.measured.level(variant, name)
        slack = 2.0 * (ours.spread or 0.0)
        theirs = evidence.published.level(variant, name)
        parts.append(f"{metric(name).label} {number_and_unit(name, ours.mean)}")
        if theirs is None or not ours.low - slack <= theirs <= ours.high + slack:
            outside.append(metric(name).label)
    where = "the measured interval (scenes and two standard deviations over seeds)"
    if outside:
        return Outcome("; ".join(parts), CONTRADICTED, f"Outside {where}: {listed(outside)}.")
    return Outcome("; ".join(parts), SUPPORTED, f"All published values lie within {where}.")


def size(evidence: Evidence, variant: str) -> Outcome:
    """Judge by the 95 % intervals of the paired differences in all three metrics.

    Contradicted: at least one excludes the published change. Undecided: all contain it, but at least one also contains
    0. Supported: all contain it and exclude 0.
    """
    parts, outside, unclear = [], [], []
    for name in HEADLINE:
        difference = evidence.measured.difference(variant, evidence.measured.reference, name)
        theirs = evidence.published.change(variant, name)
        what = metric(name).label
        parts.append(f"{what} {difference.text}")
        relative = difference.relative
        if relative is not None and (theirs is None or not relative[1] <= theirs <= relative[2]):
            outside.append(what)
        elif relative is None or difference.direction == "unclear":
            unclear.append(f"{what} (smallest detectable: {difference.detectable_text})")
    text = "; ".join(parts)
    if outside:
        return Outcome(text, CONTRADICTED, f"The interval excludes the published change in {listed(outside)}.")
    if unclear:
        return Outcome(text, UNDECIDED, f"The interval contains 0 and the published change in {listed(unclear)}.")
    return Outcome(text, SUPPORTED, "All intervals contain the published change and exclude 0.")


def exceeds_seed_spread(evidence: Evidence, variant: str, metric: str) -> Outcome:
    """Supported if the published change, between two single runs, is larger than other seeds would explain.

    The difference of two runs varies by sqrt(2) times the standard deviation of the reference over seeds; the limit is
    this times Student's t (97.5 %) for the number of seeds. All of it is relative to each side's own baseline.
    """
    ours = evidence.measured.level(evidence.measured.reference, metric)
    seeds = len(ours.seeds)
    change = abs(evidence.published.recomputed_change(variant, metric))
    spread = 100.0 * (ours.spread or 0.0) / ours.mean
    limit = float(stdtrit(seeds - 1, 0.975)) * np.sqrt(2.0) * spread
    text = f"standard deviation over {counted(seeds, 'seed')}: {spread:.2f} %"
    relation = "larger" if change > limit else "not larger"
    why = f"The published change of {change:.2f} % is {relation} than the {limit:.2f} % by which two seeds may differ."
    return Outcome(text, SUPPORTED if change > limit else CONTRADICTED, why)


def effect_verdict(low: float, high: float, published: float | None) -> Verdict:
    """Judge the claim that a variant lowers an error.

    Args:
        low, high: ends of the 95 % interval of the change, in per cent.
        published: the published change, in per cent; None if there is none to compare with.
    """
    if high < 0:
        return SUPPORTED
    if low > 0:
        return CONTRADICTED
    return CONTRADICTED if published is not None and not low <= published <= high else UNDECIDED


def _labels(names: list[str]) -> str:
    return listed([label_of(name) for name in names])


# ---- Published numbers: whether they agree with each other.


def table_arithmetic(evidence: Evidence, tolerance: float) -> Outcome:
    """Supported if every printed change follows from the table's values within `tolerance` percentage points."""
    published = evidence.published
    deviations = {
        (row, name): abs(published.recomputed_change(row, name) - change)
        for row in published.values["table_changes"]
        for name in HEADLINE
        if (change := published.change(row, name)) is not None
    }
    worst = max(deviations, key=lambda key: deviations[key])
    text = f"{len(deviations)} changes recomputed, largest deviation {deviations[worst]:.3f} percentage points"
    if deviations[worst] <= tolerance:
        return Outcome(text, SUPPORTED, "All agree up to rounding.")
    return Outcome(
        text, CONTRADICTED, f"{label_of(worst[0])}, {metric(worst[1]).label} does not follow from the table's values."
    )


def abstract_matches_table(evidence: Evidence, row: str, tolerance: float) -> Outcome:
    """Supported if the abstract's changes are those of this row of the table, metric by metric."""
    published = evidence.published
    table = {name: published.recomputed_change(row, name) for name in HEADLINE}
    abstract = {name: float(published.values["abstract"][name]) for name in HEADLINE}
    numbers = ", ".join(f"{metric(name).label} {signed(table[name])} %" for name in HEADLINE)
    text = f"{label_of(row)} in the table: {numbers}"
    wrong = [name for name in HEADLINE if abs(table[name] - abstract[name]) > tolerance]
    if not wrong:
        return Outcome(text, SUPPORTED, "The abstract's numbers match the table's.")
    reasons = []
    for name in wrong:
        same = [other for other in HEADLINE if abs(table[other] - abstract[name]) <= tolerance]
        where = f", which is the table's {metric(same[0]).label}" if same else ""
        reasons.append(f"the abstract's {metric(name).label} is {signed(abstract[name])} %{where}")
    swapped = len(wrong) == 2 and all("which is" in reason for reason in reasons)
    lead = "The abstract has two metrics swapped: " if swapped else "They differ: "
    return Outcome(text, CONTRADICTED, lead + "; ".join(reasons) + ".")


def headline_row(evidence: Evidence, row: str, tolerance: float) -> Outcome:
    """Supported if the abstract's three numbers, in any order, are the changes of this row of the table."""
    published = evidence.published
    abstract = sorted(float(published.values["abstract"][name]) for name in HEADLINE)
    rows = {
        name: sorted(published.recomputed_change(name, entry) for entry in HEADLINE)
        for name in published.values["table_changes"]
    }
    matching = [name for name, values in rows.items() if np.abs(np.subtract(values, abstract)).max() <= tolerance]
    text = f"the abstract's numbers are those of: {_labels(matching) or 'no row'}"
    if row in matching:
        return Outcome(text, SUPPORTED, "They come from the same row.")
    return Outcome(
        text, CONTRADICTED, f"They are not those of the row {label_of(row)}, whose checkpoints are released."
    )


def same_values(evidence: Evidence, row: str, other: str) -> Outcome:
    """Supported if the table's row equals the other source's values, rounded to the table's digits."""
    values = evidence.published.values
    theirs = values["other"][other]
    text = ", ".join(f"{metric(name).label} {theirs[name]}" for name in HEADLINE)
    half_digit = {name: 0.5 * 10.0 ** -(2 if metric(name).unit == "%" else 4) + 1e-12 for name in HEADLINE}
    wrong = [name for name in HEADLINE if abs(values["table"][row][name] - theirs[name]) > half_digit[name]]
    if not wrong:
        return Outcome(text, SUPPORTED, "Equal after rounding.")
    return Outcome(text, CONTRADICTED, f"They differ in {listed([metric(name).label for name in wrong])}.")


def no_worse_than(evidence: Evidence, row: str, other: str, metric: str, tolerance: float) -> Outcome:
    """Supported if the table's row is at most `tolerance` metres above the other source's value."""
    excess = _published_excess(evidence, row, other, metric)
    text = f"{signed(excess, 3)} m"
    if excess <= tolerance:
        return Outcome(text, SUPPORTED, f"The baseline is at most {tolerance} m worse.")
    source = evidence.published.values["other"][other]["label"]
    return Outcome(
        text, CONTRADICTED, f"{excess:.3f} m worse than {source}: a weaker baseline is easier to improve on."
    )


def improves_on(evidence: Evidence, row: str, other: str, metric: str, tolerance: float) -> Outcome:
    """Supported if the table's row is more than `tolerance` metres below the other source's value."""
    excess = _published_excess(evidence, row, other, metric)
    if -excess > tolerance:
        return Outcome(f"{signed(excess, 4)} m", SUPPORTED, f"The improvement exceeds {tolerance} m.")
    why = f"The improvement does not exceed {tolerance} m, one unit of the last printed digit."
    return Outcome(f"{signed(excess, 4)} m", CONTRADICTED, why)


def _published_excess(evidence: Evidence, row: str, other: str, name: str) -> float:
    values = evidence.published.values
    return float(values["table"][row][name]) - float(values["other"][other][name])


# ---- Code and data.


def encoder_gradient(evidence: Evidence, decoder_sees_encoder: bool) -> Outcome:
    """Supported if the reconstruction loss has a gradient other than zero in every tensor of the encoder."""
    check = evidence.gradient.get(decoder_sees_encoder)
    if check is None:
        return Outcome("", NOT_TESTABLE, "No variant with masked pre-training was run.")
    text = f"{check.reached} of {check.tensors} encoder tensors have a gradient"
    mask = "complete decoder mask" if decoder_sees_encoder else "decoder mask as released"
    effect = {check.tensors: "the loss trains the whole encoder", 0: "the encoder keeps its random initial weights"}
    why = f"Computed here with the {mask}: {effect.get(check.reached, 'the loss trains only part of it')}."
    return Outcome(text, SUPPORTED if check.reached == check.tensors else CONTRADICTED, why)


def fraction_compared(evidence: Evidence, quantity: str, above: float, unit: str, expected: str) -> Outcome:
    """Judge by the fractions of synthetic and of recorded values above a threshold.

    Undecided: they differ by at most 1.96 standard errors, where all values of one track count as one. Supported: the
    synthetic fraction is larger (`expected: more`) or smaller (`less`), as the claim says. Contradicted: otherwise.
    """
    if evidence.motion is None:
        return Outcome("", NOT_TESTABLE, "No motion was measured.")
    scale = 180.0 / np.pi if unit == "degrees" else 1.0
    fractions, errors, counts = [], [], []
    motion = evidence.motion
    for samples in (motion.synthetic, motion.recorded):
        values = np.abs(getattr(samples, quantity)) * scale
        fraction = float(np.mean(values > above))
        counts.append(max(1, len(values) // (1 if quantity == "heading_change" else motion.steps)))
        fractions.append(100.0 * fraction)
        errors.append(100.0 * np.sqrt(fraction * (1.0 - fraction) / counts[-1]))
    synthetic, recorded = fractions
    text = (
        f"synthetic {synthetic:.1f} % of {counted(counts[0], 'track')}, recorded {recorded:.1f} % of "
        f"{counted(counts[1], 'track')} above {above:g} {unit}"
    )
    noise = float(np.hypot(*errors))
    if abs(synthetic - recorded) <= 1.96 * noise:
        detectable = (1.96 + float(stdtrit(1e6, 0.8))) * noise
        return Outcome(
            text,
            UNDECIDED,
            f"The difference is within sampling noise; smallest detectable: {detectable:.1f} percentage points.",
        )
    holds = synthetic > recorded if expected == "more" else synthetic < recorded
    larger = "larger" if synthetic > recorded else "smaller"
    return Outcome(text, SUPPORTED if holds else CONTRADICTED, f"The synthetic fraction is {larger}.")


EFFECTS = (lowers, best, level, size, exceeds_seed_spread)
FACTS = (
    table_arithmetic, abstract_matches_table, headline_row, same_values, no_worse_than, improves_on, encoder_gradient,
    fraction_compared,
)  # fmt: skip
TESTS: dict[str, Callable[..., Outcome]] = {test.__name__: test for test in (*EFFECTS, *FACTS)}
