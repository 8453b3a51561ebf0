"""Declaration of parameters as fields of dataclasses, with type, range and unit, and the check of values against them.

Example:
    learning_rate: float = value(above=0, below=1, unit="")
    schedule: str = value(choices=("constant", "step", "cosine"))

No parameter has a default. The dataclasses are OmegaConf structured configs, which OmegaConf builds. Values that it
would convert silently ("8" to 8, 5 to "5") or accept (NaN) are rejected first.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from synthdrive.core.errors import ParameterError

Section = TypeVar("Section")

LARGEST = sys.float_info.max  # a larger whole number, which YAML reads too, has no float near it
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True)
class Allowed:
    """The values that a parameter may have; for a list or mapping, the values that each item may have.

    Attributes:
        unit: unit of a number; "" if it has none.
        above, at_least, below, at_most: limits of a number.
        choices: the allowed strings.
        pattern: regular expression that a whole string must match.
        fewest, most: limits to the number of items of a list.
        rising: whether each number of a list must be larger than the one before.
        distinct: whether the items of a list must differ.
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
        """Describe the allowed values in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if kind is str:
            return "text that is not blank" if self.pattern == Allowed.pattern else f"text that matches {self.pattern}"
        limits = {"above": self.above, "at least": self.at_least, "below": self.below, "at most": self.at_most}
        words = " and ".join(f"{word} {limit}" for word, limit in limits.items() if limit is not None)
        return f"{KINDS[kind]} {words}".rstrip() + (f" ({self.unit})" if self.unit else "")

    def holds(self, value: Any) -> bool:
        """Return whether a plain value of the right type is allowed."""
        if isinstance(value, str):
            return value in self.choices if self.choices else re.fullmatch(self.pattern, value) is not None
        return (
            abs(value) <= LARGEST
            and (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )


_ALLOWED = "allowed"


def value(**limits: Any) -> Any:
    """Declare a parameter and its allowed values; the keywords are those of `Allowed`."""
    return field(metadata={_ALLOWED: Allowed(**limits)})


def allowed(parameter: Any) -> Allowed:
    """Return what a dataclass field allows; by default any finite number and any string that is not blank."""
    return cast(Allowed, parameter.metadata.get(_ALLOWED, Allowed()))


def from_values(schema: type[Section], values: Any, where: str) -> Section:
    """Build a dataclass from plain values and check them.

    If the dataclass, or one nested in it, has a method `validate(self, where: str) -> None`, that is called to check
    conditions on several parameters.

    Args:
        where: the file and section, for error messages.

    Raises:
        ParameterError: a key is missing or unknown, or a value has the wrong type, is not finite or is out of range.
    """
    _check(schema, Allowed(), values, where)
    try:
        loaded = cast(Section, OmegaConf.to_object(OmegaConf.merge(_structured(cast(Any, schema)), values)))
    except OmegaConfBaseException as error:
        key = f"{where}.{error.full_key}" if error.full_key else where
        raise ParameterError(key, str(error).splitlines()[0], "a plain value as documented in params.yaml") from None
    _validate(loaded, where)
    return loaded


@cache
def _hints(schema: Any) -> dict[str, Any]:
    return get_type_hints(schema)


@cache
def _structured(schema: Any) -> Any:
    return OmegaConf.structured(schema)


def _check(kind: Any, limits: Allowed, found: Any, where: str) -> None:
    """Raise ParameterError unless a value, and every value nested in it, fits its type and limits."""
    if is_dataclass(kind):
        _check_fields(cast(type, kind), found, where)
    elif get_origin(kind) is list:
        _check_list(get_args(kind)[0], limits, found, where)
    elif get_origin(kind) is dict:
        if not isinstance(found, Mapping):
            raise ParameterError(where, _shown(found), "a mapping")
        for key, item in found.items():
            _check(get_args(kind)[1], limits, item, f"{where}.{key}")
    elif isinstance(found, str) and "${" in found:
        advice = "DVC would track the expression and not its value."
        raise ParameterError(where, _shown(found), "a plain value without interpolation", advice)
    elif kind in KINDS and not _is_allowed(kind, found, limits):
        raise ParameterError(where, _shown(found), limits.describe(kind))


def _is_allowed(kind: type, found: Any, limits: Allowed) -> bool:
    right_type = type(found) is kind or (kind is float and type(found) is int)
    return right_type and (kind is bool or limits.holds(found))


def _check_fields(schema: Any, found: Any, where: str) -> None:
    if not isinstance(found, Mapping):
        raise ParameterError(where, _shown(found), "a section of parameters")
    hints = _hints(schema)
    prefix = where if where.endswith(": ") else f"{where}."  # a whole file, or a section
    for key in found:
        if key not in hints:
            raise ParameterError(f"{prefix}{key}", "an unknown parameter", f"one of {', '.join(hints)}")
    for parameter in fields(schema):
        name, kind, limits = parameter.name, hints[parameter.name], allowed(parameter)
        if name in found:
            _check(kind, limits, found[name], f"{prefix}{name}")
        elif parameter.default is MISSING and parameter.default_factory is MISSING:
            expected = limits.describe(kind) if kind in KINDS else "a value"
            raise ParameterError(f"{prefix}{name}", "nothing: it is missing", expected)


def _check_list(kind: Any, limits: Allowed, found: Any, where: str) -> None:
    each = limits.describe(kind) if kind in KINDS else "a section of parameters"
    if not isinstance(found, list):
        raise ParameterError(where, _shown(found), f"a list, each item {each}")
    for index, item in enumerate(found):
        _check(kind, limits, item, f"{where}.{index}")
    most = math.inf if limits.most is None else limits.most
    if not limits.fewest <= len(found) <= most:
        expected = f"at least {limits.fewest}" if limits.most is None else f"{limits.fewest} to {limits.most}"
        raise ParameterError(where, f"{len(found)} items", f"{expected} items, each {each}")
    if limits.distinct and any(item in found[:index] for index, item in enumerate(found)):
        raise ParameterError(where, _shown(found), "no item twice")
    if limits.rising and any(before >= after for before, after in zip(found, found[1:], strict=False)):
        raise ParameterError(where, _shown(found), "numbers that rise")


def _validate(loaded: Any, where: str) -> None:
    for parameter in fields(loaded):
        inner, name = getattr(loaded, parameter.name), f"{where}.{parameter.name}"
        if is_dataclass(inner):
            _validate(inner, name)
        for index, item in enumerate(inner if isinstance(inner, list) else ()):
            if is_dataclass(item):
                _validate(item, f"{name}.{index}")
    if hasattr(loaded, "validate"):
        loaded.validate(where)


def _shown(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= 100 else f"{text[:97]}..."
