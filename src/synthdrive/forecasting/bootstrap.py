"""How sure a mean over scenes is: percentile bootstrap intervals, and paired differences between variants.

Scenes are drawn with replacement (Efron 1979). Two variants are compared on the same scenes and the same seeds, so that
what makes a scene hard for both cancels out. A bootstrap over two or three seeds would be far too sure of itself: what
another training might give is added by a model of random effects of scenes and seeds, with Student's t weighted by
their shares of the variance (Cochran 1964): it is large where few seeds decide.
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
_BLOCK = 1 << 22  # scenes drawn at a time


@dataclass(frozen=True)
class Interval:
    """A mean over scenes with its 95 % interval.

    Attributes:
        mean, low, high: in the metric's unit.
        scenes: how many the mean is over.
    """

    mean: float
    low: float
    high: float
    scenes: int


@dataclass(frozen=True)
class PairedDifference:
    """Variant minus baseline on the same scenes and seeds; below 0 the variant is better.

    Attributes:
        difference: mean over scenes and seeds; its bootstrap interval says what other scenes might give with these
            trainings.
        with_seeds: the interval for other scenes and other seeds; with one seed it is that of `difference`.
        relative: the mean difference as a fraction of the baseline's mean, with the interval for other scenes and
            seeds: it leaves out 0 where that of `with_seeds` does.
        by_seed: (R,) mean difference of each seed.
    """

    difference: Interval
    with_seeds: Interval
    relative: Interval
    by_seed: tuple[float, ...]


def mean_intervals(values: Floats, samples: int, seed: int, *item: object) -> list[Interval]:
    """The mean of each column with its interval.

    Args:
        values: (S, M), a row per scene; all columns share the drawn scenes.
        samples: resamples.
        seed, item: of the draws, see `seeding.generator`.

    Raises:
        InputError: there is no scene.
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
        variant, baseline: (R, S) one metric for R seeds and S scenes, both in the same order; R = 1 where the
            baseline is not trained.

    Raises:
        InputError: shapes differ, or there is no scene.
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
    """(2,) ends of the 95 % interval of mean(difference) / mean(base), as Fieller (1954) has it.

    It holds the shares r at which difference - r * base is not told from 0: so it leaves out 0 where the interval of
    the difference does. NaN where it has no end, because base itself is not told from 0.
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
    """Half of the 95 % interval of the mean of (R, S) values, R of at least 2, for other seeds and other scenes.

    The variance of the mean is that of the seeds' means and what the scenes' means add to it.
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
        raise InputError("bootstrap", "no scene", "at least one")
    return len(values)


def _draws(scenes: int, samples: int, seed: int, *item: object) -> Iterator[npt.NDArray[np.int64]]:
    """Drawn scenes, (n, S) at a time, `samples` rows in all."""
    random = generator(seed, *item)
    rows = max(1, _BLOCK // scenes)
    for first in range(0, samples, rows):
        yield random.integers(0, scenes, (min(rows, samples - first), scenes))


def _resampled(values: Floats, drawn: npt.NDArray[np.int64]) -> Floats:
    """(n, M) means of the columns over each row of drawn scenes."""
    scenes = len(values)
    counts = np.stack([np.bincount(row, minlength=scenes) for row in drawn]).astype(np.float64)  # [n, S]
    means: Floats = counts @ values / scenes
    return means


def _limits(means: Floats) -> Floats:
    """(2, M) lower and upper end of the interval of each column."""
    tail = 100 * (1 - CONFIDENCE) / 2
    limits: Floats = np.percentile(means, [tail, 100 - tail], axis=0)
    return limits
