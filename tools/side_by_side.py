"""Run the whole pipeline, with as many runs in parallel as there are cores, as `make repro` does.

DVC runs one stage after another. Here that is so only for the data; the chains of stages of each run (a variant with a
seed), pre-training, fine-tuning and evaluation, are run in parallel, on one thread each. `dvc repro` does the same work
and gives the same files, but one run after another.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from synthdrive.core.errors import exit_on_error
from tools.dvc_commands import dvc

DATA = ("check_raw", "check_synthetic", "evaluate_baselines")
LEAVES = {"evaluate_baselines", "report"}  # stages on which no run depends
# Stages of a run, in order; runs that share the pre-training of another run come after all others.
OWN = ("pretrain", "finetune", "train_from_scratch", "evaluate", "evaluate_from_scratch")
SHARED = ("finetune_shared", "evaluate_shared")


def chains(stages: Sequence[str], changed: Collection[str], kinds: Sequence[str] = OWN) -> list[list[str]]:
    """Return the stages of each run that may have changed, sorted by seed, runs with pre-training first.

    Args:
        stages: all stages of the pipeline.
        changed: stages whose inputs or outputs differ from dvc.lock, without the stages that depend on them.
        kinds: the kinds of stages of a run, in order.
    """
    everything = any("@" not in name and name not in LEAVES for name in changed)
    everything |= kinds == SHARED and any(name.startswith("pretrain@") for name in changed)
    named = {name.split("@")[1] for name in changed if name.split("@")[0] in kinds}
    runs: dict[str, list[str]] = {}
    for kind in kinds:
        for name in stages:
            if name.startswith(f"{kind}@") and (everything or name.split("@")[1] in named):
                runs.setdefault(name.split("@")[1], []).append(name)
    return [runs[run] for run in sorted(runs, key=lambda run: (_seed(run), -len(runs[run])))]


def _seed(run: str) -> int:
    digits = re.search(r"\d+$", run)
    return int(digits[0]) if digits else 0


def reproduce(jobs: int) -> None:
    """Run all changed stages, with `jobs` runs at a time.

    Raises:
        SynthDriveError: a stage failed. Other stages that are already running are completed first.
    """
    changed = json.loads(dvc("status", "--json", captured=True) or "{}")
    if not changed:
        print("Data and pipelines are up to date.")
        return
    stages = dvc("stage", "list", "--name-only", captured=True).split()
    waves = [chains(stages, changed, kinds) for kinds in (OWN, SHARED)]
    if jobs > 1 and sum(map(len, waves)) > 1:
        dvc("repro", *DATA)
        finished, total = 0, sum(map(len, waves))
        for runs in waves:
            with ThreadPoolExecutor(jobs) as pool:
                started = [pool.submit(dvc, "repro", "--single-item", *run) for run in runs]
                try:
                    for done in as_completed(started):
                        done.result()
                        finished += 1
                        print(f"{finished} of {total} runs finished", flush=True)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
    dvc("repro")


def default_jobs() -> int:
    """Return the number of usable cores, or 1 if there is a GPU."""
    return 1 if shutil.which("nvidia-smi") else len(os.sched_getaffinity(0))


def main() -> None:
    """Command line: `python -m tools.side_by_side [--jobs 2]`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="runs at a time (default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_error():
        reproduce(arguments.jobs)


if __name__ == "__main__":
    main()
