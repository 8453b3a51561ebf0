"""Run the study, as far as a sitting's time goes, and write its pages.

    python -m studies.argoverse1_folds run --hours 3     # goes on where the last sitting ended; then commit results/
    python -m studies.argoverse1_folds status            # how many runs are there, and what is left
    python -m studies.argoverse1_folds pages             # README.md and the pages beside it, from results/

Results are made from committed files only. Data and models stay in the work folder, which may be lost: a run whose
result is there is not made again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from studies.argoverse1_folds.execute import make_executor, modified_files
from studies.argoverse1_folds.pages import write_pages
from studies.argoverse1_folds.plan import load_plan
from studies.argoverse1_folds.results import SCENES, load_results
from studies.argoverse1_folds.schedule import start_sitting, summary
from studies.argoverse1_folds.stores import Stores
from synthdrive.config.whole_file import compose
from synthdrive.core.artifacts import read_json, write_json
from synthdrive.core.errors import SynthDriveError, exit_on_error
from synthdrive.core.parallel import worker_count
from synthdrive.core.parameters import DEFAULT_PATH, read_parameters
from synthdrive.reporting.evidence import Published

FOLDER = Path(__file__).parent


def main() -> None:
    """Parse the command line and do what it asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "status", "pages"))
    parser.add_argument("--hours", type=float, default=3.0, help="no run is begun that may end later (%(default)s)")
    parser.add_argument("--jobs", type=int, help="runs at a time, a core each (default: as many as there are cores)")
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
        if given.command == "pages":
            write_pages(given.results, given.out, plan, Published.load(Path("published.yaml")))
        results = load_results(given.results, plan)
        print(f"study: {summary(plan, dict(results.runs))}", file=sys.stderr)


def run(given: argparse.Namespace) -> None:
    """Make runs until the time is over.

    Raises:
        SynthDriveError: files differ from their commit, results of other code are there, or a run failed.
    """
    changed = modified_files()
    if changed is None or changed:
        what = "no git repository" if changed is None else f"{', '.join(changed[:5])} not committed"
        raise SynthDriveError(f"{what}: results are made from committed files, so that their commit says all")
    plan = load_plan(given.plan)
    parameters = compose(read_parameters(DEFAULT_PATH), given.profile)
    stores = Stores(given.work, parameters, plan)
    sitting = start_sitting(plan, make_executor(stores), given.results, given.hours)
    stores.make_shared(given.raw or Path(parameters["data"]["raw"]))
    given.results.mkdir(parents=True, exist_ok=True)
    scenes, file = stores.describe_scenes(), given.results / SCENES
    if file.is_file() and read_json(file) != scenes:
        raise SynthDriveError(f"{file}: other scenes or folds than those of {given.work / 'all'}: is the data another?")
    write_json(file, scenes)
    sitting.work(worker_count(given.jobs))
    print(f"study: {sitting.made} runs made; commit {given.results}", file=sys.stderr)


if __name__ == "__main__":
    main()
