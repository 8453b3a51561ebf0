"""Tests of the claims ledger: the verdicts on the paper's effects and sizes."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fake_run import CLAIMS

from repository import REPOSITORY
from synthdrive.core.errors import InputError
from synthdrive.reporting.claims import Claim, judge, load_claims
from synthdrive.reporting.content import undertrained, without_encoder_gain
from synthdrive.reporting.evidence import Evidence, GradientCheck, MotionEvidence, Published, Verdict
from synthdrive.reporting.measurements import Difference, Measurements, VariantErrors
from synthdrive.reporting.wording import HEADLINE
from synthdrive.synthesis.motion import MotionDistributions

FULL = {"source": "argoverse1", "scene_count": 39472, "train_scenes": 205942}


def motion(speed: float, turn: float) -> MotionDistributions:
    values = np.linspace(0.5, 1.0, 101)
    return MotionDistributions(values * speed, values, values, values, values * turn)


def measurements(factor: float, seeds: int = 3, **changes: Any) -> Measurements:
    """`combined` has `factor` times the errors of `none`, a little different in every seed."""
    random = np.random.default_rng(0)
    base = random.uniform(0.8, 1.2, (1, 400)) + random.normal(0, 0.01, (seeds, 1))
    names = tuple(range(seeds))

    def variant(name: str, fraction: float) -> VariantErrors:
        scenes = dict.fromkeys(HEADLINE, base * fraction + random.normal(0, 0.01, base.shape))
        return VariantErrors(name, names, scenes)

    variants = {"none": variant("none", 1.0), "combined": variant("combined", factor)}
    given = {
        "source": "sample", "scene_count": 400, "train_scenes": 2000, "windows": 400_000, "windows_augmented": 180_000,
        "seeds": names, "variants": variants, "baselines": {}, "samples": 300,
    }  # fmt: skip
    return Measurements(**given | changes)


@pytest.fixture(scope="module")
def published() -> Published:
    return Published.load(REPOSITORY / "published.yaml")


def evidence(published: Published, measured: Measurements | None = None) -> Evidence:
    return Evidence(
        measured=measured or measurements(0.9),
        published=published,
        motion=MotionEvidence(motion(10.0, np.radians(60)), motion(20.0, np.radians(20)), 101, 101, {}, 50),
        gradient={False: GradientCheck(32, 0), True: GradientCheck(32, 32)},
    )


def verdict(published: Published, test: dict[str, Any], given: Evidence, **needs: Any) -> Verdict:
    (judged,) = judge([Claim("one", "effects", "group", "says", "source", test, needs)], given)
    return judged.outcome.verdict


def test_an_effect_needs_the_variant_without_pretraining_as_the_baseline(published: Published) -> None:
    test = {"kind": "lowers", "variant": "combined", "metric": "MR6"}
    measured = measurements(0.9)
    other = replace(measured, variants={"other": measured.variants["none"], **measured.variants})
    needs = {"variants": ["none", "combined"]}
    assert verdict(published, test, evidence(published, measured), **needs) == Verdict.SUPPORTED
    assert verdict(published, test, evidence(published, other), **needs) == Verdict.NOT_TESTABLE


def test_every_claim_of_the_repository_is_judged(published: Published) -> None:
    claims = load_claims(REPOSITORY / "claims.yaml")
    judged = judge(claims, evidence(published))
    assert len(judged) == len(claims) >= 20
    assert all("{" not in entry.says for entry in judged)
    assert all(entry.outcome.why for entry in judged)
    assert {"Pre-training lowers the error", "The synthetic data"} <= {claim.group for claim in claims}


def test_the_ledger_contains_no_verdicts() -> None:
    text = (REPOSITORY / "claims.yaml").read_text().split("claims:", 1)[1]
    assert "verdict" not in text
    assert not any(str(word) in text for word in Verdict)


LOWERS = {"kind": "lowers", "variant": "combined", "metric": "minFDE6"}  # published: -3.04 %


def noisy(factor: float, noise: float) -> Measurements:
    """Like `measurements`, with `noise` between the seeds of `combined`."""
    measured = measurements(factor)
    combined = measured.variants["combined"]
    offsets = noise * np.array([[-1.0], [0.0], [1.0]])
    scenes = {name: values + offsets for name, values in combined.scenes.items()}
    return replace(measured, variants={**measured.variants, "combined": replace(combined, scenes=scenes)})


@pytest.mark.parametrize(("factor", "noise", "expected"), [
    (0.9, 0.0, Verdict.SUPPORTED),  # the interval lies below 0
    (1.1, 0.0, Verdict.CONTRADICTED),  # the interval lies above 0
    (1.0, 0.0, Verdict.CONTRADICTED),  # it contains 0 but not the published change
    (0.98, 0.05, Verdict.UNDECIDED),  # it contains both
])  # fmt: skip
def test_an_effect_is_judged_by_its_interval(
    published: Published, factor: float, noise: float, expected: Verdict
) -> None:
    given = evidence(published, noisy(factor, noise))
    (judged,) = judge([Claim("one", "effects", "g", "s", "s", LOWERS)], given)
    assert judged.outcome.verdict == expected
    detectable = given.measured.difference("combined", "none", "minFDE6").detectable_text
    assert (f"80 % power): {detectable}" in judged.outcome.why) == ("contains 0" in judged.outcome.why)


def test_an_effect_without_published_change_is_undecided_if_the_interval_contains_zero(published: Published) -> None:
    measured = measurements(1.0)
    variants = {"none": measured.variants["none"], "as_released": measured.variants["combined"]}
    given = evidence(published, replace(measured, variants=variants))
    assert verdict(published, LOWERS | {"variant": "as_released"}, given) == Verdict.UNDECIDED


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_smallest_detectable_change_is_detected_in_four_of_five_repetitions(seeds: int) -> None:
    random = np.random.default_rng(1)
    base = np.full((seeds, 200), 10.0)

    def difference(change: float) -> Difference:
        errors = base + change + random.normal(0, 0.4, (seeds, 1)) + random.normal(0, 1.0, (1, 200))
        return Difference.of(errors, base, 100, 0)

    detectable = float(np.mean([difference(0.0).detectable for _ in range(100)])) / 100 * 10.0  # per cent of 10
    detected = np.mean([difference(-detectable).direction == "lower" for _ in range(200)])
    assert 0.68 < detected < 0.92


def test_claims_that_need_missing_runs_are_not_testable(published: Published) -> None:
    test = {"kind": "lowers", "variant": "map", "metric": "minFDE6"}
    given = evidence(published)
    (judged,) = judge([Claim("one", "effects", "g", "s", "s", test, {"variants": ["none", "map"], "seeds": 5})], given)
    assert judged.outcome.verdict == Verdict.NOT_TESTABLE
    assert "Map reconstruction" in judged.outcome.why
    assert "5 seeds (this run: 3)" in judged.outcome.why


@pytest.mark.parametrize(("error", "expected"), [(0.8, Verdict.NOT_TESTABLE), (1.3, Verdict.SUPPORTED)])
def test_a_run_whose_baseline_loses_to_lane_following_decides_no_effect(
    published: Published, error: float, expected: Verdict
) -> None:
    floor = VariantErrors("lane_following", (), {name: np.full((1, 400), error) for name in HEADLINE})
    given = evidence(published, replace(measurements(0.9), baselines={"lane_following": floor}))
    best = {"kind": "best", "variant": "combined", "metric": "minFDE6", "among": ["none", "combined"]}
    assert verdict(published, LOWERS, given) == expected
    assert verdict(published, best, given) == expected
    assert verdict(published, {"kind": "table_arithmetic", "tolerance": 0.02}, given) == Verdict.SUPPORTED


def test_effect_sizes_are_judged_only_on_the_papers_data(published: Published) -> None:
    fraction = 1 + published.values["table_changes"]["combined"]["minFDE6"] / 100
    test = {"kind": "size", "variant": "combined"}
    needs = {"source": "argoverse1", "train_scenes": 200_000, "val_scenes": 39_000}
    assert verdict(published, test, evidence(published, measurements(fraction)), **needs) == Verdict.NOT_TESTABLE
    measured = measurements(fraction, **FULL)
    outcome = judge([Claim("one", "effects", "g", "s", "s", test, needs)], evidence(published, measured))[0].outcome
    assert outcome.verdict == Verdict.CONTRADICTED  # one factor cannot give all three published changes
    assert "minFDE6" not in outcome.why
    assert "minADE6" in outcome.why


def test_claims_about_the_validation_scenes_need_the_official_ones(published: Published) -> None:
    claim = Claim("one", "effects", "g", "s", "s", LOWERS, {"val_scenes": 39_000})
    outcomes = []
    for validation in ("official", "held_out"):
        (judged,) = judge([claim], evidence(published, measurements(0.9, **FULL, validation=validation)))
        outcomes.append(judged.outcome)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.SUPPORTED, Verdict.NOT_TESTABLE]
    assert "the official validation scenes (this run: held_out)" in outcomes[1].why


def test_an_effect_size_is_undecided_if_the_baseline_is_too_uncertain(published: Published) -> None:
    measured = measurements(0.95, seeds=2, **FULL)
    offsets = np.array([[0.6], [-0.6]])
    variants = {
        name: replace(variant, scenes={metric: values + offsets for metric, values in variant.scenes.items()})
        for name, variant in measured.variants.items()
    }
    test = {"kind": "size", "variant": "combined"}
    assert verdict(published, test, evidence(published, measured)) == Verdict.CONTRADICTED
    assert verdict(published, test, evidence(published, replace(measured, variants=variants))) == Verdict.UNDECIDED


def test_best_variant_must_be_better_beyond_uncertainty(published: Published) -> None:
    test = {"kind": "best", "variant": "combined", "metric": "minADE6", "among": ["none", "combined"]}
    assert verdict(published, test, evidence(published, measurements(0.9))) == Verdict.SUPPORTED
    assert verdict(published, test, evidence(published, measurements(1.0))) == Verdict.UNDECIDED
    assert verdict(published, test, evidence(published, measurements(1.1))) == Verdict.CONTRADICTED


def test_two_swapped_metrics_in_the_abstract_are_detected(published: Published) -> None:
    test = {"kind": "abstract_matches_table", "row": "trajectory", "tolerance": 0.02}
    outcome = judge([Claim("one", "effects", "g", "s", "s", test)], evidence(published))[0].outcome
    assert outcome.verdict == Verdict.CONTRADICTED
    assert "swapped" in outcome.why
    assert "minADE6" in outcome.why
    right = published.values["abstract"] | {"minADE6": -8.30, "minFDE6": -3.84}
    corrected = Published(published.values | {"abstract": right})
    assert verdict(corrected, test, evidence(corrected)) == Verdict.SUPPORTED


def test_a_wrong_change_in_the_published_table_is_detected(published: Published) -> None:
    test = {"kind": "table_arithmetic", "tolerance": 0.02}
    assert verdict(published, test, evidence(published)) == Verdict.SUPPORTED
    changes = published.values["table_changes"]
    wrong = Published(published.values | {"table_changes": changes | {"map": changes["map"] | {"MR6": -6.0}}})
    assert verdict(wrong, test, evidence(wrong)) == Verdict.CONTRADICTED


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"kind": "encoder_gradient", "decoder_sees_encoder": False}, Verdict.CONTRADICTED),
        ({"kind": "encoder_gradient", "decoder_sees_encoder": True}, Verdict.SUPPORTED),
        ({"kind": "fraction_compared", "quantity": "speed", "above": 12.0, "unit": "m/s", "expected": "less"},
         Verdict.SUPPORTED),
        ({"kind": "fraction_compared", "quantity": "heading_change", "above": 40.0, "unit": "degrees",
          "expected": "less"},
         Verdict.CONTRADICTED),
        ({"kind": "same_values", "row": "combined", "other": "evaluation_log"}, Verdict.SUPPORTED),
        ({"kind": "same_values", "row": "map", "other": "evaluation_log"}, Verdict.CONTRADICTED),
        ({"kind": "headline_row", "row": "combined", "tolerance": 0.02}, Verdict.CONTRADICTED),
        ({"kind": "headline_row", "row": "trajectory", "tolerance": 0.02}, Verdict.SUPPORTED),
        ({"kind": "no_worse_than", "row": "none", "other": "densetnt", "metric": "minADE6", "tolerance": 0.01},
         Verdict.CONTRADICTED),
        ({"kind": "improves_on", "row": "combined", "other": "densetnt", "metric": "minADE6", "tolerance": 0.01},
         Verdict.CONTRADICTED),
        ({"kind": "exceeds_seed_spread", "variant": "trajectory", "metric": "minFDE6"}, Verdict.SUPPORTED),
    ],
)  # fmt: skip
def test_each_kind_of_test_gives_the_expected_verdict(
    published: Published, test: dict[str, Any], expected: Verdict
) -> None:
    assert verdict(published, test, evidence(published)) == expected


def test_fractions_within_sampling_noise_are_undecided(published: Published) -> None:
    test = {
        "kind": "fraction_compared",
        "quantity": "heading_change",
        "above": 40.0,
        "unit": "degrees",
        "expected": "more",
    }
    given = evidence(published)
    near = replace(
        given, motion=MotionEvidence(motion(10.0, np.radians(43)), motion(20.0, np.radians(42)), 101, 101, {}, 50)
    )
    assert verdict(published, test, near) == Verdict.UNDECIDED
    assert verdict(published, test, given) == Verdict.SUPPORTED


def test_seed_spread_larger_than_the_published_change_contradicts_the_claim(published: Published) -> None:
    measured = measurements(0.9)
    offsets = np.array([[-0.01], [0.0], [0.01]])
    scenes = {name: 1.0 + offsets + np.zeros((3, 400)) for name in HEADLINE}
    none = replace(measured.variants["none"], scenes=scenes)
    given = evidence(published, replace(measured, variants={**measured.variants, "none": none}))
    test = {"kind": "exceeds_seed_spread", "variant": "trajectory", "metric": "minFDE6"}
    assert verdict(published, test, given) == Verdict.CONTRADICTED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": {"kind": "magic"}}, "test.kind"),
        ({"test": {"kind": "lowers", "variant": "map"}}, "missing a required argument: 'metric'"),
        ({"needs": {"moon": "full"}}, "moon"),
        ({"verdict": "supported"}, "keys"),
        ({"about": "weather"}, "about"),
        ({"says": None}, "says: found None"),
        ({"group": ""}, "group: found ''"),
        ({"needs": None}, "needs: found None"),
        ({"needs": ["seeds"]}, "needs: found"),
        ({"needs": {"seeds": "2"}}, "needs: seeds: found '2'; expected a whole number"),
        ({"needs": {"variants": "map"}}, "needs: variants: found 'map'; expected a list"),
        ({"test": {"kind": ["lowers"]}}, "test.kind: found"),
        ({"test": None}, "test.kind: found"),
        (
            {"test": {"kind": "lowers", "variant": "map", "metric": "minFDE7"}},
            "metric: found 'minFDE7'; expected one of",
        ),
        ({"test": {"kind": "lowers", "variant": ["map"], "metric": "MR6"}}, "test: variant: found"),
        ({"test": {"kind": "table_arithmetic", "tolerance": float("nan")}}, "tolerance: found nan; expected a number"),
        ({"test": {"kind": "encoder_gradient", "decoder_sees_encoder": "no"}}, "expected true or false"),
    ],
)
def test_invalid_ledger_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump({"claims": [dict(CLAIMS[0]) | change]}))
    with pytest.raises(InputError, match=message):
        load_claims(tmp_path / "claims.yaml")


def test_duplicate_claim_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump({"claims": [dict(CLAIMS[0]), dict(CLAIMS[0])]}))
    with pytest.raises(InputError, match="a second 'combined-lowers'"):
        load_claims(tmp_path / "claims.yaml")


def test_statement_with_an_unknown_field_is_refused(published: Published) -> None:
    with pytest.raises(InputError, match="cannot be filled"):
        published.fill("{table.map.mAP:.1f}")


def test_published_file_without_a_number_is_refused(published: Published, tmp_path: Path) -> None:
    table = dict(published.values["table"]) | {"map": {"MR6": 9.2}}
    (tmp_path / "published.yaml").write_text(yaml.safe_dump(dict(published.values) | {"table": table}))
    with pytest.raises(InputError, match=r"table\.map"):
        Published.load(tmp_path / "published.yaml")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("abstract.MR6", None, "abstract: found no number MR6"),
        ("table.none", None, "table: found no row 'none'"),
        ("table.map", "null", r"table\.map: found no number MR6"),
        ("table.combined.minFDE6", float("nan"), r"table\.combined\.minFDE6: found nan"),
        ("table.none.MR6", True, r"table\.none: found no number MR6"),
        ("table_changes.forecast", {"MR6": 1.0, "minFDE6": 1.0, "minADE6": 1.0}, "no row 'forecast'"),
        ("other.densetnt.label", None, r"other\.densetnt: found no text label"),
        ("data.train_scenes", None, "data: found no number train_scenes"),
        ("data.source", None, "data: found no text source"),
        ("paper.title", None, "paper: found no text title"),
        ("settings.hidden_size", "wide", "settings: found no number hidden_size"),
        ("motion.max_lane_distance", float("inf"), r"motion\.max_lane_distance: found inf"),
    ],
)
def test_incomplete_published_file_is_refused_with_its_key(
    published: Published, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    """A value of None removes the key, "null" empties it."""
    values = deepcopy(dict(published.values))
    *sections, name = key.split(".")
    section = values
    for one in sections:
        section = section[one]
    section[name] = None if value == "null" else value
    if value is None:
        del section[name]
    (tmp_path / "published.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=message):
        Published.load(tmp_path / "published.yaml")


def test_claims_are_not_testable_if_the_decoder_does_not_need_the_encoder(published: Published) -> None:
    needed, ignored = {"loss": 0.5, "blind": 0.6, "gain": 1.0 / 6.0}, {"loss": 0.59, "blind": 0.6, "gain": 1.0 / 60.0}
    tasks = {"map": {"lanes": ignored}, "combined": {"lanes": ignored, "trajectory": needed}}
    assert without_encoder_gain(tasks, 0.05) == {"map"}
    assert without_encoder_gain(tasks, 0.01) == frozenset()
    given = replace(evidence(published), without_encoder_gain=frozenset({"map"}))
    lowers = {"kind": "lowers", "metric": "minFDE6"}
    assert verdict(published, lowers | {"variant": "map"}, given) == Verdict.NOT_TESTABLE
    assert verdict(published, lowers | {"variant": "combined"}, given) != Verdict.NOT_TESTABLE
    among = {"kind": "best", "variant": "combined", "metric": "minFDE6", "among": ["none", "map", "combined"]}
    assert verdict(published, among, given) == Verdict.NOT_TESTABLE


def test_pre_training_worse_than_simple_predictors_cannot_contradict_a_claim(published: Published) -> None:
    lanes = {"loss": 0.5, "straight": 0.4, "repeat": 4.0, "zero": 10.0, "blind": 0.6, "gain": 1.0 / 6.0}
    assert undertrained({"map": {"lanes": lanes}, "combined": {"lanes": lanes | {"loss": 0.3}}}) == {"map"}
    given = evidence(published, measurements(1.1))
    assert verdict(published, LOWERS, given) == Verdict.CONTRADICTED
    assert verdict(published, LOWERS, replace(given, undertrained=frozenset({"combined"}))) == Verdict.UNDECIDED
