"""Collect the cells of a run into a study, and write its page: tables, charts, JSON.

Cells that were collected before stay, so a study grows over many sittings and machines:
    python stages/study.py                                  # collect what the run has left, then write the page
    python stages/study.py --no-collect                     # write the page again from the collected cells
    python stages/study.py --into choices                   # cells judged on a fold of the training scenes
    python stages/study.py --suffix _traffic --note "six other vehicles"    # a run with other parameters: its variants
                                                                            # stand beside those of the first run
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.report import load_cells as run_cells
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH
from synthdrive.forecasting.baselines import BASELINES
from synthdrive.reporting.claims import load_claims
from synthdrive.reporting.published import Published
from synthdrive.reporting.study.cells import collect_baseline, collect_cell, load_selected_runs, save_cell
from synthdrive.reporting.study.page import describe, write_study
from synthdrive.reporting.study.plan import load_plan


def main() -> None:
    """Collect, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/study"), help="the study's folder, with its study.yaml")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters (default: %(default)s)")
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: %(default)s")
    parser.add_argument("--forecasts", type=Path, default=Path("forecasts"), help="default: %(default)s")
    parser.add_argument(
        "--synthetic", type=Path, default=Path("data/synthetic"), help="the run's windows (default: %(default)s)"
    )
    parser.add_argument("--suffix", default="", help="appended to the names of the variants that are collected")
    parser.add_argument("--note", default="", help="appended to their descriptions: what is different in this run")
    parser.add_argument(
        "--into",
        choices=("cells", "choices"),
        default="cells",
        help="judged on the validation scenes (cells) or on scenes held back from the training scenes (choices)",
    )
    parser.add_argument("--no-collect", action="store_true", help="only write the page")
    given = parser.parse_args()
    with exit_on_error():
        plan = load_plan(given.out / "study.yaml")
        if not given.no_collect:
            cells = run_cells(given.params)
            synthetic = given.synthetic if given.synthetic.is_dir() else None
            for name in (f"{variant}-{seed}" for variant in cells.variants for seed in cells.seeds):
                if (given.forecasts / name / "errors.parquet").is_file():
                    folders = given.models / "pretrained" / name, given.models / "finetuned" / name
                    cell = collect_cell(*folders, given.forecasts / name, given.params, synthetic)
                    described = "; ".join(filter(None, (cell.description, given.note)))
                    cell = replace(cell, variant=cell.variant + given.suffix, description=described)
                    save_cell(cell, given.out / given.into)
            for name in BASELINES:
                if (given.forecasts / name / "errors.parquet").is_file():
                    save_cell(collect_baseline(given.forecasts / name), given.out / given.into)
        collected, choices = load_selected_runs(given.out / "cells"), load_selected_runs(given.out / "choices")
        claims, published = load_claims(Path("claims.yaml")), Published.load(Path("published.yaml"))
        write_study(plan, collected, choices, "make study", given.out, claims, published)
        print(f"study: {given.out}: {describe(collected)}", file=sys.stderr)


if __name__ == "__main__":
    main()
