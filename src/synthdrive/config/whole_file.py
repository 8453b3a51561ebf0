"""All sections of a parameter file together: whether they are valid, and whether an artifact was made with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from synthdrive.config.augment import AugmentParameters
from synthdrive.config.checks import CheckRawParameters, CheckSyntheticParameters
from synthdrive.config.data import DataParameters, IngestParameters, SceneParameters
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.config.record_sample import RecordSampleParameters
from synthdrive.config.report import ReportParameters, VerifyParameters, selected_runs
from synthdrive.config.synthesize import SynthesizeParameters
from synthdrive.config.training import (
    NONE,
    FinetuneParameters,
    ModelParameters,
    PretrainParameters,
    variant_of,
    variant_section,
    variants_of,
)
from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import from_values, read_parameters
from synthdrive.core.provenance import plain_values

# What a variant may change
VARIANT_SCHEMAS: dict[str, Any] = {
    "model": ModelParameters,
    "pretrain": PretrainParameters,
    "finetune": FinetuneParameters,
}

SCHEMAS: dict[str, Any] = {
    "scene": SceneParameters,
    "data": DataParameters,
    "record_sample": RecordSampleParameters,
    "ingest": IngestParameters,
    "check_raw": CheckRawParameters,
    "augment": AugmentParameters,
    "synthesize": SynthesizeParameters,
    "check_synthetic": CheckSyntheticParameters,
    **VARIANT_SCHEMAS,
    "evaluate": EvaluateParameters,
    "report": ReportParameters,
    "verify": VerifyParameters,
}


def check_parameters(content: Mapping[str, Any], path: object) -> None:
    """Check every section and every variant of a parameter file's content.

    Raises:
        ParameterError: a parameter is missing, unknown, of the wrong type or out of range, or a variant is not defined.
    """
    for section, schema in SCHEMAS.items():
        from_values(schema, content.get(section), f"{path}: {section}")
    for name in {**variants_of(content, path), **dict.fromkeys(selected_runs(content, path).variants)}:
        variant = variant_of(name, content, path)
        for section, schema in VARIANT_SCHEMAS.items():
            if changes := getattr(variant, section):
                from_values(schema, {**content[section], **changes}, f"{path}: variants.{name}.{section}")
    for key, scratch in (("from_scratch", True), ("run_variants", False)):
        for name in content[key]:
            objective = _pretraining(name, content, path)["objective"]
            if (objective == NONE) != scratch:
                wanted = "a variant with objective none" if scratch else "a variant with another objective than none"
                raise ParameterError(f"{path}: {key}", f"{name}, with objective {objective}", wanted)
    _check_pretrainings(content, path)


def _check_pretrainings(content: Mapping[str, Any], path: object) -> None:
    """Equal pre-trainings are one, and a variant shares no other than its own."""
    own = {name: _pretraining(name, content, path) for name in content["run_variants"]}
    for name, shared in selected_runs(content, path).shared.items():
        needed, found = _pretraining(name, content, path), own[shared]
        if differing := [key for key in needed if needed[key] != found[key]]:
            where = f"{path}: shared_pretraining"
            raise ParameterError(
                where, f"{name}, whose {differing[0]} is not that of {shared}", "a variant that differs in finetune"
            )
    for name, values in own.items():
        first = next(other for other in own if own[other] == values)
        if first != name:
            raise ParameterError(
                f"{path}: run_variants",
                f"{name} with the pre-training of {first}",
                f"it under shared_pretraining instead: {{variant: {name}, pretraining: {first}}}",
            )


def _pretraining(variant: str, content: Mapping[str, Any], path: object) -> dict[str, Any]:
    """Every parameter that the pre-training of a variant depends on, those of the model as `model.<key>`."""
    changes = variant_of(variant, content, path)
    model = {f"model.{key}": value for key, value in {**content["model"], **changes.model}.items()}
    return {**content["pretrain"], **changes.pretrain, **model}


def changed_parameters(metadata: Mapping[str, Any], parameters: Path) -> Iterator[tuple[str, str, Any, Any]]:
    """(section, key, then, now) of what differs between an artifact's metadata and what its stage would read now.

    Metadata without parameters differ in nothing.
    """
    recorded = metadata.get("parameters")
    if not recorded:
        return
    content = read_parameters(parameters)
    if metadata["stage"] == "evaluate":
        used = {"evaluate": from_values(EvaluateParameters, content.get("evaluate"), f"{parameters}: evaluate")}
    else:
        used = {
            section: variant_section(VARIANT_SCHEMAS[section], section, metadata["variant"], content, parameters)
            for section in (metadata["stage"], "model")
        }
    for section, values in plain_values(used).items():
        for key, now in values.items():
            then = recorded.get(section, {}).get(key)
            if then != now:
                yield section, key, then, now
