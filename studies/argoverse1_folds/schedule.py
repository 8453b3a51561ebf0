"""Makes the runs in the order of the plan, on several cores, within a given number of hours."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition

from studies.argoverse1_folds.execute import Executor, stop_stages
from studies.argoverse1_folds.plan import (
    ALL_SCENES,
    BASELINE,
    NONE,
    Plan,
    Recipe,
    Run,
    best_recipe,
    groups,
    needs,
    size_of,
)
from studies.argoverse1_folds.results import CAPPED, Result, load_result, load_results, save_result
from synthdrive.core.errors import SynthDriveError

# CPU s, by fraction (%), before the first such run
ASSUMED_SECONDS = {0: 100.0, 10: 200.0, 30: 300.0, ALL_SCENES: 800.0}
EXTRA_SECONDS = 800.0  # CPU s that windows and pre-training may add to the first run of a group
MARGIN = 1.2  # factor by which a run may exceed its expected time
SCORE = CAPPED  # metric by which recipes are chosen


def expected_seconds(run: Run, done: Iterable[Result]) -> float:
    """Estimate a run's CPU seconds from runs with the same fraction of the scenes, if possible of the same variant."""
    done = [result for result in done if result.run.percent == run.percent]
    similar = [result for result in done if result.run.variant == run.variant] or done
    if not similar:
        return ASSUMED_SECONDS.get(run.percent, ASSUMED_SECONDS[ALL_SCENES])
    return statistics.fmean(sum(result.cpu_seconds.values()) for result in similar)


def open_groups(plan: Plan, done: Iterable[Run]) -> list[list[Run]]:
    """Return the runs still to be made of each group, in order."""
    known = set(done)
    left = [[run for run in group if run not in known] for group in groups(plan)]
    return [group for group in left if group]


def recipe_of(plan: Plan, run: Run, done: dict[Run, Result]) -> Recipe | None:
    """Return the recipe of a run: the one it tries, or the best of those tried for it; None if it needs none."""
    tried = needs(plan, run)
    if run.trial is not None:
        variant = plan.variants[run.variant]
        recipe: Recipe = plan.recipes[variant.recipe][size_of(run.percent)][run.trial]
        return recipe
    if not tried:
        return None
    return best_recipe(plan, run, {each: float(done[each].metric(SCORE).mean()) for each in tried})


@dataclass
class Scheduler:
    """Makes runs on several cores until a deadline.

    Attributes:
        plan: the plan; executor: makes a run; folder: folder of the results.
        deadline: value of `time.monotonic`; a run is started only if it is expected to end before.
        done: all existing results.
        made: number of runs made by this scheduler.
        failure: the error that stopped it; None without one.
    """

    plan: Plan
    executor: Executor
    folder: Path
    deadline: float
    done: dict[Run, Result]
    made: int = 0
    failure: BaseException | None = None
    _taken_runs: set[Run] = field(default_factory=set)
    _busy_workers: int = 0
    _changed: Condition = field(default_factory=Condition)

    def work(self, jobs: int) -> None:
        """Make runs until none is left or time is up.

        Args:
            jobs: number of runs at a time.

        Raises:
            SynthDriveError: a run failed; raised when the other running ones have ended.
        """
        with ThreadPoolExecutor(jobs) as threads:
            workers = [threads.submit(self._work) for _ in range(jobs)]
            try:
                for worker in workers:
                    worker.result()
            except BaseException as error:  # including Ctrl-C
                self.failure = error
                stop_stages()
                raise
        if self.failure is not None:
            raise self.failure

    def _work(self) -> None:
        while (group := self._next_group()) is not None:
            try:
                for run in group:
                    if self.failure is not None or not self._in_time(run):
                        break
                    self._make(run)
            except BaseException as error:
                self.failure = self.failure or error
            finally:
                with self._changed:
                    self._busy_workers -= 1
                    self._changed.notify_all()

    def _make(self, run: Run) -> None:
        started = time.monotonic()
        result = self.executor.make(run, recipe_of(self.plan, run, self.done))
        with self._changed:
            self.done[run] = load_result(save_result(result, self.folder))  # rounded, as the next session will read it
            self.made += 1
        fde, seconds = result.errors["minFDE6"].mean(), time.monotonic() - started
        print(f"{run.name}: minFDE6 {fde:.3f} m, {seconds:.0f} s", file=sys.stderr, flush=True)

    def _next_group(self) -> list[Run] | None:
        """Take the first free group whose required results exist; wait while other workers may still make them."""
        with self._changed:
            while self.failure is None:
                waiting = False
                for group in open_groups(self.plan, self.done):
                    if any(run in self._taken_runs for run in group):
                        continue
                    if any(need not in self.done for run in group for need in needs(self.plan, run)):
                        waiting = True
                    elif self._in_time(group[0], first=True):
                        self._taken_runs.update(group)
                        self._busy_workers += 1
                        return group
                if not (waiting and self._busy_workers):
                    return None
                self._changed.wait()
            return None

    def _in_time(self, run: Run, first: bool = False) -> bool:
        with self._changed:
            seconds = expected_seconds(run, self.done.values())
        if first and run.variant != BASELINE and self.plan.variants[run.variant].windows != NONE:
            seconds += EXTRA_SECONDS
        return time.monotonic() + MARGIN * seconds <= self.deadline


def make_scheduler(plan: Plan, executor: Executor, folder: Path, hours: float) -> Scheduler:
    """Return a scheduler that continues from the results in a folder.

    Raises:
        SynthDriveError: a result in the folder was made by other code.
    """
    done = dict(load_results(folder, plan).runs)
    others = sorted(
        {str(result.provenance["commit"]) for result in done.values() if _made_by_other_code(result, executor)}
    )
    if others:
        raise SynthDriveError(
            f"{folder}: results of other code, of commit {others[0]}. Continue with that code: run "
            f"git worktree add ../folds {others[0]}, then start the study there with --results {folder.resolve()}"
        )
    return Scheduler(plan, executor, folder, time.monotonic() + 3600.0 * hours, done)


def _made_by_other_code(result: Result, executor: Executor) -> bool:
    return bool(result.provenance["code"] != executor.code)


def summary(plan: Plan, done: dict[Run, Result]) -> str:
    """Return the study's progress, its cost so far and the estimated rest, in one line."""
    everything = [run for group in groups(plan) for run in group]
    left = [run for run in everything if run not in done]
    hours = sum(sum(result.cpu_seconds.values()) for result in done.values()) / 3600.0
    ahead = sum(expected_seconds(run, done.values()) for run in left) / 3600.0
    return f"{len(done)} of {len(everything)} runs in {hours:.1f} core-hours; about {ahead:.1f} core-hours left"
