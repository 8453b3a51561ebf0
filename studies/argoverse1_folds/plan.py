"""The plan (`plan.yaml`): variants, fractions of the scenes, recipes, tests, and the runs that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import read_mapping
from synthdrive.core.schema import from_values

NONE, PAPER, REALISTIC = "none", "paper", "realistic"  # kinds of windows for pre-training
FEW, ALL = "few", "all"  # sets of recipes: for a part of the scenes, for all of them
ALL_SCENES = 100  # %, the setting of the paper
BASELINE = "lane_following"
SCRATCH, MAIN = "scratch", "forecast_realistic"  # in every plan: no pre-training, and the variant of the answer


@dataclass
class Variant:
    """A variant of the study.

    Attributes:
        label: its name as shown.
        windows: synthetic windows for pre-training: none, paper or realistic.
        recipe: group (`Plan.tuned`) whose fine-tuning recipe it uses.
        zero: whether it is also evaluated without fine-tuning on real scenes.
    """

    label: str
    windows: str
    recipe: str
    zero: bool


@dataclass
class Recipe:
    """Changes to the sections `finetune` and `model` for fine-tuning."""

    finetune: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The changes as shown on the pages."""
        return ", ".join(f"{key}={value}" for key, value in {**self.finetune, **self.model}.items())


@dataclass(frozen=True)
class Comparison:
    """A comparison that is tested; the percent of a baseline is 0."""

    variant: str
    percent: int
    reference: str
    reference_percent: int


@dataclass
class Plan:
    """The content of plan.yaml.

    Attributes:
        folds: number of folds; repeats: number of trainings per fold, with different seeds.
        percents: fractions (%) of a fold's training scenes.
        variants: name -> variant, in the order of the runs.
        tuned: group of recipes -> the variant with which they are tried.
        recipes: group -> few or all -> list of recipes to try.
        tests: comparisons, each tested in every primary metric.
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
    """A training with its evaluation, or the evaluation of the baseline.

    Attributes:
        variant: a variant of the plan, or the baseline.
        percent: fraction (%) of the training scenes.
        fold: the test fold; a trial of a recipe uses it neither for training nor for evaluation.
        repeat: number of the repeat, from 0.
        trial: index of the recipe that is tried, with evaluation on the inner fold; None for a run of the study itself.
    """

    variant: str
    percent: int
    fold: int
    repeat: int = 0
    trial: int | None = None

    @property
    def name(self) -> str:
        """Stem of the name of its result's file."""
        end = f"r{self.repeat}" if self.trial is None else f"t{self.trial}"
        return f"{self.variant}-{self.percent}-f{self.fold}-{end}"

    def seed(self, folds: int) -> int:
        """Return the training seed: different for every fold and repeat, the same for all variants."""
        return self.repeat * folds + self.fold

    def checkpoint(self, folds: int) -> Path:
        """Return the folder of its fine-tuned model, relative to that of its fold's data."""
        return Path("runs", self.name, "finetuned", f"{self.variant}-{self.seed(folds)}")

    def inner(self, folds: int) -> int | None:
        """Return the fold on which a trial is evaluated; None for a run of the study itself."""
        return None if self.trial is None else (self.fold + 1) % folds


def load_plan(path: Path) -> Plan:
    """Read plan.yaml.

    Raises:
        ParameterError: a key is unknown or missing, a value is of the wrong type, or a name is unknown.
    """
    plan = from_values(Plan, read_mapping(path), str(path))
    if plan.folds < 2 or plan.repeats < 1:
        found = f"{plan.folds} and {plan.repeats}"
        raise ParameterError(f"{path}: folds, repeats", found, "at least two folds and one repeat")
    if ALL_SCENES not in plan.percents or not all(0 < percent <= ALL_SCENES for percent in plan.percents):
        raise ParameterError(f"{path}: percents", str(plan.percents), "numbers above 0 up to 100, with 100 among them")
    for name, variant in plan.variants.items():
        if variant.windows not in (NONE, PAPER, REALISTIC):
            raise ParameterError(f"{path}: variants.{name}.windows", repr(variant.windows), "none, paper or realistic")
        if variant.recipe not in plan.tuned:
            raise ParameterError(f"{path}: variants.{name}.recipe", repr(variant.recipe), f"one of {[*plan.tuned]}")
    if missing := [name for name in (SCRATCH, MAIN) if name not in plan.variants]:
        found = f"{', '.join(plan.variants)} without {' and '.join(missing)}"
        raise ParameterError(f"{path}: variants", found, f"{SCRATCH} and {MAIN}, which the pages compare")
    _check_tests(plan, path)
    _read_recipes(plan, path)
    return plan


def _check_tests(plan: Plan, path: Path) -> None:
    trained = {name: [*([0] if variant.zero else []), *plan.percents] for name, variant in plan.variants.items()}
    known = trained | {BASELINE: [0]}
    for test in plan.tests:
        for name, percent in ((test.variant, test.percent), (test.reference, test.reference_percent)):
            if name not in known:
                raise ParameterError(f"{path}: tests", repr(name), f"one of {', '.join(known)}")
            if percent not in known[name]:
                raise ParameterError(f"{path}: tests: {name}", f"{percent} %", f"one of {known[name]}")


def _read_recipes(plan: Plan, path: Path) -> None:
    """Replace the recipes by objects; there must be as many for every group."""
    for group, variant in plan.tuned.items():
        if variant not in plan.variants:
            raise ParameterError(f"{path}: tuned.{group}", repr(variant), f"one of {', '.join(plan.variants)}")
        recipes = plan.recipes.get(group)
        if not isinstance(recipes, dict) or not all(isinstance(recipes.get(size), list) for size in (FEW, ALL)):
            raise ParameterError(f"{path}: recipes.{group}", repr(recipes), f"lists of recipes, {FEW} and {ALL}")
        for size in (FEW, ALL):
            recipes[size] = [from_values(Recipe, each, f"{path}: recipes.{group}.{size}") for each in recipes[size]]
    for size in (FEW, ALL):
        counts = {len(plan.recipes[group][size]) for group in plan.tuned}
        if len(counts) > 1 or 0 in counts:
            raise ParameterError(f"{path}: recipes", f"{sorted(counts)} of them for {size}", "as many for each group")


def size_of(percent: int) -> str:
    """Return the set of recipes (few or all) for a fraction of the scenes."""
    return ALL if percent == ALL_SCENES else FEW


def trials(plan: Plan, group: str, fold: int, size: str) -> list[Run]:
    """Return the trials of a group's recipes for one fold, with the smallest fraction of the scenes (few) or all."""
    percent = ALL_SCENES if size == ALL else min(plan.percents)
    return [Run(plan.tuned[group], percent, fold, 0, number) for number in range(len(plan.recipes[group][size]))]


def groups(plan: Plan) -> Iterator[list[Run]]:
    """Yield all runs in the order in which they are made; those of a list share data and a pre-training.

    The baseline comes first; then the variants that are tested, with few scenes and then with all of them, each after
    the trials of its recipes; then the other variants; then the same for the next repeat. Whenever the study ends, the
    most important comparisons are as complete as possible.
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
    """Return the trials whose results determine this run's recipe."""
    if run.variant == BASELINE or run.trial is not None or run.percent == 0:
        return []
    return trials(plan, plan.variants[run.variant].recipe, run.fold, size_of(run.percent))


def best_recipe(plan: Plan, run: Run, scores: Mapping[Run, float]) -> Recipe:
    """Return the recipe of a run of the study: the one with the smallest score, the first if several are equal.

    A recipe that changes the model can be chosen only for the variant that tried it, because the pre-training of other
    variants was made without this change.
    """
    variant = plan.variants[run.variant]
    recipes: list[Recipe] = plan.recipes[variant.recipe][size_of(run.percent)]
    own = plan.tuned[variant.recipe] == run.variant
    tried = [each for each in needs(plan, run) if own or not recipes[each.trial or 0].model]
    return recipes[min(tried, key=lambda each: scores[each]).trial or 0]
