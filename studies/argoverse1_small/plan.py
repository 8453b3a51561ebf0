"""The study's plan (`plan.yaml`): which variants its page compares."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import read_mapping
from synthdrive.core.schema import from_values


@dataclass
class Comparison:
    """Variants against one reference.

    Attributes:
        title, text: as shown.
        reference: the variant that the others are compared with.
        variants: the others.
    """

    title: str
    text: str
    reference: str
    variants: list[str]


@dataclass
class AmountCurve:
    """Errors against an amount of something.

    Attributes:
        title, text, x_label: as shown.
        x: (N,) amounts.
        series: label -> (N,) variants.
    """

    title: str
    text: str
    x_label: str
    x: list[float]
    series: dict[str, list[str]]


@dataclass
class Deviation:
    """One way in which the study is not the paper.

    Attributes:
        what, why: in words.
        variants: a variant that goes the paper's way and the one that goes ours, where both were run.
    """

    what: str
    why: str
    variants: list[str] = field(default_factory=list)


@dataclass
class VariantsSection:
    """A section that says something of each of a few variants.

    Attributes:
        title, text: as shown.
        variants: in the order of the section.
    """

    title: str
    text: str
    variants: list[str]


@dataclass
class LearningSection:
    """Curves of fine-tuning.

    Attributes:
        title, text: as shown.
        charts: title of a chart -> the variants in it.
    """

    title: str
    text: str
    charts: dict[str, list[str]]


@dataclass
class Headline:
    """A result that the page begins with.

    Attributes:
        variant, reference: what is compared.
        published: row of the published table of changes to put beside it.
        text: what the reader should know of it.
    """

    variant: str
    reference: str
    published: str
    text: str


@dataclass
class ClaimsSection:
    """The claims of the ledger that are about results.

    Attributes:
        title, text: as shown.
        source: of the scenes, as `data.source` names it.
    """

    title: str
    text: str
    source: str


@dataclass
class Withdrawn:
    """Withdrawn variants: their runs are listed, but support no conclusion.

    Attributes:
        variants: theirs.
        text: why, at the top of the page.
    """

    variants: list[str]
    text: str


@dataclass
class StudyPlan:
    """What the study shows.

    Attributes:
        title, introduction: as shown.
        withdrawn: variants whose runs say nothing, and why.
        headlines: the results that the page begins with.
        comparisons, curves: in the order of the page.
        strata: comparisons by kind of scene.
        spread: the section on typical scenes and the worst ones.
        learning: the section on the curves of fine-tuning.
        encoder: what pre-training does to the encoder, with and without a path for the gradient.
        choices: comparisons on scenes held out from the training scenes, to choose parameters by.
        claims: the section on the claims ledger.
        deviations: from the paper.
    """

    title: str
    introduction: str
    withdrawn: Withdrawn
    headlines: list[Headline]
    comparisons: list[Comparison]
    curves: list[AmountCurve]
    strata: list[Comparison]
    spread: VariantsSection
    learning: LearningSection
    encoder: VariantsSection
    choices: list[Comparison]
    claims: ClaimsSection
    deviations: list[Deviation]


def load_plan(path: Path) -> StudyPlan:
    """Read `plan.yaml`.

    Raises:
        ParameterError: a key is unknown or missing, or a value is of the wrong type.
    """
    plan = from_values(StudyPlan, read_mapping(path), str(path))
    for curve in plan.curves:
        for label, variants in curve.series.items():
            if len(variants) != len(curve.x):
                raise ParameterError(f"{path}: {curve.title}: {label}", f"{len(variants)} variants", f"{len(curve.x)}")
    return plan
