"""Whether an artifact was made with the parameters that a file holds now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from synthdrive.core.provenance import plain_values
from synthdrive.parameters.evaluate import EvaluateParameters
from synthdrive.parameters.finetune import FinetuneParameters
from synthdrive.parameters.loading import load_section
from synthdrive.parameters.model import ModelParameters
from synthdrive.parameters.pretrain import PretrainParameters
from synthdrive.parameters.variants import load_variant_section


def changed_parameters(metadata: Mapping[str, Any], parameters: Path) -> Iterator[tuple[str, str, Any, Any]]:
    """(section, key, then, now) of what differs between an artifact's metadata and what its stage would read now.

    Metadata without parameters differ in nothing.
    """
    recorded = metadata.get("parameters")
    if not recorded:
        return
    if metadata["stage"] == "evaluate":
        used: dict[str, object] = {"evaluate": load_section(EvaluateParameters, "evaluate", parameters)}
    elif metadata["stage"] == "pretrain":
        used = {"pretrain": load_variant_section(PretrainParameters, "pretrain", metadata["variant"], parameters)}
    else:
        used = {"finetune": load_variant_section(FinetuneParameters, "finetune", metadata["variant"], parameters)}
    if metadata["stage"] != "evaluate":
        used["model"] = load_variant_section(ModelParameters, "model", metadata["variant"], parameters)
    for section, values in plain_values(used).items():
        for key, now in values.items():
            then = recorded.get(section, {}).get(key)
            if then != now:
                yield section, key, then, now
