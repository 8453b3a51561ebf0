"""The study's answer: a sentence for each question, with numbers from the results."""

from __future__ import annotations

from studies.argoverse1_folds.analysis import Findings, Tested, metric_label
from studies.argoverse1_folds.ledger import NOT_YET
from studies.argoverse1_folds.plan import ALL_SCENES, BASELINE, MAIN, SCRATCH, Plan
from studies.argoverse1_folds.results import CAPPED
from synthdrive.reporting.evidence import Published
from synthdrive.reporting.wording import listed, signed

PAPER_VARIANT = "combined"
PAPER_WINDOWS = "forecast_paper"  # MAIN on windows like the paper's
AGAINST_SCRATCH = "compared with training from scratch"


def sentences(found: Findings, plan: Plan, published: Published) -> list[str]:
    """Return the answer to each question, or that it was not run yet."""
    few, scenes, name = min(plan.percents), found.training_scenes, plan.variants[MAIN].label.lower()
    total = scenes[ALL_SCENES]
    paper = published.change(PAPER_VARIANT, "minFDE6")
    in_the_paper = "" if paper is None else f" (in the paper: {signed(paper)} %)"
    return [
        _answer(
            "Few real scenes",
            _change(
                found,
                (MAIN, few, SCRATCH, "minFDE6"),
                f"With {few} % of a fold's training scenes ({scenes[few]:,}), pre-training ({name}) changes minFDE6 by",
                AGAINST_SCRATCH,
            ),
            _few_against_all(found, few, total),
        ),
        _answer(
            "Baseline without training",
            _change(
                found,
                (MAIN, few, BASELINE, "minFDE6"),
                f"With the same pre-training and {few} % of the scenes, minFDE6 changes by",
                "compared with lane following",
            ),
        ),
        _answer(
            "All real scenes, same pre-training",
            _change(
                found,
                (MAIN, ALL_SCENES, SCRATCH, "minFDE6"),
                f"With all training scenes ({total:,}), the same pre-training changes minFDE6 by",
                AGAINST_SCRATCH,
            ),
            _change(found, (MAIN, ALL_SCENES, SCRATCH, CAPPED), "MinFDE6 capped at 2 m changes by", AGAINST_SCRATCH),
        ),
        _answer("No fine-tuning on real scenes", _without_scenes(found, few)),
        _answer(
            "The paper's pre-training",
            _change(
                found,
                (PAPER_VARIANT, few, SCRATCH, "minFDE6"),
                f"With {few} % of the training scenes, the combined pre-training changes minFDE6 by",
                AGAINST_SCRATCH,
            ),
            _change(
                found,
                (PAPER_VARIANT, ALL_SCENES, SCRATCH, "minFDE6"),
                "With all training scenes, it changes minFDE6 by",
                AGAINST_SCRATCH + in_the_paper,
            ),
        ),
    ]


def change_text(tested: Tested) -> str:
    """Return a tested change with its interval, in bold if it is significant and each fold has several trainings."""
    bold = tested.direction and tested.difference.repeats > 1
    text = tested.difference.relative_text
    return f"**{text}**" if bold else text


def _answer(topic: str, *findings: str | None) -> str:
    known = [each for each in findings if each is not None]
    return f"**{topic}:** {' '.join(f'{each}.' for each in known) or f'{NOT_YET}.'}"


def _change(found: Findings, key: tuple[str, int, str, str], before: str, after: str) -> str | None:
    """Return a clause about the test of variant, percent, reference and metric; None if it has no result yet.

    If that test finds no significant difference, the significant ones in the other metrics are listed too.
    """
    tests = {(one.test.variant, one.test.percent, one.test.reference, one.metric): one for one in found.tests}
    main = tests.get(key)
    if main is None:
        return None
    text = f"{before} {change_text(main)} {after}"
    if main.direction:
        return text
    others = [one for other, one in tests.items() if other[:3] == key[:3] and one.direction]
    listing = listed([f"{metric_label(one.metric)} ({change_text(one)})" for one in others])
    p = f"p = {main.difference.p:.2g}, {main.adjusted:.2g} after Holm's correction"
    return f"{text}; this change is not significant ({p}){f', but that of {listing} is' if others else ''}"


def _without_scenes(found: Findings, few: int) -> str | None:
    alone, scratch = _level_text(found, MAIN, 0), _level_text(found, SCRATCH, few)
    baseline, paper = _level_text(found, BASELINE, 0), _level_text(found, PAPER_WINDOWS, 0)
    if alone is None or scratch is None or baseline is None:
        return None
    unrealistic = "" if paper is None else f"; with windows like the paper's, which use no real scenes, it is {paper}"
    return (
        f"After pre-training alone, minFDE6 is {alone}; lane following has {baseline}, and training from scratch on "
        f"{few} % of the scenes {scratch}. The speeds and the noise of the windows are measured on {few} % of the "
        f"scenes{unrealistic}"
    )


def _few_against_all(found: Findings, few: int, total: int) -> str | None:
    alone, scratch = _level_text(found, MAIN, few), _level_text(found, SCRATCH, ALL_SCENES)
    if alone is None or scratch is None:
        return None
    return f"It is then {alone}; training from scratch on all {total:,} scenes reaches {scratch}"


def _level_text(found: Findings, variant: str, percent: int) -> str | None:
    for level in found.levels:
        if (level.variant, level.percent) == (variant, percent):
            mean, low, high = level.values["minFDE6"]
            return f"{mean:.2f} m [{low:.2f}, {high:.2f}]"
    return None
