"""What was measured: every variant's errors scene by scene and seed by seed, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from synthdrive.forecasting.bootstrap import mean_intervals, paired_difference
from synthdrive.reporting.wording import HEADLINE, signed

Floats = npt.NDArray[np.float64]

POWER = 0.8  # of the test behind "the smallest change that this run would have detected"
_NORMAL_95 = 1.96


@dataclass(frozen=True)
class VariantErrors:
    """Errors of one row of the results: a trained variant, or a baseline that needs no training.

    Attributes:
        name: the variant (`map`) or the baseline (`constant_velocity`).
        seeds: (R,) training seeds; empty for a baseline.
        scenes: metric name -> (R, S) the metric of each scene for each seed, in the shown unit; R = 1 for a baseline.
    """

    name: str
    seeds: tuple[int, ...]
    scenes: Mapping[str, Floats]

    def by_seed(self, metric: str) -> Floats:
        """(R,) mean over the scenes, in the shown unit."""
        means: Floats = self.scenes[metric].mean(axis=1)
        return means


@dataclass(frozen=True)
class Level:
    """A metric of one row, in the shown unit.

    Attributes:
        mean: over seeds and scenes.
        spread: standard deviation over seeds (sample); None for fewer than two.
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
        """The level of (R, S) errors; `samples` resamples of the scenes."""
        by_seed = errors.mean(axis=1)
        (interval,) = mean_intervals(errors.mean(axis=0)[:, None], samples, seed, *item)
        spread = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None
        return cls(float(by_seed.mean()), spread, interval.low, interval.high, tuple(by_seed.tolist()))


@dataclass(frozen=True)
class Difference:
    """Variant minus reference on the same scenes and seeds, in the shown unit.

    Attributes:
        mean, low, high: the difference and its 95 % interval, for other scenes and other seeds.
        relative: difference, low and high in per cent of the reference, whose own uncertainty is in the interval; None
            where the reference is 0, or may be.
        reference: the reference's mean.
        seeds: (R,) the difference of each seed.
        detectable: the smallest change that this comparison detects in 80 % of its repetitions, in the unit of `shown`.
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
        """The difference of (R, S) errors to others of the same scenes and seeds; see `paired_difference`."""
        paired = paired_difference(one, other, samples, seed, *item)
        interval, fraction = paired.with_seeds, paired.relative
        percent = 100.0 * fraction.mean, 100.0 * fraction.low, 100.0 * fraction.high
        relative = percent if np.isfinite(percent).all() else None  # a few scenes may be drawn without any error
        reference = float(other.mean())
        scale = 1.0 if relative is None else 100.0 / reference
        low, high = (interval.low, interval.high) if relative is None else relative[1:]
        # Detected is a change beyond half the interval; the estimate scatters around it by the standard error, to which
        # the scenes add what their bootstrap says and the seeds what their means do.
        of_scenes = (paired.difference.high - paired.difference.low) / (2 * _NORMAL_95)
        count = len(paired.by_seed)
        of_seeds = float(np.std(paired.by_seed, ddof=1)) / np.sqrt(count) if count > 1 else 0.0
        quantile = float(stdtrit(count - 1 if count > 1 else np.inf, POWER))
        detectable = (high - low) / 2 + quantile * scale * float(np.hypot(of_scenes, of_seeds))
        return cls(interval.mean, interval.low, interval.high, relative, reference, paired.by_seed, detectable)

    @property
    def direction(self) -> str:
        """lower, higher, or unclear where the interval contains 0."""
        if self.high < 0:
            return "lower"
        return "higher" if self.low > 0 else "unclear"

    @property
    def shown(self) -> tuple[float, float, float]:
        """The difference, low and high in per cent of the reference, or as they are where that has no meaning."""
        return self.relative or (self.mean, self.low, self.high)

    @property
    def text(self) -> str:
        """What is shown, in words."""
        digits, unit = (3, "") if self.relative is None else (1, " %")
        mean, low, high = (signed(value, digits) for value in self.shown)
        return f"{mean}{unit} [{low}, {high}]"

    @property
    def detectable_text(self) -> str:
        """The smallest change that would have been detected, in words."""
        return f"{self.detectable:.3f}" if self.relative is None else f"{self.detectable:.1f} %"


@dataclass(frozen=True)
class Measurements:
    """All rows of the results, and on what data they were measured.

    Attributes:
        source: data source (`data.source`).
        scene_count: S validation scenes behind every number.
        train_scenes, windows, windows_augmented: sizes of the training data.
        seeds: training seeds.
        variants: name -> row, in the order of the parameters; the first is the reference.
        baselines: name -> row.
        own: name -> row of a user's own forecasts.
        samples, seed: bootstrap resamples, and the seed of their draws.
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

    @property
    def reference(self) -> str:
        """The variant that others are compared with: the first."""
        return next(iter(self.variants))

    def row(self, name: str) -> VariantErrors:
        """A variant, a baseline, or own forecasts."""
        return {**self.own, **self.baselines, **self.variants}[name]

    def mean(self, name: str, metric: str) -> float:
        """Mean over seeds and scenes of one row."""
        return float(self.row(name).scenes[metric].mean())

    def level(self, name: str, metric: str) -> Level:
        """Mean, spread over seeds and interval over scenes of one row."""
        return Level.of(self.row(name).scenes[metric], self.samples, self.seed, "level")

    def difference(self, name: str, reference: str, metric: str) -> Difference:
        """Paired difference of two rows on the same scenes and seeds."""
        one, other = self.row(name).scenes[metric], self.row(reference).scenes[metric]
        return Difference.of(one, other, self.samples, self.seed, "difference")

    def losses(self, name: str, metrics: tuple[str, ...] = HEADLINE) -> dict[str, list[str]]:
        """Baseline -> the metrics in which it beats this row; baselines that beat it in none are left out."""
        lost = {
            baseline: [one for one in metrics if self.mean(name, one) > self.mean(baseline, one)]
            for baseline in self.baselines
        }
        return {baseline: found for baseline, found in lost.items() if found}

    def median_seed(self, name: str, metric: str = "minFDE6") -> int:
        """The seed whose metric is the median of the variant's seeds; of two in the middle, the better one."""
        row = self.variants[name]
        return row.seeds[int(np.argsort(row.by_seed(metric), kind="stable")[(len(row.seeds) - 1) // 2])]

    def as_json(self) -> dict[str, Any]:
        """On what data the numbers were measured."""
        return {
            "source": self.source,
            "val_scenes": self.scene_count,
            "train_scenes": self.train_scenes,
            "synthetic_windows": self.windows,
            "synthetic_windows_augmented": self.windows_augmented,
            "seeds": list(self.seeds),
            "variants": list(self.variants),
        }
