"""Run the study for a number of hours, and write its pages.

    python -m studies.argoverse1_folds run --hours 3     # continues from results/; commit results/ afterwards
    python -m studies.argoverse1_folds status            # number of finished runs, time spent and left
    python -m studies.argoverse1_folds reconstruction    # losses of the pre-trained networks at other places
    python -m studies.argoverse1_folds publish           # copies the best models from the work folder to models/
    python -m studies.argoverse1_folds pages             # writes README.md and the other pages from results/

Results are made from committed files only. Data and models are kept in the work folder and may be deleted: a run whose
result exists is not made again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from studies.argoverse1_folds.execute import claim_work_folder, make_executor, uncommitted
from studies.argoverse1_folds.pages import write_pages
from studies.argoverse1_folds.plan import load_plan
from studies.argoverse1_folds.publish import publish_models
from studies.argoverse1_folds.reconstruction import RECONSTRUCTION, measure_reconstructions
from studies.argoverse1_folds.results import SCENES, load_results
from studies.argoverse1_folds.schedule import make_scheduler, summary
from studies.argoverse1_folds.stores import Stores
from synthdrive.config.whole_file import compose
from synthdrive.core.artifacts import read_json, write_json
from synthdrive.core.errors import SynthDriveError, exit_on_error
from synthdrive.core.parallel import worker_count
from synthdrive.core.parameters import DEFAULT_PATH, read_parameters
from synthdrive.reporting.claims import load_claims
from synthdrive.reporting.evidence import Published

FOLDER = Path(__file__).parent


def main() -> None:
    """Run the command given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "status", "reconstruction", "publish", "pages"))
    parser.add_argument(
        "--hours", type=float, default=3.0, help="no run is started that may end later (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, help="runs at a time, one core each (default: the number of cores)")
    parser.add_argument("--plan", type=Path, default=FOLDER / "plan.yaml", help="(default: %(default)s)")
    parser.add_argument(
        "--profile", type=Path, default=Path("profiles/argoverse1-folds.yaml"), help="(default: %(default)s)"
    )
    parser.add_argument("--raw", type=Path, help="folder of the official tarballs (default: data.raw of the profile)")
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="(default: %(default)s)")
    parser.add_argument(
        "--work", type=Path, default=Path(".run/argoverse1_folds"), help="data and models (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the pages (default: %(default)s)")
    given = parser.parse_args()
    with exit_on_error():
        if given.command == "run":
            run(given)
        plan = load_plan(given.plan)
        measured = given.results.with_name(RECONSTRUCTION)
        if given.command == "reconstruction":
            measure_reconstructions(given.work, measured, plan)
        if given.command == "publish":
            for folder in publish_models(given.work, load_results(given.results, plan), given.out, plan):
                print(folder)
        if given.command == "pages":
            published, claims = Published.load(Path("published.yaml")), load_claims(Path("claims.yaml"))
            write_pages(given.results, measured, given.out, plan, published, claims)
        results = load_results(given.results, plan)
        print(f"study: {summary(plan, dict(results.runs))}", file=sys.stderr)


def run(given: argparse.Namespace) -> None:
    """Make runs until the time is up.

    Raises:
        SynthDriveError: files differ from their commit, some results were made by other code, or a run failed.
    """
    if what := uncommitted():
        raise SynthDriveError(f"{what}; results are made from committed files only, so that the commit identifies them")
    plan = load_plan(given.plan)
    parameters = compose(read_parameters(DEFAULT_PATH), given.profile)
    stores = Stores(given.work, parameters, plan)
    executor = make_executor(stores)
    scheduler = make_scheduler(plan, executor, given.results, given.hours)
    claim_work_folder(executor)
    stores.make_shared(given.raw or Path(parameters["data"]["raw"]))
    given.results.mkdir(parents=True, exist_ok=True)
    scenes, file = stores.describe_scenes(), given.results / SCENES
    if file.is_file() and read_json(file) != scenes:
        raise SynthDriveError(f"{file}: other scenes or folds than in {given.work / 'all'}; have the raw data changed?")
    write_json(file, scenes)
    scheduler.work(worker_count(given.jobs))
    print(f"study: {scheduler.made} runs made; commit {given.results}", file=sys.stderr)


if __name__ == "__main__":
    main()
