"""Variants of the study: a variant is what it changes in sections `model`, `pretrain` and `finetune`, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from synthdrive.core.errors import ParameterError
from synthdrive.parameters.loading import DEFAULT_PATH, from_values, read_parameters

Section = TypeVar("Section")


@dataclass(frozen=True)
class VariantParameters:
    """One entry of `variants`.

    Attributes:
        description: what the variant is, in words; the report shows it.
        model, pretrain, finetune: values that replace those of the section of that name.
    """

    description: str
    model: dict[str, Any] = field(default_factory=dict)
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)


def variant_names(path: Path = DEFAULT_PATH) -> list[str]:
    """The variants that are defined, in the order of the file."""
    return list(_variants(read_parameters(path), path))


def load_variant(variant: str, path: Path = DEFAULT_PATH) -> VariantParameters:
    """One variant.

    Raises:
        ParameterError: there is no such variant, or it holds something else than its four keys.
    """
    return _variant(variant, read_parameters(path), path)


def load_variant_section(schema: type[Section], section: str, variant: str, path: Path = DEFAULT_PATH) -> Section:
    """Section `model`, `pretrain` or `finetune` as the variant changes it.

    Raises:
        ParameterError: a value of the section or of the variant is unknown, of the wrong type or impossible; it is named
            where it stands.
    """
    content = read_parameters(path)
    changes: dict[str, Any] = getattr(_variant(variant, content, path), section)
    values = content.get(section)
    if not isinstance(values, Mapping):
        raise ParameterError(f"{path}: {section}", repr(values), "a section of parameters")
    from_values(schema, values, f"{path}: {section}")
    return from_values(schema, {**values, **changes}, f"{path}: variants.{variant}.{section}")


def _variant(variant: str, content: Mapping[str, Any], path: Path) -> VariantParameters:
    variants = _variants(content, path)
    if variant not in variants:
        raise ParameterError(
            f"{path}: variants", f"no variant {variant!r}", f"one of {', '.join(variants)}, or a new entry there"
        )
    return from_values(VariantParameters, variants[variant], f"{path}: variants.{variant}")


def _variants(content: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    variants = content.get("variants")
    if not isinstance(variants, Mapping) or not variants:
        raise ParameterError(f"{path}: variants", repr(variants), "a mapping of variants, each with its changes")
    return {str(name): values for name, values in variants.items()}
