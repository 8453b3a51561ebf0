"""Tests of claims about the method: what the loss trains, and how the synthetic drives move."""

from __future__ import annotations

import numpy as np

from synthdrive.reporting.claim_outcome import Evidence, Outcome, Verdict


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
    """Reproduced where the share of synthetic values above a threshold is more (or less) than that of recorded ones."""
    scale = 180.0 / np.pi if unit == "degrees" else 1.0
    synthetic, recorded = (
        100.0 * float(np.mean(np.abs(getattr(samples, quantity)) * scale > above))
        for samples in (evidence.synthetic, evidence.recorded)
    )
    text = f"synthetic {synthetic:.1f} %, recorded {recorded:.1f} % above {above:g} {unit}"
    holds = synthetic > recorded if expected == "more" else synthetic < recorded
    verdict = Verdict.REPRODUCED if holds else Verdict.NOT_REPRODUCED
    return Outcome(text, verdict, f"The synthetic share is {'larger' if synthetic > recorded else 'not larger'}.")


def lane_distance(evidence: Evidence) -> Outcome:
    """Reproduced where no window is further from its lanes than the released ones are."""
    limit = evidence.published.values["motion"]["max_lane_distance"]
    distance = evidence.max_lane_distance
    text = f"at most {distance.max():.2f} m in {len(distance):,} windows, median of maxima {np.median(distance):.2f} m"
    verdict = Verdict.REPRODUCED if distance.max() <= limit else Verdict.NOT_REPRODUCED
    return Outcome(text, verdict, f"{np.mean(distance > limit):.1%} of windows are beyond {limit} m.")
