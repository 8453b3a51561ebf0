"""Collect the runs that the pipeline has trained, and write the page of the first study: tables, charts, JSON.

Runs collected earlier are kept, so runs can be added at different times and from different machines:
    python -m studies.argoverse1_small                       # collect the runs of the pipeline, then write the page
    python -m studies.argoverse1_small --no-collect          # write the page from the runs collected earlier
    python -m studies.argoverse1_small --into choices        # runs evaluated on a held-out fold of the training scenes
    python -m studies.argoverse1_small --suffix _noisy --note "tracking noise"     # runs with other parameters: they
                                                             # are shown in addition to those of the first profile
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from studies.argoverse1_small.collected import collect_baseline, collect_run, load_runs, save_run
from studies.argoverse1_small.page import describe, write_study
from studies.argoverse1_small.plan import load_plan
from synthdrive.config.report import load_selected_runs
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH
from synthdrive.forecasting.baselines import BASELINES
from synthdrive.reporting.claims import load_claims
from synthdrive.reporting.evidence import Published

FOLDER = Path(__file__).parent


def main() -> None:
    """Collect the runs, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER, help="the study's folder, with its plan.yaml")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters (default: %(default)s)")
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: %(default)s")
    parser.add_argument("--forecasts", type=Path, default=Path("forecasts"), help="default: %(default)s")
    parser.add_argument(
        "--synthetic", type=Path, default=Path("data/synthetic"), help="synthetic windows (default: %(default)s)"
    )
    parser.add_argument("--suffix", default="", help="appended to the names of the collected variants")
    parser.add_argument("--note", default="", help="appended to their descriptions: what differs in these runs")
    parser.add_argument(
        "--into",
        choices=("runs", "choices"),
        default="runs",
        help="evaluated on the validation scenes (runs) or on scenes held out from the training scenes (choices)",
    )
    parser.add_argument("--no-collect", action="store_true", help="only write the page")
    given = parser.parse_args()
    with exit_on_error():
        plan = load_plan(given.out / "plan.yaml")
        if not given.no_collect:
            asked = load_selected_runs(given.params)
            synthetic = given.synthetic if given.synthetic.is_dir() else None
            for variant, seed in ((variant, seed) for variant in asked.variants for seed in asked.seeds):
                name, pretraining = f"{variant}-{seed}", f"{asked.pretraining(variant)}-{seed}"
                if (given.forecasts / name / "errors.parquet").is_file():
                    folders = given.models / "pretrained" / pretraining, given.models / "finetuned" / name
                    run = collect_run(*folders, given.forecasts / name, given.params, synthetic)
                    described = "; ".join(filter(None, (run.description, given.note)))
                    run = replace(run, variant=run.variant + given.suffix, description=described)
                    save_run(run, given.out / given.into)
            for name in BASELINES:
                if (given.forecasts / name / "errors.parquet").is_file():
                    save_run(collect_baseline(given.forecasts / name), given.out / given.into)
        collected, choices = load_runs(given.out / "runs"), load_runs(given.out / "choices")
        claims, published = load_claims(Path("claims.yaml")), Published.load(Path("published.yaml"))
        write_study(plan, collected, choices, "make study", given.out, claims, published)
        print(f"study: {given.out}: {describe(collected)}", file=sys.stderr)


if __name__ == "__main__":
    main()
