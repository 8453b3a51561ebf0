"""From the results to numbers: levels, tested differences, and what they say in words."""

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
SHARES = ("MR6", FAR)  # metrics of 0 and 1, shown in per cent


@dataclass(frozen=True)
class Level:
    """A variant at one share of the scenes.

    Attributes:
        variant, percent: which; repeats: trainings of each fold.
        values: metric -> mean, low and high over all scenes, as shown.
        trainings: metric -> city (all: "") -> (R * F,) mean of each training over its fold's scenes, as shown.
        cities: metric -> city (all: "") -> mean, as shown.
    """

    variant: str
    percent: int
    repeats: int
    values: Mapping[str, tuple[float, float, float]]
    trainings: Mapping[str, Mapping[str, list[float]]]
    cities: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Tested:
    """A test of the plan in one metric; `adjusted` is Holm's p over all tests that could be made."""

    test: Comparison
    metric: str
    difference: Difference
    adjusted: float

    @property
    def direction(self) -> int:
        """-1: better than the reference, 1: worse, 0: no statistically significant difference."""
        return 0 if self.adjusted >= SIGNIFICANT else int(np.sign(self.difference.mean))


def places_of(results: Results) -> Places:
    """Fold and block of every scene, in the order of the results."""
    _, blocks = np.unique(np.array(results.scenes["block"]), return_inverse=True)
    return Places(np.array(results.scenes["fold"], dtype=np.int64), blocks.astype(np.int64))


def errors_of(results: Results, variant: str, percent: int, metric: str, plan: Plan) -> dict[int, Floats]:
    """Repeat -> (S,) one metric of every scene, each from the training that did not see its fold."""
    whole = results.of(variant, percent, plan)
    return {repeat: np.concatenate([each.metric(metric) for each in folds]) for repeat, folds in whole.items()}


def levels(results: Results, plan: Plan) -> list[Level]:
    """Every variant at every fraction of the scenes that has a whole repeat, the baseline first."""
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
    """A difference on the repeats that both sides have; None where there is none yet."""
    scale = 100.0 if metric in SHARES else 1.0
    ours = errors_of(results, test.variant, test.percent, metric, plan)
    theirs = errors_of(results, test.reference, test.reference_percent, metric, plan)
    repeats = sorted(ours if test.reference == BASELINE else set(ours) & set(theirs))
    if not repeats or not theirs:
        return None
    base = [theirs[0]] if test.reference == BASELINE else [theirs[repeat] for repeat in repeats]
    variant = scale * np.stack([ours[repeat] for repeat in repeats])
    return difference(variant, scale * np.stack(base), places_of(results))


def planned_tests(results: Results, plan: Plan) -> list[Tested]:
    """The plan's tests that can be made, in the primary metrics, with Holm's correction over all of them."""
    made = [
        (test, metric, found)
        for test in plan.tests
        for metric in PRIMARY
        if (found := compare(results, test, metric, plan)) is not None
    ]
    adjusted = holm([found.p for _, _, found in made])
    return [Tested(*each, p) for each, p in zip(made, adjusted, strict=True)]


def unit_of(metric: str) -> str:
    """As shown."""
    return "%" if metric in SHARES else "m"


def metric_label(metric: str) -> str:
    """As shown."""
    return {FAR: "scenes beyond 5 m", CAPPED: "minFDE6, at most 2 m"}.get(metric, metric)
