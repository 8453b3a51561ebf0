"""What was measured: every variant's errors scene by scene and seed by seed, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.forecasting.bootstrap import mean_intervals, paired_difference
from synthdrive.reporting.metric_names import signed

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class VariantErrors:
    """One row of the results: a trained variant, or a baseline that needs no training.

    Attributes:
        name: the variant (`map`) or the baseline (`constant_velocity`).
        seeds: (R,) training seeds; empty for a baseline.
        scenes: metric name -> (R, S) the metric of each scene for each seed, in the shown unit; R = 1 for a baseline.
        values: metric name -> (R,) mean over the scenes, as the metrics files state it, in the shown unit.
    """

    name: str
    seeds: tuple[int, ...]
    scenes: Mapping[str, Floats]
    values: Mapping[str, Floats]

    @property
    def learned(self) -> bool:
        """Whether it was trained."""
        return bool(self.seeds)


@dataclass(frozen=True)
class Level:
    """A metric of one variant, in the shown unit.

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


@dataclass(frozen=True)
class Difference:
    """Variant minus reference on the same scenes and seeds, in the shown unit.

    Attributes:
        mean, low, high: the difference and its 95 % interval, for other scenes and other seeds.
        relative: difference, low and high in per cent of the reference, whose own uncertainty is in the interval; None
            where the reference is 0, or may be.
        reference: the reference's mean.
        seeds: (R,) the difference of each seed.
    """

    mean: float
    low: float
    high: float
    relative: tuple[float, float, float] | None
    reference: float
    seeds: tuple[float, ...]

    @classmethod
    def of(cls, one: Floats, other: Floats, samples: int, seed: int, *item: object) -> Difference:
        """The difference of (R, S) errors to others of the same scenes and seeds; see `paired_difference`."""
        paired = paired_difference(one, other, samples, seed, *item)
        interval, share = paired.with_seeds, paired.relative
        percent = 100.0 * share.mean, 100.0 * share.low, 100.0 * share.high
        relative = percent if np.isfinite(percent).all() else None  # a few scenes may be drawn without any error
        return cls(interval.mean, interval.low, interval.high, relative, float(other.mean()), paired.by_seed)

    @property
    def verdict(self) -> str:
        """lower, higher, or no difference where the interval holds 0."""
        if self.high < 0:
            return "lower"
        return "higher" if self.low > 0 else "no difference"

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


@dataclass(frozen=True)
class Measurements:
    """All rows of the results, and on what data they were measured.

    Attributes:
        source: data source of the run (`data.source`).
        scene_count: S validation scenes behind every number.
        train_scenes, windows, windows_augmented: sizes of the training data.
        seeds: training seeds of the run.
        variants: name -> row, in the order of the run; the first is the reference.
        baselines: name -> row.
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

    @property
    def reference(self) -> str:
        """The variant that others are compared with: the run's first."""
        return next(iter(self.variants))

    def row(self, name: str) -> VariantErrors:
        """A variant or a baseline."""
        return self.variants[name] if name in self.variants else self.baselines[name]

    def level(self, name: str, metric: str) -> Level:
        """Mean, spread over seeds and interval over scenes of one row."""
        row = self.row(name)
        values = row.values[metric]
        (interval,) = mean_intervals(row.scenes[metric].mean(axis=0)[:, None], self.samples, self.seed, "level")
        spread = float(values.std(ddof=1)) if row.learned and len(values) > 1 else None
        return Level(float(values.mean()), spread, interval.low, interval.high, tuple(values.tolist()))

    def difference(self, name: str, reference: str, metric: str) -> Difference:
        """Paired difference of two rows on the same scenes and seeds."""
        one, other = self.row(name).scenes[metric], self.row(reference).scenes[metric]
        return Difference.of(one, other, self.samples, self.seed, "difference")

    def as_json(self) -> dict[str, Any]:
        """On what data the numbers stand."""
        return {
            "source": self.source,
            "val_scenes": self.scene_count,
            "train_scenes": self.train_scenes,
            "synthetic_windows": self.windows,
            "synthetic_windows_augmented": self.windows_augmented,
            "seeds": list(self.seeds),
            "variants": list(self.variants),
        }
