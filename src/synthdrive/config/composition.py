"""Profiles: parameter files that hold only what differs from params.yaml, or from the profile that they extend.

`extends: NAME` in a profile names the profile that it changes; in a variant, the variant that it changes. What is not
specified is inherited. OmegaConf merges: mappings key by key, while lists and plain values are replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from synthdrive.config.training import variants_of
from synthdrive.config.whole_file import check_parameters
from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import DEFAULT_PATH, from_values, read_mapping, read_parameters, refuse_renamed

Section = TypeVar("Section")

EXTENDS = "extends"


def compose(parameters: Mapping[str, Any], profile: Path) -> dict[str, Any]:
    """The whole content of a parameter file, with a profile and those that it extends merged into it.

    Raises:
        ParameterError: see `merge`, or the result is not valid.
    """
    content = merge(parameters, profile)
    check_parameters(content, profile)
    return content


def load_profile_section(
    schema: type[Section], section: str, profile: Path, parameters: Path = DEFAULT_PATH
) -> Section:
    """One section as a profile makes it of a parameter file."""
    return from_values(schema, compose(read_parameters(parameters), profile)[section], f"{profile}: {section}")


def merge(parameters: Mapping[str, Any], profile: Path) -> dict[str, Any]:
    """As `compose`, without checking the values.

    Raises:
        ParameterError: a profile is missing, extends itself, or has an unknown key; only variants may be new.
    """
    variants_of(parameters, "params.yaml")
    merged = OmegaConf.create(dict(parameters))
    OmegaConf.set_struct(merged, True)
    OmegaConf.set_struct(merged.variants, False)
    for path, overlay in _chain(profile):
        try:
            merged = cast(DictConfig, OmegaConf.merge(merged, overlay))
        except ConfigKeyError as error:
            above = str(error.full_key).rpartition(".")[0]
            known = OmegaConf.select(merged, above) if above else merged
            allowed = f"one of {', '.join(map(str, known))}"
            raise ParameterError(f"{path}: {error.full_key}", "a key that params.yaml does not have", allowed) from None
        except OmegaConfBaseException as error:
            raise ParameterError(path, str(error).splitlines()[0], "values like those of params.yaml") from None
    content = cast(dict[str, Any], OmegaConf.to_container(merged))
    content["variants"] = {name: _whole_variant(name, content["variants"], profile) for name in content["variants"]}
    return content


def _chain(profile: Path) -> list[tuple[Path, dict[str, Any]]]:
    """A profile and those that it extends, beginning with the one that extends none."""
    chain: list[tuple[Path, dict[str, Any]]] = []
    path: Path | None = profile
    while path is not None:
        overlay = read_mapping(path)
        refuse_renamed(overlay, path)
        if path in [earlier for earlier, _ in chain]:
            names = " extends ".join(each.stem for each in (*(earlier for earlier, _ in chain), path))
            raise ParameterError(f"{path}: {EXTENDS}", names, "a profile that does not extend itself")
        name = overlay.pop(EXTENDS, None)
        chain.append((path, overlay))
        path = None if name is None else path.with_name(f"{name}.yaml")
    return chain[::-1]


def _whole_variant(name: str, variants: Mapping[str, Any], path: Path, above: tuple[str, ...] = ()) -> Any:
    variant = variants[name]
    if not isinstance(variant, Mapping) or EXTENDS not in variant:
        return variant
    base = variant[EXTENDS]
    where = f"{path}: variants.{name}.{EXTENDS}"
    if base not in variants:
        raise ParameterError(where, repr(base), f"one of {', '.join(map(str, variants))}")
    if base in (name, *above):
        raise ParameterError(where, " extends ".join((*above, name, base)), "a variant that does not extend itself")
    changes = {key: value for key, value in variant.items() if key != EXTENDS}
    return OmegaConf.to_container(OmegaConf.merge(_whole_variant(base, variants, path, (*above, name)), changes))
