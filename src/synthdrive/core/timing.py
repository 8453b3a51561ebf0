"""How long a scene is: what of it is observed, what is to be forecast, and the time between two steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from synthdrive.core.errors import InputError

STEP_SECONDS = 0.1  # 10 Hz, as every source has it; the driver, its limits and the features count in such steps
MOST_STEPS = 256  # a scene store counts the steps of a scene in one byte
FEWEST_OBSERVED = 12  # over the last second of them velocities and headings are measured
FEWEST_FUTURE = 5  # half a second, over which speeds and headings are measured


@dataclass(frozen=True)
class Timing:
    """A value that stores, batches, networks and checkpoints carry and compare.

    Attributes:
        history_steps: observed, up to now.
        future_steps: to forecast.
        step_seconds: from one step to the next.

    Raises:
        InputError: too few steps, too many, or of another length than `STEP_SECONDS`.
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
        """Of a whole scene."""
        return self.history_steps + self.future_steps

    @property
    def last_observed(self) -> int:
        """The step up to which a scene is observed, counted from 0."""
        return self.history_steps - 1

    @property
    def seconds(self) -> float:
        """Of a whole scene."""
        return self.steps * self.step_seconds

    @property
    def future_seconds(self) -> float:
        """To forecast."""
        return self.future_steps * self.step_seconds

    @property
    def history_seconds(self) -> float:
        """Observed."""
        return self.history_steps * self.step_seconds

    def __str__(self) -> str:
        return f"{self.history_steps} observed and {self.future_steps} future steps of {self.step_seconds:g} s"

    def plain(self) -> dict[str, Any]:
        """For metadata; `read_timing` reads it."""
        return asdict(self)

    def require(self, found: Self, where: object) -> None:
        """Raise InputError, naming `where`, unless another timing is this one."""
        if found != self:
            raise InputError(where, str(found), str(self), "Both must be of one scene.timing (docs/argoverse2.md).")


def read_timing(plain: object, where: object) -> Timing:
    """The timing that `Timing.plain` gave; raises InputError, naming `where`, where it is none."""
    names = ("history_steps", "future_steps", "step_seconds")
    if not isinstance(plain, dict) or set(plain) != set(names):
        raise InputError(where, repr(plain)[:100], f"a timing: {', '.join(names)}", "Make it again with this version.")
    history, future, seconds = (plain[name] for name in names)
    if type(history) is not int or type(future) is not int or type(seconds) is not float:
        raise InputError(where, repr(plain)[:100], "whole numbers of steps, and seconds")
    return Timing(history, future, seconds)


ARGOVERSE1 = Timing(20, 30, STEP_SECONDS)  # 2 s and 3 s (docs/method.md 1.1)
ARGOVERSE2 = Timing(50, 60, STEP_SECONDS)  # 5 s and 6 s
