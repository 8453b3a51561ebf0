from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fake_run import CLAIMS, REPOSITORY

from synthdrive.core.errors import InputError
from synthdrive.reporting.claim_outcome import Evidence, Verdict
from synthdrive.reporting.claims import Claim, judge, load_claims
from synthdrive.reporting.encoder_gradient import GradientCheck
from synthdrive.reporting.measurements import Measurements, VariantErrors
from synthdrive.reporting.metric_names import HEADLINE
from synthdrive.reporting.published import Published
from synthdrive.synthesis.windows import MotionDistributions

FULL = {"source": "argoverse1", "scene_count": 39472, "train_scenes": 205942}


def motion(speed: float, turn: float) -> MotionDistributions:
    values = np.linspace(0.5, 1.0, 101)
    return MotionDistributions(values * speed, values, values, values, values * turn)


def measurements(factor: float, seeds: int = 3, **changes: Any) -> Measurements:
    """`combined` has `factor` times the errors of `none`, a little different in every seed."""
    random = np.random.default_rng(0)
    base = random.uniform(0.8, 1.2, (1, 400)) + random.normal(0, 0.01, (seeds, 1))
    names = tuple(range(seeds))

    def variant(name: str, share: float) -> VariantErrors:
        scenes = dict.fromkeys(HEADLINE, base * share + random.normal(0, 0.01, base.shape))
        return VariantErrors(name, names, scenes, {metric: values.mean(axis=1) for metric, values in scenes.items()})

    variants = {"none": variant("none", 1.0), "combined": variant("combined", factor)}
    given = {"source": "sample", "scene_count": 400, "train_scenes": 2000, "windows": 400_000,
             "windows_augmented": 180_000, "seeds": names, "variants": variants, "baselines": {}, "samples": 300}  # fmt: skip
    return Measurements(**given | changes)


@pytest.fixture(scope="module")
def published() -> Published:
    return Published.load(REPOSITORY / "published.yaml")


def evidence(published: Published, measured: Measurements | None = None) -> Evidence:
    return Evidence(
        measured=measured or measurements(0.9),
        published=published,
        synthetic=motion(10.0, np.radians(60)),
        recorded=motion(20.0, np.radians(20)),
        max_lane_distance=np.array([0.3, 1.2]),
        gradient={False: GradientCheck(32, 0), True: GradientCheck(32, 32)},
    )


def verdict(published: Published, test: dict[str, Any], given: Evidence, **needs: Any) -> Verdict:
    (judged,) = judge([Claim("one", "group", "says", "source", test, needs)], given)
    return judged.outcome.verdict


def test_ledger_of_the_repository_is_read_and_judged_whole(published: Published) -> None:
    claims = load_claims(REPOSITORY / "claims.yaml")
    judged = judge(claims, evidence(published))
    assert len(judged) == len(claims) >= 25
    assert all("{" not in entry.says for entry in judged)
    assert all(entry.outcome.why for entry in judged)
    assert {"Pre-training lowers the error", "The synthetic data"} <= {claim.group for claim in claims}


def test_no_verdict_is_typed_into_the_ledger() -> None:
    text = (REPOSITORY / "claims.yaml").read_text().split("claims:", 1)[1]
    assert "verdict" not in text
    assert not any(str(word) in text for word in Verdict)


@pytest.mark.parametrize(("factor", "expected"), [(0.9, Verdict.REPRODUCED), (1.0, Verdict.NOT_REPRODUCED),
                                                  (1.1, Verdict.NOT_REPRODUCED)])  # fmt: skip
def test_lower_error_is_reproduced_only_where_the_interval_says_so(
    published: Published, factor: float, expected: Verdict
) -> None:
    test = {"kind": "lowers", "variant": "combined", "metric": "minFDE6"}
    assert verdict(published, test, evidence(published, measurements(factor))) == expected


def test_what_was_not_run_is_not_testable(published: Published) -> None:
    test = {"kind": "lowers", "variant": "map", "metric": "minFDE6"}
    given = evidence(published)
    (judged,) = judge([Claim("one", "g", "s", "s", test, {"variants": ["none", "map"], "seeds": 5})], given)
    assert judged.outcome.verdict == Verdict.NOT_TESTABLE
    assert "Map reconstruction" in judged.outcome.why
    assert "5 seeds (this run: 3)" in judged.outcome.why


def test_variants_of_a_run_that_has_not_learned_are_not_compared(published: Published) -> None:
    measured = measurements(0.9)
    floor = VariantErrors(
        "constant_velocity", (), *[{name: np.full(shape, 0.8) for name in HEADLINE} for shape in ((1, 400), 1)]
    )
    given = evidence(published, replace(measured, baselines={"constant_velocity": floor}))
    for test in (
        {"kind": "lowers", "variant": "combined", "metric": "minFDE6"},
        {"kind": "best", "variant": "combined", "metric": "minFDE6", "among": ["none", "combined"]},
    ):
        assert verdict(published, test, given) == Verdict.NOT_TESTABLE
        assert verdict(published, test, evidence(published, measured)) == Verdict.REPRODUCED


def test_sizes_need_the_papers_data(published: Published) -> None:
    share = 1 + published.values["table_changes"]["combined"]["minFDE6"] / 100
    test = {"kind": "size", "variant": "combined"}
    needs = {"source": "argoverse1", "train_scenes": 200_000, "val_scenes": 39_000}
    assert verdict(published, test, evidence(published, measurements(share)), **needs) == Verdict.NOT_TESTABLE
    measured = measurements(share, **FULL)
    outcome = judge([Claim("one", "g", "s", "s", test, needs)], evidence(published, measured))[0].outcome
    assert outcome.verdict == Verdict.NOT_REPRODUCED  # one factor cannot give all three published changes
    assert "minFDE6" not in outcome.why
    assert "minADE6" in outcome.why


def test_a_size_is_not_judged_where_the_baseline_is_too_uncertain_for_a_share_of_it(published: Published) -> None:
    measured = measurements(0.95, seeds=2, **FULL)
    apart = np.array([[0.6], [-0.6]])
    variants = {
        name: replace(variant, scenes={metric: values + apart for metric, values in variant.scenes.items()})
        for name, variant in measured.variants.items()
    }
    test = {"kind": "size", "variant": "combined"}
    assert verdict(published, test, evidence(published, measured)) == Verdict.NOT_REPRODUCED
    assert verdict(published, test, evidence(published, replace(measured, variants=variants))) == Verdict.NOT_TESTABLE


def test_best_variant_must_be_clear_of_the_others(published: Published) -> None:
    test = {"kind": "best", "variant": "combined", "metric": "minADE6", "among": ["none", "combined"]}
    assert verdict(published, test, evidence(published, measurements(0.9))) == Verdict.REPRODUCED
    assert verdict(published, test, evidence(published, measurements(1.0))) == Verdict.NOT_REPRODUCED
    assert verdict(published, test, evidence(published, measurements(1.1))) == Verdict.NOT_REPRODUCED


def test_abstract_is_found_to_have_two_metrics_swapped(published: Published) -> None:
    test = {"kind": "abstract_matches_table", "row": "trajectory", "tolerance": 0.02}
    outcome = judge([Claim("one", "g", "s", "s", test)], evidence(published))[0].outcome
    assert outcome.verdict == Verdict.NOT_REPRODUCED
    assert "swapped" in outcome.why
    assert "minADE6" in outcome.why
    right = published.values["abstract"] | {"minADE6": -8.30, "minFDE6": -3.84}
    mended = Published(published.values | {"abstract": right})
    assert verdict(mended, test, evidence(mended)) == Verdict.REPRODUCED


def test_table_arithmetic_notices_a_wrong_change(published: Published) -> None:
    test = {"kind": "table_arithmetic", "tolerance": 0.02}
    assert verdict(published, test, evidence(published)) == Verdict.REPRODUCED
    changes = published.values["table_changes"]
    wrong = Published(published.values | {"table_changes": changes | {"map": changes["map"] | {"MR6": -6.0}}})
    assert verdict(wrong, test, evidence(wrong)) == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"kind": "encoder_gradient", "decoder_sees_encoder": False, "expected": "all"}, Verdict.NOT_REPRODUCED),
        ({"kind": "encoder_gradient", "decoder_sees_encoder": True, "expected": "all"}, Verdict.REPRODUCED),
        ({"kind": "encoder_gradient", "decoder_sees_encoder": False, "expected": "none"}, Verdict.REPRODUCED),
        ({"kind": "share_compared", "quantity": "speed", "above": 12.0, "unit": "m/s", "expected": "less"},
         Verdict.REPRODUCED),
        ({"kind": "share_compared", "quantity": "heading_change", "above": 40.0, "unit": "degrees", "expected": "less"},
         Verdict.NOT_REPRODUCED),
        ({"kind": "lane_distance"}, Verdict.REPRODUCED),
        ({"kind": "speed_range", "tolerance": 1.0}, Verdict.REPRODUCED),
        ({"kind": "window_count", "tolerance": 0.1}, Verdict.REPRODUCED),
        ({"kind": "same_values", "row": "combined", "other": "evaluation_log"}, Verdict.REPRODUCED),
        ({"kind": "same_values", "row": "map", "other": "evaluation_log"}, Verdict.NOT_REPRODUCED),
        ({"kind": "headline_row", "row": "combined", "tolerance": 0.02}, Verdict.NOT_REPRODUCED),
        ({"kind": "headline_row", "row": "trajectory", "tolerance": 0.02}, Verdict.REPRODUCED),
        ({"kind": "no_worse_than", "row": "none", "other": "densetnt", "metric": "minADE6", "tolerance": 0.01},
         Verdict.NOT_REPRODUCED),
        ({"kind": "improves_on", "row": "combined", "other": "densetnt", "metric": "minADE6", "tolerance": 0.01},
         Verdict.NOT_REPRODUCED),
        ({"kind": "exceeds_seed_spread", "variant": "trajectory", "metric": "minFDE6"}, Verdict.REPRODUCED),
    ],
)  # fmt: skip
def test_each_test_decides(published: Published, test: dict[str, Any], expected: Verdict) -> None:
    assert verdict(published, test, evidence(published)) == expected


def test_shares_too_close_to_tell_are_not_judged(published: Published) -> None:
    test = {
        "kind": "share_compared",
        "quantity": "heading_change",
        "above": 40.0,
        "unit": "degrees",
        "expected": "more",
    }
    given = evidence(published)
    near = replace(given, synthetic=motion(10.0, np.radians(43)), recorded=motion(20.0, np.radians(42)))
    assert verdict(published, test, near) == Verdict.NOT_TESTABLE
    assert verdict(published, test, given) == Verdict.REPRODUCED


def test_seed_spread_beyond_the_published_change_is_told(published: Published) -> None:
    measured = measurements(0.9)
    noisy = replace(measured.variants["none"], values={name: np.array([0.99, 1.0, 1.01]) for name in HEADLINE})
    given = evidence(published, replace(measured, variants=dict(measured.variants) | {"none": noisy}))
    test = {"kind": "exceeds_seed_spread", "variant": "trajectory", "metric": "minFDE6"}
    assert verdict(published, test, given) == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": {"kind": "magic"}}, "test.kind"),
        ({"test": {"kind": "lowers", "variant": "map"}}, "missing a required argument: 'metric'"),
        ({"needs": {"moon": "full"}}, "moon"),
        ({"verdict": "reproduced"}, "keys"),
    ],
)
def test_ledger_that_cannot_be_judged_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump({"claims": [dict(CLAIMS[0]) | change]}))
    with pytest.raises(InputError, match=message):
        load_claims(tmp_path / "claims.yaml")


def test_second_claim_of_the_same_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump({"claims": [dict(CLAIMS[0]), dict(CLAIMS[0])]}))
    with pytest.raises(InputError, match="a second 'combined-lowers'"):
        load_claims(tmp_path / "claims.yaml")


def test_statement_with_an_unknown_number_is_refused(published: Published) -> None:
    with pytest.raises(InputError, match="cannot be filled"):
        published.fill("{table.map.mAP:.1f}")


def test_published_file_without_a_number_is_refused(published: Published, tmp_path: Path) -> None:
    table = dict(published.values["table"]) | {"map": {"MR6": 9.2}}
    (tmp_path / "published.yaml").write_text(yaml.safe_dump(dict(published.values) | {"table": table}))
    with pytest.raises(InputError, match=r"table\.map"):
        Published.load(tmp_path / "published.yaml")
