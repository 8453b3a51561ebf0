"""Parameter objects for tests: from params.yaml or the paper's profile, with some values replaced."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

from repository import PARAMS, REPOSITORY
from synthdrive.config.whole_file import SCHEMAS, compose
from synthdrive.core.parameters import read_parameters
from synthdrive.core.schema import from_values

Section = TypeVar("Section")


def committed(schema: type[Section], **changes: Any) -> Section:
    """The parameters of params.yaml for a schema; `changes` replace the values of those keys."""
    return _given(schema, read_parameters(PARAMS), changes)


def paper(schema: type[Section], **changes: Any) -> Section:
    """Like `committed`, but with the values of profiles/paper.yaml."""
    return _given(schema, _paper(), changes)


@cache
def _paper() -> dict[str, Any]:
    return compose(read_parameters(PARAMS), REPOSITORY / "profiles" / "paper.yaml")


def _given(schema: type[Section], content: dict[str, Any], changes: dict[str, Any]) -> Section:
    """The parameters of a section, or of a base class that has only some of the section's keys."""
    section = next(name for name, whole in SCHEMAS.items() if issubclass(whole, schema))
    names = [field.name for field in fields(schema)]  # type: ignore[arg-type]
    return from_values(schema, {**{name: content[section][name] for name in names}, **changes}, section)
