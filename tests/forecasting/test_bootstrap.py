"""Tests of bootstrap intervals: their coverage, and that pairing removes the variance between scenes."""

from __future__ import annotations

import numpy as np
import pytest

from synthdrive.core.errors import InputError
from synthdrive.forecasting.bootstrap import half_width, mean_intervals, paired_difference


def test_interval_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).normal(5.0, 2.0, (400, 1))
    (interval,) = mean_intervals(values, 2000, 0)
    assert interval.mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.02)
    assert interval.scenes == 400


def test_interval_covers_the_true_mean_in_about_95_percent_of_experiments():
    random = np.random.default_rng(1)
    values = random.exponential(1.0, (100, 300))  # 300 experiments of 100 scenes
    covered = sum(interval.low <= 1.0 <= interval.high for interval in mean_intervals(values, 400, 0))
    assert 0.90 <= covered / 300 <= 0.98


def test_interval_depends_only_on_values_seed_and_item():
    values = np.random.default_rng(2).random((50, 2))
    assert mean_intervals(values, 100, 3, "a") == mean_intervals(values, 100, 3, "a")
    assert mean_intervals(values, 100, 3, "a") != mean_intervals(values, 100, 3, "b")


def test_interval_does_not_depend_on_the_block_size(monkeypatch):
    values = np.random.default_rng(2).random((50, 2))
    whole = mean_intervals(values, 101, 3)
    monkeypatch.setattr("synthdrive.forecasting.bootstrap._BLOCK", 500)
    assert mean_intervals(values, 101, 3) == whole


def test_pairing_finds_a_difference_smaller_than_the_spread_over_scenes():
    random = np.random.default_rng(4)
    hard = random.exponential(3.0, (1, 300))
    baseline = hard + random.normal(0, 0.05, (2, 300))
    variant = hard - 0.1 + random.normal(0, 0.05, (2, 300))
    found = paired_difference(variant, baseline, 1000, 0)
    assert found.difference.high < 0
    assert found.with_seeds.high < 0
    assert found.difference.mean == pytest.approx(-0.1, abs=0.02)
    assert found.relative.mean == pytest.approx(-0.1 / baseline.mean(), rel=0.2)
    assert found.by_seed == pytest.approx((variant - baseline).mean(axis=1))
    (alone,) = mean_intervals(variant.mean(axis=0)[:, None], 1000, 0)
    assert alone.high - alone.low > 5 * (found.difference.high - found.difference.low)


def test_interval_with_seeds_is_wider_when_seeds_disagree():
    random = np.random.default_rng(5)
    baseline = random.random((4, 200))
    variant = baseline + np.array([-0.5, 0.5, -0.4, 0.6])[:, None]
    found = paired_difference(variant, baseline, 500, 0)
    assert found.with_seeds.high - found.with_seeds.low > 5 * (found.difference.high - found.difference.low)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(("between_seeds", "between_scenes"), [(0.3, 1.0), (0.1, 1.0), (0.0, 1.0), (0.3, 0.1)])
def test_interval_with_seeds_covers_the_true_mean_in_95_percent_of_experiments(seeds, between_seeds, between_scenes):
    random = np.random.default_rng(8)
    covered = []
    for _ in range(2000):
        effect = random.normal(0, between_seeds, (seeds, 1)) + random.normal(0, between_scenes, (1, 120))
        values = effect + random.normal(0, 1.0, (seeds, 120))
        covered.append(abs(values.mean()) <= half_width(values))
    assert np.mean(covered) >= 0.935  # higher if seeds do not differ, which so few seeds cannot show


def test_relative_interval_covers_the_true_ratio():
    random = np.random.default_rng(9)
    covered, trials = 0, 300
    for _ in range(trials):
        baseline = 2.0 + random.normal(0, 0.05, (4, 1)) + random.exponential(1.0, (1, 100)) + random.random((4, 100))
        variant = 0.8 * baseline + random.normal(0, 0.05, (4, 1)) + random.normal(0, 0.3, (4, 100))
        relative = paired_difference(variant, baseline, 10, 0).relative
        covered += relative.low <= -0.2 <= relative.high
    assert 0.925 <= covered / trials <= 0.99


def test_relative_interval_excludes_zero_exactly_if_the_difference_interval_does():
    random = np.random.default_rng(10)
    significant_count = 0
    for _ in range(200):
        baseline = 2.0 + random.normal(0, 0.2, (3, 1)) + random.exponential(1.0, (1, 60)) + random.random((3, 60))
        variant = baseline - 0.15 + random.normal(0, 0.05, (3, 1)) + random.normal(0, 0.3, (3, 60))
        found = paired_difference(variant, baseline, 10, 0)
        assert found.relative.low < found.relative.mean < found.relative.high
        significant = found.with_seeds.high < 0 or found.with_seeds.low > 0
        assert significant == (found.relative.high < 0 or found.relative.low > 0)
        significant_count += significant
    assert 20 < significant_count < 180


def test_relative_interval_is_nan_if_the_baseline_may_be_zero():
    random = np.random.default_rng(11)
    baseline = np.array([[0.01], [2.0]]) + random.random((2, 40))
    found = paired_difference(baseline - 0.5, baseline, 10, 0)
    assert np.isfinite([found.with_seeds.low, found.relative.mean]).all()
    assert np.isnan([found.relative.low, found.relative.high]).all()


def test_difference_of_a_variant_from_itself_is_zero():
    values = np.random.default_rng(6).random((3, 40))
    found = paired_difference(values, values, 100, 0)
    assert (found.difference.mean, found.difference.low, found.difference.high) == (0, 0, 0)


def test_a_baseline_without_seeds_is_compared_with_every_seed():
    values = np.random.default_rng(7).random((3, 40))
    found = paired_difference(values, values[:1] + 1.0, 100, 0)
    assert len(found.by_seed) == 3
    assert found.by_seed[0] == pytest.approx(-1.0)


@pytest.mark.parametrize("shape", [(3, 41), (2, 40)])
def test_different_numbers_of_scenes_or_seeds_are_refused(shape):
    with pytest.raises(InputError):
        paired_difference(np.zeros((3, 40)), np.zeros(shape), 10, 0)


def test_zero_scenes_are_refused():
    with pytest.raises(InputError):
        mean_intervals(np.zeros((0, 2)), 10, 0)
