"""How a dataclass declares its parameters: each once, with its type, range and unit, and without a default.

Example:
    learning_rate: float = value(above=0, below=1, unit="")
    schedule: str = value(choices=("constant", "step", "cosine"))
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, cast

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True)
class Allowed:
    """What a parameter may be; of a list or mapping, what each of its items may be.

    Attributes:
        unit: of a number; "" where it has none.
        above, at_least, below, at_most: limits of a number.
        choices: the texts that are allowed.
        pattern: regular expression that a text must match as a whole.
        fewest, most: items of a list.
        rising: each number of a list must be larger than the one before.
        distinct: no item of a list may occur twice.
    """

    unit: str | None = None
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = r"(?s).*\S.*"
    fewest: int = 0
    most: int | None = None
    rising: bool = False
    distinct: bool = False

    def describe(self, kind: type) -> str:
        """What is allowed, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if kind is str:
            return "text that is not blank" if self.pattern == Allowed.pattern else f"text that matches {self.pattern}"
        limits = {"above": self.above, "at least": self.at_least, "below": self.below, "at most": self.at_most}
        words = " and ".join(f"{word} {limit}" for word, limit in limits.items() if limit is not None)
        return f"{KINDS[kind]} {words}".rstrip() + (f" ({self.unit})" if self.unit else "")

    def holds(self, value: Any) -> bool:
        """Whether a plain value of the right type lies within the limits."""
        if isinstance(value, str):
            return value in self.choices if self.choices else re.fullmatch(self.pattern, value) is not None
        return (
            math.isfinite(value)
            and (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )


_ALLOWED = "allowed"


def value(**limits: Any) -> Any:
    """Declare a parameter with what it may be; the keywords are those of `Allowed`."""
    return field(metadata={_ALLOWED: Allowed(**limits)})


def allowed(parameter: Any) -> Allowed:
    """What a dataclass's field declares; without a declaration, any finite number and any text that is not blank."""
    return cast(Allowed, parameter.metadata.get(_ALLOWED, Allowed()))
