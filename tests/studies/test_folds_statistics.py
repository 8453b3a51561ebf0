"""Tests of intervals over places and seeds: their coverage in simulated studies, and invalid input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from studies.argoverse1_folds.statistics import Places, difference, holm, interval
from synthdrive.core.errors import InputError

BLOCK_SIZES = (442, 359, 336, 254, 249, 233, 177, 167, 120, 90, 80, 60, 45, 40, 30, 20, 15, 10, 5, 3)  # scenes
STUDIES = 300
TRUE_CHANGE = -0.1  # relative to the reference


def simulated_places() -> Places:
    """Blocks with sizes like those of the recorded scenes, distributed over five folds by size."""
    load = np.zeros(5)
    folds = []
    for size in BLOCK_SIZES:
        folds.append(int(load.argmin()))
        load[folds[-1]] += size
    return Places(np.repeat(folds, BLOCK_SIZES), np.repeat(np.arange(len(BLOCK_SIZES)), BLOCK_SIZES))


def study(
    random: np.random.Generator, places: Places, repeats: int, blocks: float, seeds: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Errors (R, S) of a variant and its reference: skewed over scenes, with random effects of blocks and trainings."""
    scenes = len(places.folds)
    hardness = random.gamma(1.5, 1.2, scenes) * np.exp(0.3 * random.standard_normal(len(BLOCK_SIZES)))[places.blocks]
    place = blocks * random.standard_normal(len(BLOCK_SIZES))[places.blocks]
    training = seeds * random.standard_normal((2, repeats, 5))[:, :, places.folds]
    noise = 0.8 * random.standard_normal((2, repeats, scenes))
    reference = hardness + training[0] + noise[0]
    mean = 1.5 * 1.2 * np.exp(0.3**2 / 2)
    return hardness + TRUE_CHANGE * mean + place + training[1] + noise[1], reference


SETTINGS = [(1, 0.15, 0.08), (2, 0.15, 0.08), (1, 0.3, 0.0), (2, 0.3, 0.0), (1, 0.0, 0.15), (2, 0.3, 0.3)]


@pytest.mark.parametrize(("repeats", "blocks", "seeds"), SETTINGS)
def test_intervals_and_tests_have_about_their_nominal_error_rates(repeats: int, blocks: float, seeds: float) -> None:
    random, places = np.random.default_rng(7), simulated_places()
    truth = TRUE_CHANGE * 1.5 * 1.2 * np.exp(0.3**2 / 2)
    covered = naive = 0
    p = []
    for _ in range(STUDIES):
        variant, reference = study(random, places, repeats, blocks, seeds)
        found = difference(variant, reference, places, samples=800)
        covered += found.low <= truth <= found.high
        gain = (variant - reference).mean(axis=0)
        naive += abs(gain.mean() - truth) <= 1.96 * gain.std() / np.sqrt(len(gain))
        p.append(difference(variant - truth, reference, places, samples=4000).p)  # no change in truth
    false_alarms = [float((np.array(p) < level).mean()) for level in (0.05, 0.0025)]
    print(
        f"repeats {repeats}, blocks {blocks}, seeds {seeds}: coverage {covered / STUDIES:.3f}, naive "
        f"{naive / STUDIES:.3f}; p < 0.05 in {false_alarms[0]:.3f}, p < 0.0025 in {false_alarms[1]:.4f}"
    )
    assert 0.92 <= covered / STUDIES <= 0.995
    assert naive / STUDIES < 0.75  # naive intervals, over scenes only, ignore the spread over places and seeds
    assert false_alarms[0] <= 0.085
    assert false_alarms[1] <= 0.0135  # 4 of 300; Holm's correction for 20 tests begins at 0.0025


def test_a_true_change_is_detected_and_given_in_per_cent() -> None:
    random, places = np.random.default_rng(1), simulated_places()
    variant, reference = study(random, places, 2, 0.02, 0.01)
    found = difference(variant, reference, places)
    assert found.high < 0
    assert found.relative == pytest.approx(100 * found.mean / found.reference)
    assert found.relative_low < found.relative < found.relative_high < 0
    assert found.p < 0.01
    assert 0 < found.detectable < 10
    assert difference(reference, variant, places).low > 0


def test_a_reference_without_training_has_one_row() -> None:
    random, places = np.random.default_rng(2), simulated_places()
    variant, reference = study(random, places, 2, 0.1, 0.1)
    found = difference(variant, reference[:1], places)
    assert found.repeats == 2
    assert found.reference == pytest.approx(reference[0].mean())
    with pytest.raises(InputError, match="difference"):
        difference(variant, reference[:, :-1], places)


def test_levels_have_intervals_too() -> None:
    random, places = np.random.default_rng(3), simulated_places()
    variant, _ = study(random, places, 1, 0.1, 0.1)
    mean, low, high = interval(variant, places)
    assert low < mean < high
    assert mean == pytest.approx(variant.mean())


def test_a_block_in_two_folds_is_refused() -> None:
    with pytest.raises(InputError, match="a block in two folds"):
        Places(np.array([0, 1]), np.array([4, 4]))


def test_holm_correction_of_known_p_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
