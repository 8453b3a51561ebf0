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
            objective = {**content["pretrain"], **variant_of(name, content, path).pretrain}["objective"]
            if (objective == NONE) != scratch:
                wanted = "a variant with objective none" if scratch else "a variant with another objective than none"
                raise ParameterError(f"{path}: {key}", f"{name}, with objective {objective}", wanted)


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
