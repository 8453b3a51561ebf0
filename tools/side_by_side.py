"""The whole pipeline, with as many runs side by side as there are cores: what `make repro` does.

DVC runs one stage after another. The data is made so; then each run (a variant with a seed) is a chain of its own,
pre-training, fine-tuning and evaluation, and chains are made side by side, on one thread each. `dvc repro` does the
same work and gives the same files, one run after another.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from synthdrive.core.errors import SynthDriveError, exit_on_error

DATA = ("check_raw", "check_synthetic", "evaluate_baselines")
LEAVES = {"evaluate_baselines", "report"}  # nothing that a run needs
_RUN = re.compile(r"evaluate(_from_scratch)?@(.+-(\d+))")


def runs_to_make(stages: Sequence[str], changed: Collection[str]) -> list[str]:
    """The last stage of each run that may have to be made again, seed by seed, those with pre-training first.

    Args:
        stages: all stages of the pipeline.
        changed: those whose inputs or outputs differ from dvc.lock; what follows from them is not in it.
    """
    everything = any("@" not in name and name not in LEAVES for name in changed)
    named = {name.split("@")[1] for name in changed if "@" in name}
    ends = [match for name in stages if (match := _RUN.fullmatch(name))]
    ends = [match for match in ends if everything or match[2] in named]
    return [match[0] for match in sorted(ends, key=lambda match: (int(match[3]), bool(match[1])))]


def reproduce(jobs: int) -> None:
    """Run what is pending.

    Raises:
        SynthDriveError: a stage failed; the others that had begun are finished first, and nothing of theirs is lost.
    """
    changed = json.loads(_dvc("status", "--json", capture=True) or "{}")
    if not changed:
        print("Data and pipelines are up to date.")
        return
    runs = runs_to_make(_dvc("stage", "list", "--name-only", capture=True).split(), changed)
    if jobs > 1 and len(runs) > 1:
        _dvc("repro", *DATA)
        with ThreadPoolExecutor(jobs) as pool:
            started = {pool.submit(_dvc, "repro", stage): stage for stage in runs}
            try:
                for done in as_completed(started):
                    done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    _dvc("repro")


def default_jobs() -> int:
    """As many as the cores; one where a GPU trains."""
    return 1 if shutil.which("nvidia-smi") else len(os.sched_getaffinity(0))


def _dvc(*arguments: str, capture: bool = False) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE if capture else None, text=True)
    if done.returncode:
        raise SynthDriveError(f"dvc {' '.join(arguments)}: exit status {done.returncode}; what went wrong is above")
    return done.stdout or ""


def main() -> None:
    """Command line: `python -m tools.side_by_side [--jobs 2]`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="runs at a time (default: %(default)s)")
    given = parser.parse_args()
    with exit_on_error():
        reproduce(given.jobs)


if __name__ == "__main__":
    main()
