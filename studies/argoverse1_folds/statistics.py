"""Uncertainty of differences: intervals over places and seeds, Holm's correction, smallest detectable change.

Errors of scenes in the same block are correlated, and so are those of all scenes evaluated by the same training.
Therefore whole blocks are resampled within each fold (Davison and Hinkley 1997, 3.8). Each fold has only one training
per repeat; resampling so few seeds would give intervals that are far too narrow. Instead, a normal effect of other
seeds is added to each draw. Blocks and trainings are few, so their variances are uncertain: the deviations get the
tails of Student's t. `tests/studies/test_folds_statistics.py` checks on simulated studies how often the intervals
contain the true value and how often a test finds a change that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from synthdrive.core.errors import InputError
from synthdrive.core.seeding import generator
from synthdrive.reporting.wording import signed

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

SAMPLES = 10_000
CONFIDENCE = 0.95
POWER = 0.8
_NORMAL = float(stdtrit(np.inf, 0.5 + CONFIDENCE / 2))
_NORMAL_POWER = float(stdtrit(np.inf, POWER))


@dataclass(frozen=True)
class Places:
    """Folds and blocks of the scenes.

    Attributes:
        folds: (S,) fold of each scene; the scene is evaluated by the trainings of this fold.
        blocks: (S,) block of each scene; every block lies in one fold.
    """

    folds: Codes
    blocks: Codes

    def __post_init__(self) -> None:
        pairs = {(int(block), int(fold)) for block, fold in zip(self.blocks, self.folds, strict=True)}
        if len(pairs) != len({block for block, _ in pairs}):
            raise InputError("blocks", "a block in two folds", "blocks that lie in one fold each")


@dataclass(frozen=True)
class Difference:
    """A variant minus its reference on the same scenes; below 0 the variant is better.

    Attributes:
        mean, low, high: difference and ends of its 95 % interval, in the metric's unit.
        relative, relative_low, relative_high: the same in per cent of the reference.
        reference: mean of the reference.
        p: two-sided p-value.
        detectable: smallest change (%) that such a comparison detects with a probability of 80 %.
        repeats: number of trainings per fold.
    """

    mean: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    reference: float
    p: float
    detectable: float
    repeats: int

    @property
    def relative_text(self) -> str:
        """The relative difference and its interval, in per cent."""
        low, high = signed(self.relative_low, 1), signed(self.relative_high, 1)
        return f"{signed(self.relative, 1)} % [{low}, {high}]"


def difference(variant: Floats, reference: Floats, places: Places, samples: int = SAMPLES) -> Difference:
    """Compare a variant with its reference.

    Args:
        variant: (R, S) one metric of R repeats on S scenes.
        reference: (R, S) the same for the reference, or (1, S) for a baseline without training.
        places: folds and blocks of the scenes.
        samples: number of bootstrap draws.

    Raises:
        InputError: the shapes do not match.
    """
    scenes = len(places.folds)
    if variant.ndim != 2 or variant.shape[1] != scenes or reference.shape not in (variant.shape, (1, scenes)):
        found = f"{variant.shape} and {reference.shape}, {scenes} scenes"
        raise InputError("difference", found, "(R, S) both, or (1, S) for the reference")
    base = np.broadcast_to(reference, variant.shape)
    gain = variant - base
    total, level = float(gain.mean()), float(base.mean())
    share = total / level if level > 0 else float("nan")
    sums = np.column_stack([gain.mean(axis=0), base.mean(axis=0), np.ones(scenes)])
    drawn = _drawn_sums(sums, places, samples)  # [n, 3]
    random = generator(0, "other seeds", samples)
    draws = _with_seeds(total, drawn[:, 0] / drawn[:, 2], gain, places, random)
    relative = _with_seeds(share, drawn[:, 0] / drawn[:, 1], (gain - share * base) / level, places, random)
    low, high = _ends(draws)
    relative_low, relative_high = _ends(relative)
    beyond = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return Difference(
        total, low, high, 100 * share, 100 * relative_low, 100 * relative_high, level,
        p=min(1.0, 2.0 * (beyond + 1) / (samples + 1)),
        detectable=100 * (relative_high - relative_low) / 2 * (1.0 + _NORMAL_POWER / _NORMAL),
        repeats=len(variant),
    )  # fmt: skip


def interval(values: Floats, places: Places, samples: int = SAMPLES) -> tuple[float, float, float]:
    """Return the mean of (R, S) values with the ends of its 95 % interval over places and seeds."""
    sums = np.column_stack([values.mean(axis=0), np.ones(values.shape[1])])
    drawn = _drawn_sums(sums, places, samples)
    mean = float(values.mean())
    draws = _with_seeds(mean, drawn[:, 0] / drawn[:, 1], values, places, generator(0, "other seeds", samples))
    return mean, *_ends(draws)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust the p-values of tests that are made together (Holm 1979); below 0.05 is significant."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted


def _drawn_sums(columns: Floats, places: Places, samples: int) -> Floats:
    """Return the (n, C) sums of (S, C) columns over n draws of the blocks, each fold keeping its number of blocks."""
    total = np.zeros((samples, columns.shape[1]))
    for fold in np.unique(places.folds):
        inside = places.folds == fold
        _, code = np.unique(places.blocks[inside], return_inverse=True)
        blocks = int(code.max()) + 1
        of_blocks = np.stack([np.bincount(code, column, blocks) for column in columns[inside].T], axis=1)  # [B, C]
        random = generator(0, "other places", samples, int(fold))
        total += random.multinomial(blocks, np.full(blocks, 1.0 / blocks), samples) @ of_blocks
    return total


def _with_seeds(mean: float, draws: Floats, values: Floats, places: Places, random: np.random.Generator) -> Floats:
    """Give the draws of a mean over places the variance and the tails that few blocks and few trainings call for.

    The variance between places is estimated from the blocks. The variance between trainings is estimated from the
    folds, as far as the blocks do not explain it, and from the repeats, if there are several; the larger one counts.
    The draws are divided as in Student's t, with the smaller of the degrees of freedom of both estimates.

    Args:
        mean: the mean.
        draws: (n,) its bootstrap draws over places.
        values: (R, S) values whose mean it is, or the influence of each scene on it.
        places: folds and blocks of the scenes.
        random: generator of the variation between seeds and of the divisors.
    """
    folds, of_fold = np.unique(places.folds, return_inverse=True)
    weights = np.bincount(of_fold) / len(of_fold)  # [F]
    by_fold = np.stack([np.bincount(of_fold, row) for row in values]) / np.bincount(of_fold)  # [R, F]
    _, code = np.unique(places.blocks, return_inverse=True)
    sizes = np.bincount(code)
    centred = values.mean(axis=0) - by_fold.mean(axis=0)[of_fold]
    blocks_in = np.array([len(np.unique(code[of_fold == fold])) for fold in range(len(folds))])
    factor = (blocks_in / np.maximum(blocks_in - 1, 1))[of_fold[np.unique(code, return_index=True)[1]]]  # [B]
    place_variance = float((factor * np.bincount(code, centred) ** 2).sum()) / len(of_fold) ** 2
    freedom = max(sizes.sum() ** 2 / np.square(sizes).sum() - len(folds), 1.0)
    spread = weights**2 * (by_fold.mean(axis=0) - values.mean()) ** 2
    between_folds = float(spread.sum()) * len(folds) / max(len(folds) - 1, 1)
    seed_variance, seed_freedom = max(between_folds - place_variance, 0.0), max(len(folds) - 1, 1)
    if len(values) > 1:
        of_repeats = float((weights**2 * by_fold.var(axis=0, ddof=1)).sum()) / len(values)
        if of_repeats > seed_variance:
            seed_variance, seed_freedom = of_repeats, len(folds) * (len(values) - 1)
    if seed_variance > 0:
        freedom = min(freedom, seed_freedom)
    deviation = draws - mean
    found = float(deviation.std())
    other_places = deviation * (np.sqrt(place_variance) / found if found > 0 else 0.0)
    other_seeds = np.sqrt(seed_variance) * random.standard_normal(len(draws))
    divisors = np.sqrt(random.chisquare(freedom, len(draws)) / freedom)
    moved: Floats = mean + (other_places + other_seeds) / divisors
    return moved


def _ends(draws: Floats) -> tuple[float, float]:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)
