"""Operations on a whole parameter file: check it, merge profiles into it, and compare it with an artifact's metadata.

A profile is a parameter file that contains only what differs from params.yaml or from the profile that it extends.
`extends: NAME` in a profile or variant names the profile or variant that it changes; what is not specified is
inherited. OmegaConf merges mappings key by key, and replaces lists and plain values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from synthdrive.config.data import (
    CheckRawParameters,
    CheckSyntheticParameters,
    DataParameters,
    IngestParameters,
    SceneParameters,
)
from synthdrive.config.evaluate import EvaluateParameters
from synthdrive.config.record_sample import RecordSampleParameters
from synthdrive.config.report import ReportParameters, VerifyParameters, selected_runs
from synthdrive.config.synthetic_data import AugmentParameters, SynthesizeParameters
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
from synthdrive.core.parameters import DEFAULT_PATH, read_mapping, read_parameters, refuse_renamed
from synthdrive.core.provenance import plain_values
from synthdrive.core.schema import from_values

# The sections that a variant may change
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
                wanted = f"a variant whose objective is {'' if scratch else 'not '}{NONE}"
                raise ParameterError(f"{path}: {key}", f"{name}, with objective {objective}", wanted)
    _check_pretrainings(content, path)


def _check_pretrainings(content: Mapping[str, Any], path: object) -> None:
    """Raise ParameterError if two variants repeat a pre-training, or if one shares a pre-training unlike its own."""
    own = {name: _pretraining(name, content, path) for name in content["run_variants"]}
    for name, shared in selected_runs(content, path).shared.items():
        needed, found = _pretraining(name, content, path), own[shared]
        if differing := [key for key in needed if needed[key] != found[key]]:
            where = f"{path}: shared_pretraining"
            raise ParameterError(
                where,
                f"{name}, whose {differing[0]} differs from that of {shared}",
                "a variant that differs only in finetune",
            )
    for name, values in own.items():
        first = next(other for other in own if own[other] == values)
        if first != name:
            raise ParameterError(
                f"{path}: run_variants",
                f"{name}, whose pre-training is the same as that of {first}",
                f"an entry of shared_pretraining instead: {{variant: {name}, pretraining: {first}}}",
            )


def _pretraining(variant: str, content: Mapping[str, Any], path: object) -> dict[str, Any]:
    """Return all parameters that a variant's pre-training depends on, those of the model as `model.<key>`."""
    changes = variant_of(variant, content, path)
    model = {f"model.{key}": value for key, value in {**content["model"], **changes.model}.items()}
    return {**content["pretrain"], **changes.pretrain, **model}


def changed_parameters(metadata: Mapping[str, Any], parameters: Path) -> Iterator[tuple[str, str, Any, Any]]:
    """Yield (section, key, recorded value, current value) where an artifact's metadata and a parameter file differ.

    Metadata without parameters yield nothing.
    """
    recorded = metadata.get("parameters")
    if not recorded:
        return
    content = read_parameters(parameters)
    if metadata["stage"] in ("evaluate", "score_forecasts"):
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


Section = TypeVar("Section")

EXTENDS = "extends"


def compose(parameters: Mapping[str, Any], profile: Path) -> dict[str, Any]:
    """Merge a profile, and the profiles that it extends, into a parameter file's content, and check the result.

    Raises:
        ParameterError: see `merge`, or the result is not valid.
    """
    content = merge(parameters, profile)
    check_parameters(content, profile)
    return content


def load_profile_section(
    schema: type[Section], section: str, profile: Path, parameters: Path = DEFAULT_PATH
) -> Section:
    """Load one section of a parameter file with a profile merged into it."""
    return from_values(schema, compose(read_parameters(parameters), profile)[section], f"{profile}: {section}")


def merge(parameters: Mapping[str, Any], profile: Path) -> dict[str, Any]:
    """Like `compose`, but without checking the values.

    Raises:
        ParameterError: a profile is missing, extends itself, or has a key that is neither known nor a new variant.
    """
    variants_of(parameters, "params.yaml")
    merged = OmegaConf.create(dict(parameters))
    OmegaConf.set_struct(merged, True)
    OmegaConf.set_struct(merged.variants, False)
    for path, overlay in _chain(profile):
        try:
            merged = cast(DictConfig, OmegaConf.merge(merged, overlay))
        except ConfigKeyError as error:
            parent = str(error.full_key).rpartition(".")[0]
            known = OmegaConf.select(merged, parent) if parent else merged
            allowed = f"one of {', '.join(map(str, known))}"
            raise ParameterError(f"{path}: {error.full_key}", "a key that params.yaml does not have", allowed) from None
        except OmegaConfBaseException as error:
            raise ParameterError(path, str(error).splitlines()[0], "values like those of params.yaml") from None
    content = cast(dict[str, Any], OmegaConf.to_container(merged))
    variants_of(content, profile)
    content["variants"] = {
        name: _with_every_section(_whole_variant(name, content["variants"], profile)) for name in content["variants"]
    }
    return content


def _with_every_section(variant: Any) -> Any:
    """Add the sections that a variant does not list, because the stage pretrain depends on two of them by name."""
    return {**dict.fromkeys(VARIANT_SCHEMAS, {}), **variant} if isinstance(variant, Mapping) else variant


def _chain(profile: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Read a profile and the profiles that it extends, the most basic one first."""
    chain: list[tuple[Path, dict[str, Any]]] = []
    path: Path | None = profile
    while path is not None:
        overlay = read_mapping(path)
        refuse_renamed(overlay, path)
        if path in [earlier for earlier, _ in chain]:
            names = " extends ".join(each.stem for each in (*(earlier for earlier, _ in chain), path))
            raise ParameterError(f"{path}: {EXTENDS}", names, "a profile that does not extend itself")
        name = overlay.pop(EXTENDS, None)
        if name is not None and (not isinstance(name, str) or Path(name).name != name):
            raise ParameterError(f"{path}: {EXTENDS}", repr(name), "the name of a profile in the same folder")
        chain.append((path, overlay))
        path = None if name is None else path.with_name(f"{name}.yaml")
    return chain[::-1]


def _whole_variant(name: str, variants: Mapping[str, Any], path: Path, extending: tuple[str, ...] = ()) -> Any:
    """Return a variant merged into those that it extends; `extending` names the variants that extend this one."""
    variant = variants[name]
    if not isinstance(variant, Mapping) or EXTENDS not in variant:
        return variant
    base = variant[EXTENDS]
    where = f"{path}: variants.{name}.{EXTENDS}"
    if not isinstance(base, str) or not isinstance(variants.get(base), Mapping):
        others = [str(each) for each, values in variants.items() if isinstance(values, Mapping) and each != name]
        raise ParameterError(where, repr(base), f"one of {', '.join(others)}")
    if base in (name, *extending):
        raise ParameterError(where, " extends ".join((*extending, name, base)), "a variant that does not extend itself")
    changes = {key: value for key, value in variant.items() if key != EXTENDS}
    return OmegaConf.to_container(OmegaConf.merge(_whole_variant(base, variants, path, (*extending, name)), changes))
