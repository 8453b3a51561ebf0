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
import tempfile
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from synthdrive.core.errors import SynthDriveError, exit_on_error

DATA = ("check_raw", "check_synthetic", "evaluate_baselines")
LEAVES = {"evaluate_baselines", "report"}  # nothing that a run needs
CHAIN = ("pretrain", "finetune", "train_from_scratch", "evaluate", "evaluate_from_scratch")  # a run's stages, in order
TRIES, PAUSE = 20, 2.0  # s; DVC gives up where another of its processes holds the lock for three seconds
_LOCKED = "Unable to acquire lock"


def chains(stages: Sequence[str], changed: Collection[str]) -> list[list[str]]:
    """The stages of each run that may have to be made again, seed by seed, those with pre-training first.

    Args:
        stages: all stages of the pipeline.
        changed: those whose inputs or outputs differ from dvc.lock; what follows from them is not in it.
    """
    everything = any("@" not in name and name not in LEAVES for name in changed)
    named = {name.split("@")[1] for name in changed if "@" in name}
    runs: dict[str, list[str]] = {}
    for kind in CHAIN:
        for name in stages:
            if name.startswith(f"{kind}@") and (everything or name.split("@")[1] in named):
                runs.setdefault(name.split("@")[1], []).append(name)
    return [runs[run] for run in sorted(runs, key=lambda run: (_seed(run), -len(runs[run])))]


def _seed(run: str) -> int:
    digits = re.search(r"\d+$", run)
    return int(digits[0]) if digits else 0


def reproduce(jobs: int) -> None:
    """Run what is pending.

    Raises:
        SynthDriveError: a stage failed; the others that had begun are finished first, and nothing of theirs is lost.
    """
    changed = json.loads(_dvc("status", "--json", capture=True) or "{}")
    if not changed:
        print("Data and pipelines are up to date.")
        return
    runs = chains(_dvc("stage", "list", "--name-only", capture=True).split(), changed)
    if jobs > 1 and len(runs) > 1:
        _dvc("repro", *DATA)
        with ThreadPoolExecutor(jobs) as pool:
            started = [pool.submit(_dvc, "repro", "--single-item", *stages) for stages in runs]
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
    """Run DVC, and again where another of its processes held the lock for too long; its output where it is captured."""
    command = [sys.executable, "-m", "dvc", *arguments]
    for _ in range(TRIES):
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as written:
            locked = False
            output = written if capture else None
            with subprocess.Popen(
                command, stdout=output, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
            ) as process:
                for line in process.stderr or ():
                    locked = locked or _LOCKED in line
                    sys.stderr.write("" if _LOCKED in line else line)
            if process.returncode == 0:
                written.seek(0)
                return written.read()
        if not locked:
            break
        time.sleep(PAUSE)
    raise SynthDriveError(f"dvc {' '.join(arguments)}: exit status {process.returncode}; what went wrong is above")


def main() -> None:
    """Command line: `python -m tools.side_by_side [--jobs 2]`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="runs at a time (default: %(default)s)")
    given = parser.parse_args()
    with exit_on_error():
        reproduce(given.jobs)


if __name__ == "__main__":
    main()
