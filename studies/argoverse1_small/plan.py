"""The plan of the first study, `plan.yaml`: comparisons and texts of its page. All numbers come from the runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import read_mapping
from synthdrive.core.schema import from_values


@dataclass
class Comparison:
    """A comparison of variants with one reference.

    Attributes:
        title, text: as shown.
        reference: the variant with which the others are compared.
        variants: the others.
    """

    title: str
    text: str
    reference: str
    variants: list[str]


@dataclass
class AmountCurve:
    """Errors as a function of the amount of data.

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
    """A difference between this study and the paper.

    Attributes:
        what, why: the difference and its reason, in words.
        variants: a variant that follows the paper and one that follows this study, if both were run.
    """

    what: str
    why: str
    variants: list[str] = field(default_factory=list)


@dataclass
class VariantsSection:
    """A section about several variants.

    Attributes:
        title, text: as shown.
        variants: in the order shown.
    """

    title: str
    text: str
    variants: list[str]


@dataclass
class LearningSection:
    """The section on the learning curves of fine-tuning.

    Attributes:
        title, text: as shown.
        charts: title of a chart -> its variants.
    """

    title: str
    text: str
    charts: dict[str, list[str]]


@dataclass
class Headline:
    """A result at the top of the page.

    Attributes:
        variant, reference: the variants that are compared.
        published: row of the published table of changes that is shown with it.
        text: explanation of the result.
    """

    variant: str
    reference: str
    published: str
    text: str


@dataclass
class ClaimsSection:
    """The section on the claims of the ledger about effects.

    Attributes:
        title, text: as shown.
        source: source of the scenes, as in `data.source`.
    """

    title: str
    text: str
    source: str


@dataclass
class Withdrawn:
    """Runs whose results are withdrawn, though the page still lists them.

    Attributes:
        variants: the variants of these runs.
        text: the reason, shown at the top of the page.
    """

    variants: list[str]
    text: str


@dataclass
class StudyPlan:
    """Contents of the page of the first study.

    Attributes:
        title, introduction: as shown.
        withdrawn: variants whose results are withdrawn, and the reason.
        headlines: results at the top of the page.
        comparisons, curves: in the order shown.
        strata: comparisons by kind of scene.
        spread: the section on typical scenes and the worst ones.
        learning: the section on the learning curves of fine-tuning.
        encoder: the section on how pre-training changes the encoder, with and without the decoder mask of the release.
        choices: comparisons on scenes held out from the training scenes, by which hyperparameters were chosen.
        claims: the section on the claims ledger.
        deviations: differences from the paper.
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
