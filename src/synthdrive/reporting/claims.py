"""The claims ledger: each claim of the paper, the test that decides on it, and the verdict that the test computes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from synthdrive.config.data import OFFICIAL
from synthdrive.core.artifacts import read_yaml
from synthdrive.core.errors import InputError
from synthdrive.reporting.claim_tests import EFFECTS, TESTS
from synthdrive.reporting.evidence import Evidence, Outcome, Verdict
from synthdrive.reporting.wording import HEADLINE, label_of, listed, metric, short_source
from synthdrive.synthesis.motion import MotionDistributions

EFFECT = "effects"
ABOUT = (EFFECT, "published numbers", "code", "data")  # topics of claims; each is counted separately
LANE_FOLLOWING = "lane_following"  # models that lose to it are not compared

_KEYS = {"id", "about", "group", "says", "source", "test"}
_NEEDS = {"variants": list[str], "seeds": int, "source": str, "train_scenes": int, "val_scenes": int}
_CHOICES = {
    "metric": HEADLINE,
    "quantity": tuple(quantity.name for quantity in fields(MotionDistributions)),
    "expected": ("more", "less"),
}
_KINDS = {
    list[str]: "a list of names", int: "a whole number of 0 or more", float: "a number", str: "text that is not blank",
    bool: "true or false",
}  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """One claim of the ledger.

    Attributes:
        identifier: its name in the ledger.
        about: effects, published numbers, code or data.
        group: heading under which it appears.
        says: the statement, with fields for published numbers ({table.map.MR6:.2f}).
        source: where the statement is made.
        test: `kind` and the arguments of one of `claim_tests.TESTS`.
        needs: what must have been run: variants, seeds (at least), source, train_scenes and val_scenes (at least).
    """

    identifier: str
    about: str
    group: str
    says: str
    source: str
    test: dict[str, Any]
    needs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict.

    Attributes:
        claim: the claim; says: its statement with the published numbers filled in.
        outcome: measured value, verdict and reason.
    """

    claim: Claim
    says: str
    outcome: Outcome


def load_claims(path: Path) -> list[Claim]:
    """Read the ledger.

    Raises:
        InputError: a claim lacks a key, has an unknown key or a value of the wrong type, names an unknown test or
            metric, or has the id of another claim.
    """
    content = read_yaml(path, "the claims ledger")
    if not isinstance(content, dict) or not isinstance(content.get("claims"), list):
        raise InputError(path, "no list `claims`", "the claims ledger")
    claims: list[Claim] = []
    for number, entry in enumerate(content["claims"], start=1):
        claims.append(_read_claim(entry, f"{path}: claim {number}"))
        if claims[-1].identifier in {claim.identifier for claim in claims[:-1]}:
            raise InputError(f"{path}: claim {number}", f"a second {claims[-1].identifier!r}", "a unique id")
    return claims


def judge(claims: Sequence[Claim], evidence: Evidence) -> list[Judged]:
    """Return every claim with its verdict, in the ledger's order."""
    return [Judged(claim, evidence.published.fill(claim.says), _judge_claim(claim, evidence)) for claim in claims]


def tally(judged: Sequence[Judged], about: str) -> dict[str, int]:
    """Count the verdicts of the claims about one topic (one of ABOUT)."""
    these = [entry.outcome.verdict for entry in judged if entry.claim.about == about]
    return {str(verdict): these.count(verdict) for verdict in Verdict}


def tally_text(counts: Mapping[str, int]) -> str:
    """Put the counts into words: 2 supported, 1 contradicted, 9 undecided, 6 not testable here."""
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def _read_claim(entry: Any, where: str) -> Claim:
    if not isinstance(entry, dict) or not set(entry) >= _KEYS or set(entry) - _KEYS - {"needs"}:
        found = ", ".join(map(str, entry)) if isinstance(entry, dict) else repr(entry)
        raise InputError(where, f"keys {found}", f"{', '.join(sorted(_KEYS))} and, where needed, needs")
    where = f"{where} ({entry['id']})"
    texts = ("id", "group", "says", "source")
    _check_values({key: entry[key] for key in texts}, dict.fromkeys(texts, str), where)
    if entry["about"] not in ABOUT:
        raise InputError(f"{where}: about", repr(entry["about"]), f"one of {', '.join(ABOUT)}")
    kind = entry["test"].get("kind") if isinstance(entry["test"], dict) else None
    if not isinstance(kind, str) or kind not in TESTS:
        raise InputError(f"{where}: test.kind", repr(kind), f"one of {', '.join(TESTS)}")
    arguments = {key: value for key, value in entry["test"].items() if key != "kind"}
    try:
        inspect.signature(TESTS[kind]).bind(None, **arguments)
    except TypeError as error:
        raise InputError(f"{where}: test", str(error), f"the arguments of {kind}") from None
    _check_values(arguments, get_type_hints(TESTS[kind]), f"{where}: test")
    needs = entry.get("needs", {})
    if not isinstance(needs, dict) or set(needs) - set(_NEEDS):
        found = ", ".join(map(str, needs)) if isinstance(needs, dict) else repr(needs)
        raise InputError(f"{where}: needs", found, f"a mapping with keys of {', '.join(_NEEDS)}")
    _check_values(needs, _NEEDS, f"{where}: needs")
    return Claim(
        identifier=entry["id"],
        about=entry["about"],
        group=entry["group"],
        says=entry["says"],
        source=entry["source"],
        test=dict(entry["test"]),
        needs=dict(needs),
    )


def _check_values(values: Mapping[str, Any], kinds: Mapping[str, Any], where: str) -> None:
    """Raise InputError unless each value has its type (a key of _KINDS) and, where there is a choice, is one of it."""
    for key, value in values.items():
        if not _is(kinds[key], value):
            raise InputError(f"{where}: {key}", repr(value), _KINDS[kinds[key]])
        if key in _CHOICES and value not in _CHOICES[key]:
            raise InputError(f"{where}: {key}", repr(value), f"one of {', '.join(_CHOICES[key])}")


def _is(kind: Any, value: Any) -> bool:
    if kind == list[str]:
        return isinstance(value, list) and all(_is(str, item) for item in value)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind and (kind is bool or (value >= 0 if kind is int else bool(value.strip())))


def _judge_claim(claim: Claim, evidence: Evidence) -> Outcome:
    test = TESTS[claim.test["kind"]]
    missing = _missing(claim, evidence)
    if missing:
        return Outcome("", Verdict.NOT_TESTABLE, f"Needs {'; '.join(missing)}.")
    if test in EFFECTS and (why := untrained(evidence) or _without_encoder_gain(claim, evidence)):
        return Outcome("", Verdict.NOT_TESTABLE, why)
    found = test(evidence, **{key: value for key, value in claim.test.items() if key != "kind"})
    if test in EFFECTS and found.verdict is Verdict.CONTRADICTED and (why := _too_short(claim, evidence)):
        return replace(found, verdict=Verdict.UNDECIDED, why=f"{found.why} {why}")
    return found


def untrained(evidence: Evidence) -> str:
    """Return why this run cannot test any effect (its reference loses to lane following), or an empty text."""
    measured = evidence.measured
    lost = measured.losses(measured.reference).get(LANE_FOLLOWING) if measured.variants else None
    if not lost:
        return ""
    metrics = listed([metric(name).label for name in lost])
    return (
        f"Without pre-training the model loses to lane following in {metrics}, so it is no basis for comparisons: it "
        "was trained too little, or its forecasts are selected badly (section evaluate)."
    )


def _too_short(claim: Claim, evidence: Evidence) -> str:
    """Return why this run cannot contradict the claim (pre-training was too short), or an empty text."""
    lost = _labels_of_claim(claim, evidence.undertrained)
    return lost and (
        f"Not counted as contradicted: simple predictors still reconstruct better ({lost}), "
        "so that longer pre-training may have an effect."
    )


def _labels_of_claim(claim: Claim, variants: Collection[str]) -> str:
    """Return the labels of those of the given variants that a claim is about.

    The text is empty for a claim about the spread over seeds, which concerns the reference alone.
    """
    if claim.test["kind"] == "exceeds_seed_spread":
        return ""
    named = dict.fromkeys([claim.test["variant"], *claim.test.get("among", [])])
    return listed([label_of(name) for name in named if name in variants])


def _without_encoder_gain(claim: Claim, evidence: Evidence) -> str:
    """Return why this run cannot judge the claim (pre-training hardly trained the encoder), or an empty text."""
    lost = _labels_of_claim(claim, evidence.without_encoder_gain)
    return lost and f"Pre-training hardly trained the encoder: the decoder does as well without it ({lost})."


def _missing(claim: Claim, evidence: Evidence) -> list[str]:
    """Return what the claim needs and this run does not have, in words."""
    measured, needs = evidence.measured, claim.needs
    missing = []
    if "source" in needs and measured.source != needs["source"]:
        missing.append(f"{short_source(needs['source'])} (this run: {short_source(measured.source)})")
    if "val_scenes" in needs and measured.validation != OFFICIAL:
        missing.append(f"the official validation scenes (this run: {measured.validation})")
    for key, found, what in (
        ("train_scenes", measured.train_scenes, "train scenes"),
        ("val_scenes", measured.scene_count, "validation scenes"),
        ("seeds", len(measured.seeds), "seeds"),
    ):
        if found < needs.get(key, 0):
            missing.append(f"{needs[key]:,} {what} (this run: {found:,})")
    if "none" in needs.get("variants", []) and "none" in measured.variants and measured.reference != "none":
        missing.append(f"{label_of('none')} as the baseline (this run: {label_of(measured.reference)})")
    absent = [label_of(variant) for variant in needs.get("variants", []) if variant not in measured.variants]
    if absent:
        missing.append(f"{listed(absent)} (not in this run)")
    return missing
