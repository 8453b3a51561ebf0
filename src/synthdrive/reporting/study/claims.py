"""The claims ledger, judged on a study's cells: what the paper says of its variants, tested on real scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from synthdrive.reporting.claim_outcome import Evidence
from synthdrive.reporting.claims import Claim, Judged, judge
from synthdrive.reporting.measurements import Measurements, VariantErrors
from synthdrive.reporting.published import Published
from synthdrive.reporting.study.cells import METRICS, Floats, StudyCells
from synthdrive.reporting.study.comparisons import SAMPLES
from synthdrive.synthesis.windows import MotionDistributions

NOTHING = np.zeros(0)


def judge_on_cells(claims: Sequence[Claim], published: Published, cells: StudyCells, source: str) -> list[Judged]:
    """Every claim about the results of variants, with its verdict on the seeds that all variants it needs have.

    Args:
        claims: of the ledger; those that need no variant, and so no training, are left to the report.
        source: of the scenes, as `data.source` names it.
    """
    judged: list[Judged] = []
    for claim in claims:
        variants = claim.needs.get("variants")
        if variants:
            judged += judge([claim], _evidence(_measured(variants, cells, source), published))
    return judged


def _measured(variants: Sequence[str], cells: StudyCells, source: str) -> Measurements:
    """The cells of these variants, on the seeds that all of them have."""
    there = [variant for variant in variants if variant in cells.variants]
    seeds = tuple(cells.paired_errors(there, METRICS[0])[0])
    errors = {name: dict(zip(there, cells.paired_errors(there, name)[1], strict=True)) for name in METRICS}
    rows = {
        variant: _row(variant, seeds, {name: errors[name][variant] for name in METRICS}) for variant in there if seeds
    }
    some = next((cells.variants[variant][seeds[0]] for variant in rows), None)
    baselines = {
        name: _row(name, (), {metric: values[None] for metric, values in cell.errors.items()})
        for name, cell in cells.baselines.items()
    }
    return Measurements(
        source=source,
        scene_count=cells.scene_count if rows else 0,
        train_scenes=0 if some is None else int(some.finetuning["scenes"]),
        windows=0,
        windows_augmented=0,
        seeds=seeds,
        variants=rows,
        baselines=baselines,
        samples=SAMPLES,
    )


def _row(name: str, seeds: tuple[int, ...], scenes: Mapping[str, Floats]) -> VariantErrors:
    return VariantErrors(name, seeds, scenes, {metric: values.mean(axis=1) for metric, values in scenes.items()})


def _evidence(measured: Measurements, published: Published) -> Evidence:
    """Evidence for the tests that look at results alone."""
    no_motion = MotionDistributions(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)
    return Evidence(measured, published, no_motion, no_motion, NOTHING, {})
