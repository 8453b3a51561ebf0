"""Inject every kind of fault into every stage of the smallest real pipeline, and print a table of the outcomes.

`make faults`, or `python tests/faults --kinds "Ctrl-C" --stages pretrain finetune`. The exit status is 1 if a
stage did not survive a fault as it should.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from campaign import KINDS, STAGES, Outcome, Reference, reason_to_skip, run_campaign, undisturbed
from damage import DAMAGES, run_damage


def row(name: str, outcomes: list[Outcome], seconds: float) -> str:
    """Return one line of the table."""
    survived = sum(not outcome.problems for outcome in outcomes)
    lost = max((outcome.lost_seconds for outcome in outcomes), default=0.0)
    epochs = max((outcome.lost_epochs for outcome in outcomes), default=0)
    return f"{name:34}{len(outcomes):6}{survived:10}{lost:14.1f}{epochs:8}{seconds:10.0f}"


def main() -> None:
    """Inject the chosen faults and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS, *DAMAGES], default=[*KINDS, *DAMAGES], metavar="KIND")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, metavar="STAGE")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments at which the faults happen")
    parser.add_argument("--jobs", type=int, default=2, help="number of kinds at the same time")
    parser.add_argument(
        "--folder",
        type=Path,
        help="working folder, which is kept; an undisturbed run in it is used again",
    )
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="synthdrive-faults-") as temporary:
        base = (given.folder or Path(temporary)).resolve()
        base.mkdir(parents=True, exist_ok=True)
        reference = undisturbed(base)
        print(f"The undisturbed pipeline takes {reference.seconds:.0f} s\n")
        print(f"{'fault':34}{'tried':>6}{'survived':>10}{'most lost (s)':>14}{'epochs':>8}{'took (s)':>10}", flush=True)
        jobs: dict[str, Callable[[], list[Outcome]]] = {}
        for name in given.kinds:
            if name in DAMAGES:
                jobs[name] = partial(run_damage, name, reference, base, given.seed, given.stages)
            elif reason := reason_to_skip(KINDS[name]):
                print(f"{name:34}skipped: {reason}", flush=True)
            else:
                jobs[name] = partial(run_campaign, KINDS[name], reference, base, given.seed, given.stages)
        outcomes = _run_all(jobs, given.jobs)
    _finish(outcomes, reference, time.monotonic() - started)


def _run_all(jobs: dict[str, Callable[[], list[Outcome]]], at_once: int) -> list[Outcome]:
    def timed(name: str) -> tuple[str, list[Outcome], float]:
        clock = time.monotonic()
        return name, jobs[name](), time.monotonic() - clock

    outcomes = []
    with ThreadPoolExecutor(at_once) as executor:
        for name, found, seconds in executor.map(timed, jobs):
            print(row(name, found, seconds), flush=True)
            for outcome in found:
                for problem in outcome.problems:
                    print(f"    {outcome.stage}, at {outcome.at}: {problem}", flush=True)
            outcomes += found
    return outcomes


def _finish(outcomes: list[Outcome], reference: Reference, seconds: float) -> None:
    print(row("all", outcomes, seconds))
    raise SystemExit(1 if any(outcome.problems for outcome in outcomes) else 0)


if __name__ == "__main__":
    main()
