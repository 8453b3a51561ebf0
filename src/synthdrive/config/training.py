"""How a model is trained: what pre-training and fine-tuning have in common, and what a variant changes in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from synthdrive.config.declaring import value
from synthdrive.config.loading import DEFAULT_PATH, from_values, read_parameters
from synthdrive.core.errors import ParameterError

Section = TypeVar("Section")

PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class OptimisationParameters:
    """Adam and its learning rate.

    Attributes:
        epochs: passes over the scenes.
        batch: scenes per optimiser step, over all devices together.
        device_batch: most scenes in one forward pass of one device; a larger share of the batch is accumulated.
        learning_rate: Adam's, before the schedule.
        schedule: constant; step: times `decay` at each of `milestones`; cosine: down to `final_factor` of it.
        milestones: epochs, counted from 0, before which the step schedule decays.
        decay: factor of the step schedule.
        final_factor: where the cosine schedule ends, as a fraction of `learning_rate`.
        warmup_epochs: linear rise from zero over this many epochs (fractions too), before any schedule.
        clip_gradient: largest norm of the whole gradient; 0 leaves it as it is.
        precision: float32; tf32: matrix products at 19 bits on NVIDIA devices; bfloat16: mixed precision.
        compile: compile the model with torch.compile.
    """

    epochs: int = value(at_least=1, unit="")
    batch: int = value(at_least=1, unit="")
    device_batch: int = value(at_least=1, unit="")
    learning_rate: float = value(above=0, below=1, unit="")
    schedule: str = value(choices=("constant", "step", "cosine"))
    milestones: list[int] = value(at_least=1, unit="epochs", rising=True)
    decay: float = value(above=0, at_most=1, unit="")
    final_factor: float = value(at_least=0, at_most=1, unit="")
    warmup_epochs: float = value(at_least=0, unit="epochs")
    clip_gradient: float = value(at_least=0, unit="")
    precision: str = value(choices=PRECISIONS)
    compile: bool = value()

    def validate(self, where: str) -> None:
        """The learning rate must have risen before training ends."""
        if self.warmup_epochs > self.epochs:
            raise ParameterError(f"{where}.warmup_epochs", str(self.warmup_epochs), f"0 to {self.epochs} (epochs)")


@dataclass(frozen=True)
class VariantParameters:
    """One entry of `variants`: what a variant changes in sections `model`, `pretrain` and `finetune`, and nothing else.

    Attributes:
        description: what the variant is, in words; the report shows it.
        model, pretrain, finetune: values that replace those of the section of that name; left out, none do.
    """

    description: str = value()
    model: dict[str, Any] = field(default_factory=dict)
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)


def variant_names(path: Path = DEFAULT_PATH) -> list[str]:
    """The variants that are defined, in the order of the file."""
    return list(variants_of(read_parameters(path), path))


def load_variant(variant: str, path: Path = DEFAULT_PATH) -> VariantParameters:
    """One variant.

    Raises:
        ParameterError: there is no such variant, or it holds something else than its four keys.
    """
    return variant_of(variant, read_parameters(path), path)


def load_variant_section(schema: type[Section], section: str, variant: str, path: Path = DEFAULT_PATH) -> Section:
    """Section `model`, `pretrain` or `finetune` as the variant changes it.

    Raises:
        ParameterError: a value of the section or of the variant is missing, unknown, of the wrong type or out of range;
            the message says whether the section or the variant holds it.
    """
    return variant_section(schema, section, variant, read_parameters(path), path)


def variant_section(
    schema: type[Section], section: str, variant: str, content: Mapping[str, Any], path: object
) -> Section:
    """As `load_variant_section`, from the whole content of a parameter file."""
    changes: dict[str, Any] = getattr(variant_of(variant, content, path), section)
    whole = from_values(schema, content.get(section), f"{path}: {section}")
    return (
        from_values(schema, {**content[section], **changes}, f"{path}: variants.{variant}.{section}")
        if changes
        else whole
    )


def variant_of(variant: str, content: Mapping[str, Any], path: object) -> VariantParameters:
    """As `load_variant`, from the whole content of a parameter file."""
    variants = variants_of(content, path)
    if variant not in variants:
        raise ParameterError(
            f"{path}: variants", f"no variant {variant!r}", f"one of {', '.join(variants)}, or a new entry there"
        )
    return from_values(VariantParameters, variants[variant], f"{path}: variants.{variant}")


def variants_of(content: Mapping[str, Any], path: object) -> Mapping[str, Any]:
    """The variants that a parameter file's content defines, each with its values, unchecked."""
    variants = content.get("variants")
    if not isinstance(variants, Mapping) or not variants:
        raise ParameterError(f"{path}: variants", repr(variants), "a mapping of variants, each with its changes")
    return {str(name): values for name, values in variants.items()}
