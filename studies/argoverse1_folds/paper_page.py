"""The page about the paper's pre-training: what it learns, what it changes in forecasting, verdicts on the claims."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studies.argoverse1_folds.analysis import changes, metric_label
from studies.argoverse1_folds.answer import PAPER_VARIANT
from studies.argoverse1_folds.ledger import NOT_YET, RULE, JudgedEffect, effect_rows
from studies.argoverse1_folds.plan import SCRATCH, Comparison, Plan
from studies.argoverse1_folds.reconstruction import Reconstruction
from studies.argoverse1_folds.results import PRIMARY, Results
from studies.markdown import table
from synthdrive.reporting.wording import signed

COMPARED = (PAPER_VARIANT, "as_released", "scene_reconstruction")
SIMPLE = {"lanes": ("straight", "straight extrapolation"), "trajectory": ("quadratic", "a parabola")}
"""For each kind of reconstruction, the best simple predictor and the name by which it is shown."""
WHY_SLOW = (
    "A likely reason that the paper's blind decoder learns trajectories better: only the first query of a trajectory "
    "contains its first vector, and the other queries must find it by attention. Among the encoder's outputs this "
    "takes many more steps than among the queries alone "
    "([objectives](../../docs/objectives.md#trajectories-are-learned-slowly))."
)


def paper_page(
    results: Results, plan: Plan, measured: Sequence[Reconstruction], effects: Sequence[JudgedEffect]
) -> str:
    """Return the page as Markdown.

    Args:
        results: all results; plan: the study's plan.
        measured: losses of the pre-trained networks.
        effects: the paper's claims, judged on the study.
    """
    lines = ["# The paper's pre-training", "", "## What the network learns", "", *_learned(plan, measured), ""]
    lines += ["## What it changes in forecasting", "", *_changes(results, plan), ""]
    return "\n".join([*lines, "## The paper's claims", "", RULE, "", *table(*effect_rows(effects)), ""])


def reconstruction_sentences(measured: Sequence[Reconstruction]) -> list[str]:
    """Return one sentence for each kind of reconstruction of the paper's variant; none if it was not measured."""
    ours = [each for each in measured if each.variant == PAPER_VARIANT]
    found = []
    for kind, (simple, label) in SIMPLE.items():
        means = _means(ours, kind)
        if means:
            better = "less" if means["loss"] < means[simple] else "more"
            found.append(
                f"{kind.capitalize()}: the trained network has a loss of {means['loss']:.3f}, {better} than "
                f"{label} ({means[simple]:.3f}); a decoder trained without the encoder has {means['blind']:.3f}."
            )
    return found


def _learned(plan: Plan, measured: Sequence[Reconstruction]) -> list[str]:
    if not measured:
        return [f"Reconstruction losses at places left out of pre-training: {NOT_YET}."]
    text = (
        "Reconstruction losses on windows from places that the pre-training of a fold leaves out (means over the folds "
        "measured so far). Straight extrapolation continues a lane's first vector, the parabola goes through the known "
        "points of a trajectory, and the blind decoder is trained without seeing the encoder. Gain: 1 − loss / blind. "
        "The losses of scene reconstruction are of positions only; compare them only with those in the same row."
    )
    head = ["variant", "folds"]
    for kind, (_, label) in SIMPLE.items():
        head += [f"{kind}: loss", label.removeprefix("a "), "blind decoder", "gain"]
    rows = []
    for variant, described in plan.variants.items():
        ours = [each for each in measured if each.variant == variant]
        if not ours:
            continue
        row = [described.label, str(len({each.fold for each in ours}))]
        for kind, (simple, _) in SIMPLE.items():
            means = _means(ours, kind)
            losses = [f"{means[name]:.3f}" for name in ("loss", simple, "blind")] if means else [""] * 3
            row += [*losses, f"{signed(100 * means['gain'], 0)} %" if means else ""]
        rows.append(row)
    sentences = [f"* {sentence}" for sentence in reconstruction_sentences(measured)]
    return [text, "", *table(head, rows), "", *sentences, "", WHY_SLOW]


def _means(measured: Sequence[Reconstruction], kind: str) -> dict[str, float]:
    """Return the means over folds of each loss; the gain is that of the mean losses."""
    losses = [found for each in measured if (found := each.losses.get(kind)) is not None]
    if not losses:
        return {}
    means = {name: float(np.mean([each[name] for each in losses])) for name in losses[0]}
    return means | {"gain": 1.0 - means["loss"] / means["blind"]}


def _changes(results: Results, plan: Plan) -> list[str]:
    rows = []
    for variant in COMPARED:
        for percent in plan.percents:
            texts = changes(results, Comparison(variant, percent, SCRATCH, percent), plan)
            if texts is not None:
                rows.append([f"{plan.variants[variant].label} ({percent} %)", *texts])
    if not rows:
        return [f"Against training from scratch: {NOT_YET}."]
    text = (
        "Change against training from scratch on the same scenes, with 95 % intervals over places and seeds. "
        "[Results](results.md) lists the planned tests."
    )
    return [text, "", *table(["variant (training scenes)", *(metric_label(one) for one in PRIMARY)], rows)]
