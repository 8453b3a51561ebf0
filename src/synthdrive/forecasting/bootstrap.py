"""Confidence intervals of means over scenes: percentile bootstrap, and paired differences between variants.

Scenes are drawn with replacement (Efron 1979). Two variants are compared on the same scenes and seeds, so that effects
of a scene on both cancel out. A bootstrap over two or three seeds would give intervals that are far too narrow.
Intervals for other seeds therefore come from a model with random effects of scenes and seeds. Their half-width is the
standard error times a mean of Student's t of the two effects, each weighted by its share of the variance (Cochran
1964); it is large with few seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import stdtrit

from synthdrive.core.errors import InputError
from synthdrive.core.seeding import generator

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
_BLOCK = 1 << 22  # number of scenes drawn at a time


@dataclass(frozen=True)
class Interval:
    """Mean over scenes with its 95 % interval.

    Attributes:
        mean, low, high: mean and ends of the interval, in the metric's unit.
        scenes: number of scenes.
    """

    mean: float
    low: float
    high: float
    scenes: int


@dataclass(frozen=True)
class PairedDifference:
    """Variant minus baseline on the same scenes and seeds; negative if the variant is better.

    Attributes:
        difference: mean over scenes and seeds, with the bootstrap interval for other scenes and the same trainings.
        with_seeds: the same mean with the interval for other scenes and other seeds; with one seed, `difference`.
        relative: mean difference as a fraction of the baseline's mean, with the interval for other scenes and seeds. It
            excludes 0 if that of `with_seeds` does.
        by_seed: (R,) mean difference for each seed.
    """

    difference: Interval
    with_seeds: Interval
    relative: Interval
    by_seed: tuple[float, ...]


def mean_intervals(values: Floats, samples: int, seed: int, *item: object) -> list[Interval]:
    """Return the mean of each column with its bootstrap interval.

    Args:
        values: (S, M), one row per scene; the same scenes are drawn for all columns.
        samples: number of bootstrap samples.
        seed, item: seed of the draws, see `seeding.generator`.

    Raises:
        InputError: there are no scenes.
    """
    scenes = _count(values)
    means = np.concatenate([_resampled(values, drawn) for drawn in _draws(scenes, samples, seed, *item)])
    low, high = _limits(means)
    return [
        Interval(float(mean), float(low[column]), float(high[column]), scenes)
        for column, mean in enumerate(values.mean(axis=0))
    ]


def paired_difference(variant: Floats, baseline: Floats, samples: int, seed: int, *item: object) -> PairedDifference:
    """Compare two variants.

    Args:
        variant, baseline: (R, S) values of one metric for R seeds and S scenes, both in the same order; (1, S) for a
            baseline without training.
        samples: number of bootstrap samples.
        seed, item: seed of the draws, see `seeding.generator`.

    Raises:
        InputError: shapes do not match, or there are no scenes.
    """
    if variant.ndim != 2 or variant.shape[1] != baseline.shape[1] or baseline.shape[0] not in (1, variant.shape[0]):
        raise InputError(
            "paired_difference", f"shapes {variant.shape} and {baseline.shape}", "the same seeds and scenes"
        )
    difference, base = variant - baseline, np.broadcast_to(baseline, variant.shape)  # [R, S]
    columns = np.column_stack([difference.mean(axis=0), base.mean(axis=0)])  # [S, 2]
    scenes = _count(columns)
    means = np.concatenate([_resampled(columns, drawn) for drawn in _draws(scenes, samples, seed, *item)])
    total, level = float(difference.mean()), float(base.mean())
    relative = total / level if level > 0 else float("nan")

    def interval(mean: float, limits: Floats) -> Interval:
        return Interval(float(mean), float(limits[0]), float(limits[1]), scenes)

    over_scenes = interval(total, _limits(means[:, :1])[:, 0])
    if len(difference) == 1:
        fraction = means[:, 0] / np.where(means[:, 1] > 0, means[:, 1], np.nan)
        return PairedDifference(
            over_scenes, over_scenes, interval(relative, _limits(fraction[:, None])[:, 0]), (total,)
        )
    half = half_width(difference)
    return PairedDifference(
        difference=over_scenes,
        with_seeds=interval(total, np.array([total - half, total + half])),
        relative=interval(relative, _ratio_limits(difference, base)),
        by_seed=tuple(difference.mean(axis=1).tolist()),
    )


def _ratio_limits(difference: Floats, base: Floats) -> Floats:
    """Return the ends (2,) of the 95 % interval of mean(difference) / mean(base), by Fieller's method (1954).

    It contains the fractions r for which the mean of difference - r * base does not differ significantly from 0, so it
    excludes 0 if the interval of the difference does. NaN if the mean of base does not differ significantly from 0,
    because the interval then has no end.
    """
    if base.mean() <= half_width(base):
        return np.full(2, np.nan)
    ratio = float(difference.mean() / base.mean())

    def outside(fraction: float) -> float:
        values = difference - fraction * base
        return float(abs(values.mean()) - half_width(values))

    def end(step: float) -> float:
        while outside(ratio + step) <= 0:
            step *= 2.0
        return float(brentq(outside, ratio, ratio + step)) if outside(ratio) < 0 else ratio

    return np.array([end(-0.01), end(0.01)])


def half_width(values: Floats) -> float:
    """Return half the width of the 95 % interval of the mean of (R, S) values, R >= 2, for other seeds and scenes.

    The variance of the mean is that of the seeds' means, plus what the scenes' means add to it.
    """
    seeds, scenes = values.shape
    by_seed, by_scene = values.mean(axis=1), values.mean(axis=0)
    of_seeds = float(by_seed.var(ddof=1)) / seeds
    of_scenes = 0.0
    if scenes > 1:
        rest = values - by_seed[:, None] - by_scene + values.mean()
        in_both = float(np.square(rest).sum()) / ((seeds - 1) * (scenes - 1)) / (seeds * scenes)
        of_scenes = max(float(by_scene.var(ddof=1)) / scenes - in_both, 0.0)
    variance = of_seeds + of_scenes
    if variance == 0:
        return 0.0
    tail = 0.5 + CONFIDENCE / 2
    quantile = (of_seeds * stdtrit(seeds - 1, tail) + of_scenes * stdtrit(max(scenes - 1, 1), tail)) / variance
    return float(quantile * np.sqrt(variance))


def _count(values: Floats) -> int:
    if len(values) == 0:
        raise InputError("bootstrap", "no scenes", "at least one")
    return len(values)


def _draws(scenes: int, samples: int, seed: int, *item: object) -> Iterator[npt.NDArray[np.int64]]:
    """Draw scenes, (n, S) at a time, `samples` rows in all."""
    random = generator(seed, *item)
    rows = max(1, _BLOCK // scenes)
    for first in range(0, samples, rows):
        yield random.integers(0, scenes, (min(rows, samples - first), scenes))


def _resampled(values: Floats, drawn: npt.NDArray[np.int64]) -> Floats:
    """Return the means (n, M) of the columns over each row of drawn scenes."""
    scenes = len(values)
    counts = np.stack([np.bincount(row, minlength=scenes) for row in drawn]).astype(np.float64)  # [n, S]
    means: Floats = counts @ values / scenes
    return means


def _limits(means: Floats) -> Floats:
    """Return the lower and upper ends (2, M) of each column's interval."""
    tail = 100 * (1 - CONFIDENCE) / 2
    limits: Floats = np.percentile(means, [tail, 100 - tail], axis=0)
    return limits
