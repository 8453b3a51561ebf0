"""The paper's effects, judged on the study: the claims of claims.yaml that name a variant of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from studies.argoverse1_folds.analysis import compare
from studies.argoverse1_folds.plan import ALL_SCENES, SCRATCH, Comparison, Plan
from studies.argoverse1_folds.results import Results
from studies.argoverse1_folds.statistics import Difference
from synthdrive.reporting.claim_tests import effect_verdict
from synthdrive.reporting.claims import Claim
from synthdrive.reporting.evidence import Published, Verdict

LOWERS = "lowers"  # kind of the tests that compare one variant with training from scratch
NOT_YET = "not run yet"
RULE = (
    "Changes with all training scenes, relative to training from scratch. A claim is supported if the 95 % interval "
    "lies below 0; contradicted if it lies above 0, or contains 0 but not the published change; otherwise undecided."
)


@dataclass(frozen=True)
class JudgedEffect:
    """A claim about a variant of the plan.

    Attributes:
        says: the claim, with its published number.
        difference: the variant against training from scratch, both on all training scenes; None if not run yet.
        verdict: None if not run yet.
    """

    says: str
    difference: Difference | None
    verdict: Verdict | None


def judge_effects(claims: Sequence[Claim], results: Results, plan: Plan, published: Published) -> list[JudgedEffect]:
    """Judge, in the ledger's order, the claims that a variant of the plan lowers an error.

    The verdicts follow the report's rule (`claim_tests.effect_verdict`), without its exceptions for runs that have too
    little encoder gain or are undertrained.
    """
    judged = []
    for claim in claims:
        if claim.test["kind"] != LOWERS or claim.test["variant"] not in plan.variants:
            continue
        variant, metric = str(claim.test["variant"]), str(claim.test["metric"])
        test = Comparison(variant, ALL_SCENES, SCRATCH, ALL_SCENES)
        found = compare(results, test, metric, plan) if results.runs else None
        change = published.change(variant, metric)
        verdict = None if found is None else effect_verdict(found.relative_low, found.relative_high, change)
        judged.append(JudgedEffect(published.fill(claim.says), found, verdict))
    return judged


def effect_rows(judged: Sequence[JudgedEffect]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of judged effects."""
    rows = []
    for effect in judged:
        found = effect.difference
        if found is None:
            rows.append([effect.says, NOT_YET, "", ""])
            continue
        rows.append([effect.says, found.relative_text, str(effect.verdict), f"{found.detectable:.1f} %"])
    return ["claim", "change measured here", "verdict", "smallest detectable change"], rows
