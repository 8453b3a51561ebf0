"""Tests of claims by the published numbers alone: whether they agree with each other."""

from __future__ import annotations

import numpy as np

from synthdrive.reporting.claim_outcome import Evidence, Outcome, Verdict, label, unit
from synthdrive.reporting.metric_names import HEADLINE, signed
from synthdrive.reporting.results_table import label_of


def table_arithmetic(evidence: Evidence, tolerance: float) -> Outcome:
    """Reproduced where every printed change follows from the table's values within `tolerance` per cent points."""
    published = evidence.published
    differences = {
        (row, name): abs(published.recomputed_change(row, name) - change)
        for row in published.values["table_changes"]
        for name in HEADLINE
        if (change := published.change(row, name)) is not None
    }
    worst = max(differences, key=lambda key: differences[key])
    text = f"{len(differences)} changes recomputed, largest deviation {differences[worst]:.3f} points"
    if differences[worst] <= tolerance:
        return Outcome(text, Verdict.REPRODUCED, "All agree but for rounding.")
    return Outcome(text, Verdict.NOT_REPRODUCED, f"{label_of(worst[0])}, {label(worst[1])} does not follow.")


def abstract_matches_table(evidence: Evidence, row: str, tolerance: float) -> Outcome:
    """Reproduced where each improvement of the abstract is that of the same metric in this row of the table."""
    published = evidence.published
    table = {name: published.recomputed_change(row, name) for name in HEADLINE}
    abstract = {name: float(published.values["abstract"][name]) for name in HEADLINE}
    text = ", ".join(f"{label(name)} {signed(table[name], 2)} %" for name in HEADLINE)
    text = f"{label_of(row)} in the table: {text}"
    wrong = [name for name in HEADLINE if abs(table[name] - abstract[name]) > tolerance]
    if not wrong:
        return Outcome(text, Verdict.REPRODUCED, "The abstract's numbers are the table's.")
    reasons = []
    for name in wrong:
        same = [other for other in HEADLINE if abs(table[other] - abstract[name]) <= tolerance]
        where = f", which is the table's {label(same[0])}" if same else ""
        reasons.append(f"the abstract's {label(name)} is {signed(abstract[name], 2)} %{where}")
    swapped = len(wrong) == 2 and all("which is" in reason for reason in reasons)
    lead = "The abstract has two metrics swapped: " if swapped else "They differ: "
    return Outcome(text, Verdict.NOT_REPRODUCED, lead + "; ".join(reasons) + ".")


def headline_row(evidence: Evidence, row: str, tolerance: float) -> Outcome:
    """Reproduced where the abstract's three numbers, in any order, are the changes of this row."""
    published = evidence.published
    abstract = sorted(float(published.values["abstract"][name]) for name in HEADLINE)
    rows = {
        name: sorted(published.recomputed_change(name, entry) for entry in HEADLINE)
        for name in published.values["table_changes"]
    }
    fits = [name for name, values in rows.items() if np.abs(np.subtract(values, abstract)).max() <= tolerance]
    text = f"the abstract's numbers are those of: {', '.join(map(label_of, fits)) or 'no row'}"
    if row in fits:
        return Outcome(text, Verdict.REPRODUCED, "Both are the same row.")
    return Outcome(
        text, Verdict.NOT_REPRODUCED, f"Not those of the row {label_of(row)}, whose checkpoints are released."
    )


def same_values(evidence: Evidence, row: str, other: str) -> Outcome:
    """Reproduced where the table's row equals the other source's values, rounded to the table's digits."""
    values = evidence.published.values
    theirs = values["other"][other]
    text = ", ".join(f"{label(name)} {theirs[name]}" for name in HEADLINE)
    wrong = [name for name in HEADLINE if abs(values["table"][row][name] - theirs[name]) > _half_digit(name)]
    if not wrong:
        return Outcome(text, Verdict.REPRODUCED, "Equal after rounding.")
    return Outcome(text, Verdict.NOT_REPRODUCED, f"They differ in {', '.join(map(label, wrong))}.")


def no_worse_than(evidence: Evidence, row: str, other: str, metric: str, tolerance: float) -> Outcome:
    """Reproduced where the table's row is at most `tolerance` (shown unit) above the other source's value."""
    ours, theirs = evidence.published.values["table"][row][metric], evidence.published.values["other"][other][metric]
    text = f"{ours - theirs:+.3f} {unit(metric)}".replace("-", "\N{MINUS SIGN}")
    if ours - theirs <= tolerance:
        return Outcome(text, Verdict.REPRODUCED, f"Within {tolerance} {unit(metric)}.")
    source = evidence.published.values["other"][other]["label"]
    why = f"{ours - theirs:.3f} {unit(metric)} worse than {source}: gains against it come that much easier."
    return Outcome(text, Verdict.NOT_REPRODUCED, why)


def improves_on(evidence: Evidence, row: str, other: str, metric: str, tolerance: float) -> Outcome:
    """Reproduced where the table's row is more than `tolerance` (shown unit) below the other source's value."""
    ours, theirs = evidence.published.values["table"][row][metric], evidence.published.values["other"][other][metric]
    text = f"{ours - theirs:+.4f} {unit(metric)}".replace("-", "\N{MINUS SIGN}")
    if theirs - ours > tolerance:
        return Outcome(text, Verdict.REPRODUCED, f"By more than {tolerance} {unit(metric)}.")
    return Outcome(text, Verdict.NOT_REPRODUCED, f"By less than {tolerance} {unit(metric)}, the last printed digit.")


def _half_digit(name: str) -> float:
    return 0.5 * 10.0 ** -(2 if name == "MR6" else 4) + 1e-12
