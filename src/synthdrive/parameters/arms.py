"""Arms of the study: an arm is what it changes in sections `model`, `pretrain` and `finetune`, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from synthdrive.errors import ParameterError
from synthdrive.parameters.loading import DEFAULT_PATH, from_values, read_parameters

Section = TypeVar("Section")


@dataclass(frozen=True)
class ArmParameters:
    """One entry of `arms`.

    Attributes:
        description: what the arm is, in words; the report shows it.
        model, pretrain, finetune: values that replace those of the section of that name.
    """

    description: str
    model: dict[str, Any] = field(default_factory=dict)
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)


def arm_names(path: Path = DEFAULT_PATH) -> list[str]:
    """The arms that are defined, in the order of the file."""
    return list(_arms(read_parameters(path), path))


def load_arm(arm: str, path: Path = DEFAULT_PATH) -> ArmParameters:
    """One arm.

    Raises:
        ParameterError: there is no such arm, or it holds something else than its four keys.
    """
    return _arm(arm, read_parameters(path), path)


def load_arm_section(schema: type[Section], section: str, arm: str, path: Path = DEFAULT_PATH) -> Section:
    """Section `model`, `pretrain` or `finetune` as the arm changes it.

    Raises:
        ParameterError: a value of the section or of the arm is unknown, of the wrong type or impossible; it is named
            where it stands.
    """
    content = read_parameters(path)
    changes: dict[str, Any] = getattr(_arm(arm, content, path), section)
    values = content.get(section)
    if not isinstance(values, Mapping):
        raise ParameterError(f"{path}: {section}", repr(values), "a section of parameters")
    from_values(schema, values, f"{path}: {section}")
    return from_values(schema, {**values, **changes}, f"{path}: arms.{arm}.{section}")


def _arm(arm: str, content: Mapping[str, Any], path: Path) -> ArmParameters:
    arms = _arms(content, path)
    if arm not in arms:
        raise ParameterError(f"{path}: arms", f"no arm {arm!r}", f"one of {', '.join(arms)}, or a new entry there")
    return from_values(ArmParameters, arms[arm], f"{path}: arms.{arm}")


def _arms(content: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    arms = content.get("arms")
    if not isinstance(arms, Mapping) or not arms:
        raise ParameterError(f"{path}: arms", repr(arms), "a mapping of arms, each with its changes")
    return {str(name): values for name, values in arms.items()}
