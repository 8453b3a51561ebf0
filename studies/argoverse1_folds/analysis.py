"""The numbers of the study's pages, computed from its results: levels and tested differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from studies.argoverse1_folds.plan import BASELINE, Comparison, Plan
from studies.argoverse1_folds.results import CAPPED, FAR, PRIMARY, Results
from studies.argoverse1_folds.statistics import Difference, Places, difference, holm, interval

Floats = npt.NDArray[np.float64]

SIGNIFICANT = 0.05
SHARES = ("MR6", FAR)  # metrics that are 0 or 1 for a scene, shown in per cent


@dataclass(frozen=True)
class Level:
    """Errors of a variant trained on one fraction of the scenes, in the units shown (m or %).

    Attributes:
        variant: its name; percent: fraction of the training scenes; repeats: number of trainings per fold.
        values: metric -> mean over all scenes, with the ends of its 95 % interval.
        trainings: metric -> city ("" for all) -> (R * F,) mean of each training over its fold's scenes.
        cities: metric -> city ("" for all) -> mean over its scenes.
    """

    variant: str
    percent: int
    repeats: int
    values: Mapping[str, tuple[float, float, float]]
    trainings: Mapping[str, Mapping[str, list[float]]]
    cities: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Tested:
    """A planned test in one metric; `adjusted` is its p after Holm's correction for all tests with results."""

    test: Comparison
    metric: str
    difference: Difference
    adjusted: float

    @property
    def direction(self) -> int:
        """-1: better than the reference, 1: worse, 0: no statistically significant difference."""
        return 0 if self.adjusted >= SIGNIFICANT else int(np.sign(self.difference.mean))


@dataclass(frozen=True)
class Findings:
    """Everything that the pages show.

    Attributes:
        levels: every variant at every fraction of the scenes.
        tests: the planned tests that have results.
        training_scenes: fraction of the training scenes (%) -> their number, mean over folds; 0 without a result.
    """

    levels: list[Level]
    tests: list[Tested]
    training_scenes: dict[int, int]

    @property
    def any_training(self) -> bool:
        """Whether there are levels of a trained variant, not only of the baseline."""
        return any(level.variant != BASELINE for level in self.levels)


def analyse(results: Results, plan: Plan) -> Findings:
    """Compute everything that the pages show; there may be no results yet."""
    return Findings(levels(results, plan), planned_tests(results, plan), training_scenes(results, plan))


def places_of(results: Results) -> Places:
    """Return fold and block of every scene, in the order of the results."""
    _, blocks = np.unique(np.array(results.scenes["block"]), return_inverse=True)
    return Places(np.array(results.scenes["fold"], dtype=np.int64), blocks.astype(np.int64))


def errors_of(results: Results, variant: str, percent: int, metric: str, plan: Plan) -> dict[int, Floats]:
    """Return, for each complete repeat, the (S,) metric of every scene, by the model trained without its fold."""
    whole = results.of(variant, percent, plan)
    return {repeat: np.concatenate([each.metric(metric) for each in folds]) for repeat, folds in whole.items()}


def levels(results: Results, plan: Plan) -> list[Level]:
    """Compute all levels with a complete repeat, the baseline first, then by variant and fraction of the scenes."""
    found = []
    for variant in (BASELINE, *plan.variants):
        for percent in (0, *plan.percents):
            if errors_of(results, variant, percent, PRIMARY[0], plan):
                found.append(_level(results, variant, percent, plan))
    return found


def _level(results: Results, variant: str, percent: int, plan: Plan) -> Level:
    places, cities = places_of(results), np.array(results.scenes["city"])
    values, trainings, by_city = {}, {}, {}
    repeats = 0
    for metric in (*PRIMARY, FAR):
        scale = 100.0 if metric in SHARES else 1.0
        errors = scale * np.stack(list(errors_of(results, variant, percent, metric, plan).values()))  # [R, S]
        repeats = len(errors)
        values[metric] = interval(errors, places)
        inside = {"": np.ones(len(cities), dtype=np.bool_)} | {str(c): cities == c for c in np.unique(cities)}
        by_city[metric] = {city: float(errors[:, here].mean()) for city, here in inside.items()}
        trainings[metric] = {
            city: [
                float(row[here & (places.folds == fold)].mean())
                for row in errors
                for fold in range(plan.folds)
                if (here & (places.folds == fold)).any()
            ]
            for city, here in inside.items()
        }
    return Level(variant, percent, repeats, values, trainings, by_city)


def compare(results: Results, test: Comparison, metric: str, plan: Plan) -> Difference | None:
    """Compute a difference on the repeats that both sides have; None if there is none yet."""
    scale = 100.0 if metric in SHARES else 1.0
    ours = errors_of(results, test.variant, test.percent, metric, plan)
    theirs = errors_of(results, test.reference, test.reference_percent, metric, plan)
    repeats = sorted(ours if test.reference == BASELINE else set(ours) & set(theirs))
    if not repeats or not theirs:
        return None
    base = [theirs[0]] if test.reference == BASELINE else [theirs[repeat] for repeat in repeats]
    variant = scale * np.stack([ours[repeat] for repeat in repeats])
    return difference(variant, scale * np.stack(base), places_of(results))


def changes(results: Results, test: Comparison, plan: Plan) -> list[str] | None:
    """Return the relative change in each primary metric as text, with its interval; None if there is no result yet."""
    found = [compare(results, test, metric, plan) for metric in PRIMARY]
    texts = [difference.relative_text for difference in found if difference is not None]
    return texts if len(texts) == len(PRIMARY) else None


def planned_tests(results: Results, plan: Plan) -> list[Tested]:
    """Make the planned tests that have results, in the primary metrics, with Holm's correction for all of them."""
    made = [
        (test, metric, found)
        for test in plan.tests
        for metric in PRIMARY
        if (found := compare(results, test, metric, plan)) is not None
    ]
    adjusted = holm([found.p for _, _, found in made])
    return [Tested(*each, p) for each, p in zip(made, adjusted, strict=True)]


def training_scenes(results: Results, plan: Plan) -> dict[int, int]:
    """Return the number of training scenes at each fraction (%), mean over the folds; 0 where there is no run."""
    counts: dict[int, dict[int, int]] = {percent: {} for percent in (0, *plan.percents)}
    for run, result in results.runs.items():
        if run.trial is None and run.percent in counts:
            counts[run.percent][run.fold] = result.provenance["train_scenes"]  # the same in every run of a fold
    return {percent: round(sum(each.values()) / len(each)) if each else 0 for percent, each in counts.items()}


def unit_of(metric: str) -> str:
    """Return the unit in which a metric is shown."""
    return "%" if metric in SHARES else "m"


def metric_label(metric: str) -> str:
    """Return the name by which a metric is shown."""
    return {FAR: "scenes with minFDE6 above 5 m", CAPPED: "minFDE6 capped at 2 m"}.get(metric, metric)
