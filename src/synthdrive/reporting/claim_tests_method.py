"""Tests of claims about the method: what the loss trains, and how the synthetic drives move."""

from __future__ import annotations

import numpy as np

from synthdrive.reporting.claim_outcome import Evidence, Outcome, Verdict
from synthdrive.reporting.metric_names import counted
from synthdrive.scenes.scene_store import STEPS


def encoder_gradient(evidence: Evidence, decoder_sees_encoder: bool, expected: str) -> Outcome:
    """Reproduced where the reconstruction loss has a gradient in all (or none) of the encoder's tensors."""
    check = evidence.gradient.get(decoder_sees_encoder)
    if check is None:
        return Outcome("", Verdict.NOT_TESTABLE, "The models of this run could not be built.")
    text = f"{check.reached} of {check.tensors} encoder tensors have a gradient"
    wanted = check.tensors if expected == "all" else 0
    verdict = Verdict.REPRODUCED if check.reached == wanted else Verdict.NOT_REPRODUCED
    mask = "complete decoder mask" if decoder_sees_encoder else "decoder mask as released"
    effect = {check.tensors: "the loss trains all of it", 0: "the encoder keeps its random start"}
    return Outcome(text, verdict, f"Computed here with the {mask}: {effect.get(check.reached, 'some are left out')}.")


def window_count(evidence: Evidence, tolerance: float) -> Outcome:
    """Reproduced where our number of windows and their augmented share are the published ones within `tolerance`."""
    measured, data = evidence.measured, evidence.published.values["data"]
    text = f"{measured.windows:,} windows, {measured.windows_augmented:,} on augmented maps"
    if measured.windows < (1.0 - tolerance) * data["windows"]:
        return Outcome(text, Verdict.NOT_TESTABLE, "This run asked for a smaller set.")
    ours, theirs = measured.windows_augmented / measured.windows, data["windows_augmented"] / data["windows"]
    close = abs(measured.windows / data["windows"] - 1.0) <= tolerance and abs(ours - theirs) <= tolerance
    verdict = Verdict.REPRODUCED if close else Verdict.NOT_REPRODUCED
    return Outcome(text, verdict, f"Augmented share {ours:.0%}, published {theirs:.0%}.")


def speed_range(evidence: Evidence, tolerance: float) -> Outcome:
    """Reproduced where our windows' 0.1 and 99.9 % speeds are in the published range, widened by `tolerance` m/s."""
    low, high = np.percentile(evidence.synthetic.speed, [0.1, 99.9])
    motion = evidence.published.values["motion"]
    inside = low >= motion["synthetic_min_speed"] - tolerance and high <= motion["synthetic_max_speed"] + tolerance
    text = f"{low:.1f} to {high:.1f} m/s (0.1 and 99.9 % quantiles)"
    verdict = Verdict.REPRODUCED if inside else Verdict.NOT_REPRODUCED
    return Outcome(text, verdict, f"The published range is taken with {tolerance} m/s to either side.")


def share_compared(evidence: Evidence, quantity: str, above: float, unit: str, expected: str) -> Outcome:
    """Reproduced where the share of synthetic values above a threshold is more (or less) than that of recorded ones.

    Not testable where the shares differ by less than 1.96 standard errors; the values of one track count as one.
    """
    scale = 180.0 / np.pi if unit == "degrees" else 1.0
    shares, errors, counts = [], [], []
    for samples in (evidence.synthetic, evidence.recorded):
        values = np.abs(getattr(samples, quantity)) * scale
        share = float(np.mean(values > above))
        counts.append(max(1, len(values) // (1 if quantity == "heading_change" else STEPS)))
        shares.append(100.0 * share)
        errors.append(100.0 * np.sqrt(share * (1.0 - share) / counts[-1]))
    synthetic, recorded = shares
    text = (
        f"synthetic {synthetic:.1f} % of {counted(counts[0], 'track')}, recorded {recorded:.1f} % of "
        f"{counted(counts[1], 'track')} above {above:g} {unit}"
    )
    if abs(synthetic - recorded) <= 1.96 * np.hypot(*errors):
        return Outcome(text, Verdict.NOT_TESTABLE, "The shares are too close to tell with so many tracks.")
    holds = synthetic > recorded if expected == "more" else synthetic < recorded
    verdict = Verdict.REPRODUCED if holds else Verdict.NOT_REPRODUCED
    asked = " Speeds are what synthesize.desired_speeds asks for." if quantity == "speed" else ""
    return Outcome(text, verdict, f"The synthetic share is {'larger' if synthetic > recorded else 'smaller'}.{asked}")


def lane_distance(evidence: Evidence) -> Outcome:
    """Reproduced where no window is further from its lanes than the released ones are."""
    limit = evidence.published.values["motion"]["max_lane_distance"]
    distance = evidence.max_lane_distance
    text = f"at most {distance.max():.2f} m in {len(distance):,} windows, median of maxima {np.median(distance):.2f} m"
    verdict = Verdict.REPRODUCED if distance.max() <= limit else Verdict.NOT_REPRODUCED
    why = f"{np.mean(distance > limit):.1%} of windows are beyond {limit} m"
    dropped = (
        "those beyond synthesize.limits.lane_distance were dropped before, so the median says more than the largest"
    )
    return Outcome(text, verdict, f"{why}; {dropped}.")
