"""The timing of a scene: number of observed steps, number of future steps, and the time between two steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from synthdrive.core.errors import InputError

STEP_SECONDS = 0.1  # 10 Hz, as in every dataset; the driver, its limits and the features rely on it
MOST_STEPS = 256  # a scene store counts the steps of a scene in one byte
FEWEST_OBSERVED = 12  # velocities and headings are measured over the last observed second
FEWEST_FUTURE = 5  # speeds and headings are measured over half a second


@dataclass(frozen=True)
class Timing:
    """Number and length of a scene's steps; stores, batches, networks and checkpoints contain and compare it.

    Attributes:
        history_steps: number of observed steps.
        future_steps: number of steps to forecast.
        step_seconds: time between two steps, seconds.

    Raises:
        InputError: there are too few or too many steps, or `step_seconds` is not `STEP_SECONDS`.
    """

    history_steps: int
    future_steps: int
    step_seconds: float

    def __post_init__(self) -> None:
        if self.history_steps < FEWEST_OBSERVED or self.future_steps < FEWEST_FUTURE or self.steps > MOST_STEPS:
            expected = (
                f"{FEWEST_OBSERVED} observed and {FEWEST_FUTURE} future steps at least, {MOST_STEPS} at most in all"
            )
            raise InputError("timing", f"{self.history_steps} and {self.future_steps} steps", expected)
        if self.step_seconds != STEP_SECONDS:
            raise InputError("timing", f"steps of {self.step_seconds} s", f"{STEP_SECONDS} s")

    @property
    def steps(self) -> int:
        """Number of steps in a scene."""
        return self.history_steps + self.future_steps

    @property
    def last_observed(self) -> int:
        """Index of the last observed step, counted from 0."""
        return self.history_steps - 1

    @property
    def seconds(self) -> float:
        """Length of a scene in seconds."""
        return self.steps * self.step_seconds

    @property
    def future_seconds(self) -> float:
        """Length of the future in seconds."""
        return self.future_steps * self.step_seconds

    @property
    def history_seconds(self) -> float:
        """Length of the history in seconds."""
        return self.history_steps * self.step_seconds

    def __str__(self) -> str:
        return f"{self.history_steps} observed and {self.future_steps} future steps of {self.step_seconds:g} s"

    def plain(self) -> dict[str, Any]:
        """Return the timing as plain values for metadata; `read_timing` reads them."""
        return asdict(self)

    def require(self, found: Self, where: object) -> None:
        """Raise InputError, naming `where`, if another timing differs from this one."""
        if found != self:
            advice = "Both must be made with the same scene.timing (docs/argoverse2.md)."
            raise InputError(where, str(found), str(self), advice)


def read_timing(plain: object, where: object) -> Timing:
    """Return the timing stored by `Timing.plain`; raises InputError, naming `where`, if the values are not a timing."""
    names = ("history_steps", "future_steps", "step_seconds")
    if not isinstance(plain, dict) or set(plain) != set(names):
        raise InputError(where, repr(plain)[:100], f"a timing: {', '.join(names)}", "Make it again with this version.")
    history, future, seconds = (plain[name] for name in names)
    if type(history) is not int or type(future) is not int or type(seconds) is not float:
        raise InputError(where, repr(plain)[:100], "whole numbers of steps, and seconds")
    return Timing(history, future, seconds)


ARGOVERSE1 = Timing(20, 30, STEP_SECONDS)  # 2 s and 3 s (docs/method.md 1.1)
ARGOVERSE2 = Timing(50, 60, STEP_SECONDS)  # 5 s and 6 s
