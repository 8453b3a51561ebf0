"""Which run is next: in the order of the plan, on several cores, within the hours of a sitting."""

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
from studies.argoverse1_folds.plan import BASELINE, NONE, Plan, Recipe, Run, best_recipe, groups, needs
from studies.argoverse1_folds.results import CAPPED, Result, load_results, save_result
from synthdrive.core.errors import SynthDriveError

GUESS = {0: 100.0, 10: 200.0, 30: 300.0, 100: 800.0}  # CPU s of a run of a fraction of which none has been made yet
FIRST = 800.0  # CPU s that windows and pre-training may add to the first run of a group
ROOM = 1.2  # times what a run is expected to take
SCORE = CAPPED  # that recipes are chosen by


def expected_seconds(run: Run, done: Iterable[Result]) -> float:
    """CPU seconds that a run takes on average: as others of its variant and share, or of its share, else a guess."""
    done = [result for result in done if result.run.percent == run.percent]
    alike = [result for result in done if result.run.variant == run.variant] or done
    if not alike:
        return GUESS.get(run.percent, GUESS[100])
    return statistics.fmean(sum(result.cpu_seconds.values()) for result in alike)


def open_groups(plan: Plan, done: Iterable[Run]) -> list[list[Run]]:
    """What is left of each group, in order."""
    known = set(done)
    left = [[run for run in group if run not in known] for group in groups(plan)]
    return [group for group in left if group]


def recipe_of(plan: Plan, run: Run, done: dict[Run, Result]) -> Recipe | None:
    """The recipe of a run: the one it tries, or the best of those that were tried for it."""
    tried = needs(plan, run)
    if run.trial is not None:
        variant = plan.variants[run.variant]
        recipe: Recipe = plan.recipes[variant.recipe]["all" if run.percent == 100 else "few"][run.trial]
        return recipe
    if not tried:
        return None
    return best_recipe(plan, run, {each: float(done[each].metric(SCORE).mean()) for each in tried})


@dataclass
class Sitting:
    """Runs made one after another, on each of several cores.

    Attributes:
        plan: what is to be run; executor: what runs it; folder: of the results.
        deadline: `time.monotonic` after which no run may be expected to end.
        done: every result there is.
        made: how many are of this sitting.
        failure: what ended the sitting early.
    """

    plan: Plan
    executor: Executor
    folder: Path
    deadline: float
    done: dict[Run, Result]
    made: int = 0
    failure: BaseException | None = None
    _taken: set[Run] = field(default_factory=set)
    _busy: int = 0
    _changed: Condition = field(default_factory=Condition)

    def work(self, jobs: int) -> None:
        """Make runs until there is none left, or no time for one.

        Raises:
            SynthDriveError: a run failed; the others that were under way have ended.
        """
        with ThreadPoolExecutor(jobs) as threads:
            workers = [threads.submit(self._work) for _ in range(jobs)]
            try:
                for worker in workers:
                    worker.result()
            except BaseException as error:  # Ctrl-C, or the end of the machine
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
                    self._busy -= 1
                    self._changed.notify_all()

    def _make(self, run: Run) -> None:
        started = time.monotonic()
        result = self.executor.make(run, recipe_of(self.plan, run, self.done))
        with self._changed:
            save_result(result, self.folder)
            self.done[run] = result
            self.made += 1
        fde, seconds = result.errors["minFDE6"].mean(), time.monotonic() - started
        print(f"{run.name}: minFDE6 {fde:.3f} m, {seconds:.0f} s", file=sys.stderr, flush=True)

    def _next_group(self) -> list[Run] | None:
        """The first group that nobody is at and that has all it needs; waits while others may yet make that."""
        with self._changed:
            while self.failure is None:
                waiting = False
                for group in open_groups(self.plan, self.done):
                    if any(run in self._taken for run in group):
                        continue
                    if any(need not in self.done for run in group for need in needs(self.plan, run)):
                        waiting = True
                    elif self._in_time(group[0], first=True):
                        self._taken.update(group)
                        self._busy += 1
                        return group
                if not (waiting and self._busy):
                    return None
                self._changed.wait()
            return None

    def _in_time(self, run: Run, first: bool = False) -> bool:
        seconds = expected_seconds(run, self.done.values())
        if first and run.variant != BASELINE and self.plan.variants[run.variant].windows != NONE:
            seconds += FIRST
        return time.monotonic() + ROOM * seconds <= self.deadline


def start_sitting(plan: Plan, executor: Executor, folder: Path, hours: float) -> Sitting:
    """A sitting that goes on with what the folder of results holds.

    Raises:
        SynthDriveError: a result there was made by other code.
    """
    done = dict(load_results(folder, plan).runs)
    others = sorted({str(result.provenance["commit"]) for result in done.values() if _made_otherwise(result, executor)})
    if others:
        raise SynthDriveError(
            f"{folder}: results of other code, of commit {others[0]}. Go on with that code: "
            f"git worktree add ../folds {others[0]}, and run there with --results {folder.resolve()}"
        )
    return Sitting(plan, executor, folder, time.monotonic() + 3600.0 * hours, done)


def _made_otherwise(result: Result, executor: Executor) -> bool:
    return bool(result.provenance["code"] != executor.code)


def summary(plan: Plan, done: dict[Run, Result]) -> str:
    """How far the study is, and what it took."""
    everything = [run for group in groups(plan) for run in group]
    left = [run for run in everything if run not in done]
    hours = sum(sum(result.cpu_seconds.values()) for result in done.values()) / 3600.0
    ahead = sum(expected_seconds(run, done.values()) for run in left) / 3600.0
    return f"{len(done)} of {len(everything)} runs, {hours:.1f} core-hours; about {ahead:.1f} core-hours left"
