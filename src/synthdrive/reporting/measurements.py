"""The measured errors of every variant by scene and seed, and the levels and differences that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from synthdrive.config.data import OFFICIAL
from synthdrive.forecasting.bootstrap import mean_intervals, paired_difference
from synthdrive.reporting.wording import HEADLINE, signed

Floats = npt.NDArray[np.float64]

POWER = 0.8  # probability of finding the smallest detectable change
_NORMAL_95 = 1.96


@dataclass(frozen=True)
class VariantErrors:
    """Errors of one row of the results: a trained variant, or a baseline that needs no training.

    Attributes:
        name: the variant (`map`) or the baseline (`constant_velocity`).
        seeds: (R,) training seeds; empty for a baseline.
        scenes: metric name -> (R, S) metric of each seed and scene, in the unit shown; R = 1 for a baseline.
    """

    name: str
    seeds: tuple[int, ...]
    scenes: Mapping[str, Floats]

    def by_seed(self, metric: str) -> Floats:
        """Return the (R,) means over the scenes, in the unit shown."""
        means: Floats = self.scenes[metric].mean(axis=1)
        return means


@dataclass(frozen=True)
class Level:
    """A metric of one row, in the unit shown.

    Attributes:
        mean: mean over seeds and scenes.
        spread: sample standard deviation over seeds; None for fewer than two.
        low, high: 95 % bootstrap interval of the mean over scenes.
        seeds: (R,) value of each seed.
    """

    mean: float
    spread: float | None
    low: float
    high: float
    seeds: tuple[float, ...]

    @classmethod
    def of(cls, errors: Floats, samples: int, seed: int, *item: object) -> Level:
        """Compute the level of (R, S) errors, with `samples` resamples of the scenes."""
        by_seed = errors.mean(axis=1)
        (interval,) = mean_intervals(errors.mean(axis=0)[:, None], samples, seed, *item)
        spread = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None
        return cls(float(by_seed.mean()), spread, interval.low, interval.high, tuple(by_seed.tolist()))


@dataclass(frozen=True)
class Difference:
    """Variant minus reference on the same scenes and seeds, in the unit shown.

    Attributes:
        mean, low, high: the difference and its 95 % interval over scenes and seeds, over scenes alone with one seed.
        relative: difference, low and high in per cent of the reference; the interval includes the uncertainty of the
            reference; None if the reference is 0 or may be.
        reference: mean of the reference.
        seeds: (R,) difference of each seed.
        detectable: smallest change that such a comparison detects with a probability of 80 %, in the unit of `shown`.
    """

    mean: float
    low: float
    high: float
    relative: tuple[float, float, float] | None
    reference: float
    seeds: tuple[float, ...]
    detectable: float

    @classmethod
    def of(cls, one: Floats, other: Floats, samples: int, seed: int, *item: object) -> Difference:
        """Compute the difference of two (R, S) errors on the same scenes and seeds; see `paired_difference`."""
        paired = paired_difference(one, other, samples, seed, *item)
        interval, fraction = paired.with_seeds, paired.relative
        percent = 100.0 * fraction.mean, 100.0 * fraction.low, 100.0 * fraction.high
        relative = percent if np.isfinite(percent).all() else None  # a resample of few scenes may have no error
        reference = float(other.mean())
        scale = 1.0 if relative is None else 100.0 / reference
        low, high = (interval.low, interval.high) if relative is None else relative[1:]
        # A change is detected if its estimate exceeds half the interval. The estimate varies by its standard error, to
        # which scenes contribute according to their bootstrap, and seeds according to the spread of their means.
        scene_error = (paired.difference.high - paired.difference.low) / (2 * _NORMAL_95)
        count = len(paired.by_seed)
        seed_error = float(np.std(paired.by_seed, ddof=1)) / np.sqrt(count) if count > 1 else 0.0
        quantile = float(stdtrit(count - 1 if count > 1 else np.inf, POWER))
        detectable = (high - low) / 2 + quantile * scale * float(np.hypot(scene_error, seed_error))
        return cls(interval.mean, interval.low, interval.high, relative, reference, paired.by_seed, detectable)

    @property
    def direction(self) -> str:
        """ "lower", "higher", or "unclear" if the interval contains 0."""
        if self.high < 0:
            return "lower"
        return "higher" if self.low > 0 else "unclear"

    @property
    def shown(self) -> tuple[float, float, float]:
        """The difference, low and high: in per cent of the reference or, if that is undefined, in the metric's unit."""
        return self.relative or (self.mean, self.low, self.high)

    @property
    def text(self) -> str:
        """`shown` as text."""
        return f"{self.change_text} {self.interval_text}"

    @property
    def change_text(self) -> str:
        """The first number of `shown` as text."""
        return signed(self.mean, 3) if self.relative is None else f"{signed(self.relative[0], 1)} %"

    @property
    def interval_text(self) -> str:
        """The interval of `shown` as text."""
        digits = 3 if self.relative is None else 1
        return "[{}, {}]".format(*(signed(value, digits) for value in self.shown[1:]))

    @property
    def detectable_text(self) -> str:
        """The smallest detectable change as text."""
        return f"{self.detectable:.3f}" if self.relative is None else f"{self.detectable:.1f} %"


@dataclass(frozen=True)
class Measurements:
    """All rows of the results, and the data on which they were measured.

    Attributes:
        source: data source (`data.source`).
        scene_count: number of validation scenes S.
        train_scenes, windows, windows_augmented: sizes of the training data.
        seeds: training seeds.
        variants: name -> row, in the order of the parameters; the first is the reference.
        baselines: name -> row.
        own: name -> row of a user's own forecasts.
        validation: which scenes these are (`ingest.validation`).
        samples, seed: number of bootstrap resamples, and the seed of their draws.
    """

    source: str
    scene_count: int
    train_scenes: int
    windows: int
    windows_augmented: int
    seeds: tuple[int, ...]
    variants: Mapping[str, VariantErrors]
    baselines: Mapping[str, VariantErrors]
    samples: int
    seed: int = 0
    own: Mapping[str, VariantErrors] = field(default_factory=dict)
    validation: str = OFFICIAL

    @property
    def reference(self) -> str:
        """The variant with which the others are compared: the first."""
        return next(iter(self.variants))

    def row(self, name: str) -> VariantErrors:
        """Return the row of a variant, a baseline, or own forecasts."""
        return {**self.own, **self.baselines, **self.variants}[name]

    def mean(self, name: str, metric: str) -> float:
        """Return the mean of one row over seeds and scenes."""
        return float(self.row(name).scenes[metric].mean())

    def level(self, name: str, metric: str) -> Level:
        """Return the mean of one row, its spread over seeds and its interval over scenes."""
        return Level.of(self.row(name).scenes[metric], self.samples, self.seed, "level")

    def difference(self, name: str, reference: str, metric: str) -> Difference:
        """Return the paired difference of two rows on the same scenes and seeds."""
        one, other = self.row(name).scenes[metric], self.row(reference).scenes[metric]
        return Difference.of(one, other, self.samples, self.seed, "difference")

    def losses(self, name: str, metrics: tuple[str, ...] = HEADLINE) -> dict[str, list[str]]:
        """Return, for each baseline that beats this row in any metric, the metrics in which it does."""
        lost = {
            baseline: [one for one in metrics if self.mean(name, one) > self.mean(baseline, one)]
            for baseline in self.baselines
        }
        return {baseline: found for baseline, found in lost.items() if found}

    def median_seed(self, name: str) -> int:
        """Return the seed with the median minFDE6; of an even number of seeds, the better of the two in the middle."""
        row = self.variants[name]
        return row.seeds[int(np.argsort(row.by_seed("minFDE6"), kind="stable")[(len(row.seeds) - 1) // 2])]

    def as_json(self) -> dict[str, Any]:
        """Return the data on which the numbers were measured, as plain values."""
        return {
            "source": self.source,
            "validation": self.validation,
            "val_scenes": self.scene_count,
            "train_scenes": self.train_scenes,
            "synthetic_windows": self.windows,
            "synthetic_windows_augmented": self.windows_augmented,
            "seeds": list(self.seeds),
            "variants": list(self.variants),
        }
