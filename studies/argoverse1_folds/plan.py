"""The plan (`plan.yaml`): variants, shares of scenes, recipes, tests, and every run that follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import read_mapping
from synthdrive.core.schema import from_values

NONE, PAPER, REALISTIC = "none", "paper", "realistic"  # windows that a variant is pre-trained on
FEW, ALL = "few", "all"  # recipes for a part of the scenes, and for all
BASELINE = "lane_following"


@dataclass
class Variant:
    """A variant of the study.

    Attributes:
        label: as shown.
        windows: none, paper or realistic.
        recipe: of which group (`Plan.tuned`) it takes the recipe of fine-tuning.
        zero: whether it forecasts before it has learned from a real scene.
    """

    label: str
    windows: str
    recipe: str
    zero: bool


@dataclass
class Recipe:
    """What fine-tuning changes in the sections `finetune` and `model`."""

    finetune: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)


@dataclass
class Comparison:
    """A comparison that is tested; of a baseline, the percent is 0."""

    variant: str
    percent: int
    reference: str
    reference_percent: int


@dataclass
class Plan:
    """See plan.yaml.

    Attributes:
        folds: number of folds; repeats: trainings with other seeds in each.
        percents: shares of the scenes to train on.
        variants: in the order of the runs.
        tuned: group of recipes -> the variant that tries them.
        recipes: group -> few or all -> those to try, each a Recipe.
        tests: of the primary metrics.
    """

    folds: int
    repeats: int
    percents: list[int]
    variants: dict[str, Variant]
    tuned: dict[str, str]
    recipes: dict[str, Any]
    tests: list[Comparison]


@dataclass(frozen=True)
class Run:
    """A training and its judgement, or a baseline's judgement.

    Attributes:
        variant: of the plan, or the baseline.
        percent: of the scenes to train on.
        fold: whose scenes judge it, except where it tries a recipe: these judge nothing of the fold, nor train for it.
        repeat: counted from 0.
        trial: index of the recipe that is tried on the inner fold; None for a run of the study itself.
    """

    variant: str
    percent: int
    fold: int
    repeat: int = 0
    trial: int | None = None

    @property
    def name(self) -> str:
        """The stem of its result's file."""
        end = f"r{self.repeat}" if self.trial is None else f"t{self.trial}"
        return f"{self.variant}-{self.percent}-f{self.fold}-{end}"

    def seed(self, folds: int) -> int:
        """Training seed: every fold and repeat has its own, the same in all variants."""
        return self.repeat * folds + self.fold

    def inner(self, folds: int) -> int | None:
        """The fold that judges recipes; None for a run of the study itself."""
        return None if self.trial is None else (self.fold + 1) % folds


def load_plan(path: Path) -> Plan:
    """Read plan.yaml.

    Raises:
        ParameterError: a key is unknown or missing, a value is of the wrong type, or a name is unknown.
    """
    plan = from_values(Plan, read_mapping(path), str(path))
    known = [*plan.variants, BASELINE]
    for test in plan.tests:
        for name in (test.variant, test.reference):
            if name not in known:
                raise ParameterError(f"{path}: tests", repr(name), f"one of {', '.join(known)}")
    for name, variant in plan.variants.items():
        if variant.windows not in (NONE, PAPER, REALISTIC):
            raise ParameterError(f"{path}: variants.{name}.windows", repr(variant.windows), "none, paper or realistic")
        if variant.recipe not in plan.tuned:
            raise ParameterError(f"{path}: variants.{name}.recipe", repr(variant.recipe), f"one of {[*plan.tuned]}")
    for group, recipes in plan.recipes.items():
        for size in (FEW, ALL):
            recipes[size] = [from_values(Recipe, each, f"{path}: recipes.{group}.{size}") for each in recipes[size]]
    sizes = {size: {len(recipes[size]) for recipes in plan.recipes.values()} for size in (FEW, ALL)}
    for size, counts in sizes.items():
        if len(counts) > 1:
            raise ParameterError(f"{path}: recipes", f"{sorted(counts)} of them for {size}", "as many for each group")
    return plan


def size_of(percent: int) -> str:
    """Which recipes a fraction of the scenes takes."""
    return ALL if percent == 100 else FEW


def trials(plan: Plan, group: str, fold: int, size: str) -> list[Run]:
    """The runs that choose a group's recipes for one fold: at the smallest fraction of the scenes (few), or at all."""
    percent = 100 if size == ALL else min(plan.percents)
    return [Run(plan.tuned[group], percent, fold, 0, number) for number in range(len(plan.recipes[group][size]))]


def groups(plan: Plan) -> Iterator[list[Run]]:
    """All runs in the order in which they are to be made; those of a list share data and a pre-training.

    Baselines; then the variants that are tested, first with few scenes and then with all of them, each after the trials
    of its recipes; then the other variants; then the same for the next repeat. Wherever the study ends, the most
    important comparisons are complete.
    """
    yield [Run(BASELINE, 0, fold) for fold in range(plan.folds)]
    tested = [name for name in plan.variants if any(name in (test.variant, test.reference) for test in plan.tests)]
    others = [name for name in plan.variants if name not in tested]
    folds = range(plan.folds)
    for repeat, names, size in product(range(plan.repeats), (tested, others), (FEW, ALL)):
        if repeat == 0 and names is tested:
            yield from (trials(plan, group, fold, size) for fold, group in product(folds, plan.tuned))
        for name, fold in product(names, folds):
            percents = [0, *plan.percents] if plan.variants[name].zero else plan.percents
            yield [Run(name, percent, fold, repeat) for percent in percents if size_of(percent) == size]


def needs(plan: Plan, run: Run) -> list[Run]:
    """The runs whose results settle this run's recipe."""
    if run.variant == BASELINE or run.trial is not None or run.percent == 0:
        return []
    return trials(plan, plan.variants[run.variant].recipe, run.fold, size_of(run.percent))


def best_recipe(plan: Plan, run: Run, scores: Mapping[Run, float]) -> Recipe:
    """The recipe of a run of the study: of those tried, the one with the smallest score, the first of equals.

    A recipe that changes the model stays with the variant that tried it: another's pre-training was made without it.
    """
    variant = plan.variants[run.variant]
    recipes: list[Recipe] = plan.recipes[variant.recipe][size_of(run.percent)]
    own = plan.tuned[variant.recipe] == run.variant
    tried = [each for each in needs(plan, run) if own or not recipes[each.trial or 0].model]
    return recipes[min(tried, key=lambda each: scores[each]).trial or 0]
