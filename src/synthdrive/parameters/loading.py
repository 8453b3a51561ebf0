"""Parameters come from one plain YAML file, section by section, into typed dataclasses that refuse what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from synthdrive.core.errors import ParameterError

Section = TypeVar("Section")

DEFAULT_PATH = Path("params.yaml")
MOST_BYTES = 1 << 18  # of a parameter file; ten times what params.yaml has

SECTIONS = (
    "seeds",
    "run_variants",
    "variants",
    "scene",
    "data",
    "record_sample",
    "ingest",
    "check_raw",
    "augment",
    "synthesize",
    "check_synthetic",
    "model",
    "pretrain",
    "finetune",
    "evaluate",
    "report",
    "verify",
)


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them stand for more values than any memory holds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A node, unless it is another's alias."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias in line {self.line + 1}, where values are written out")
        return super().compose_node(parent, index)


def read_parameters(path: Path = DEFAULT_PATH) -> dict[str, Any]:
    """The whole parameter file as plain values.

    Raises:
        ParameterError: it is no mapping of plain YAML, or has an unknown section.
    """
    content = read_mapping(path)
    unknown = sorted(set(map(str, content)) - set(SECTIONS))
    if unknown:
        raise ParameterError(f"{path}: {unknown[0]}", "an unknown section", f"one of {', '.join(SECTIONS)}")
    return content


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file of names with plain values.

    Raises:
        ParameterError: the file is missing, too large, not YAML, not plain or no mapping.
    """
    try:
        size = Path(path).stat().st_size
        if size > MOST_BYTES:
            raise ParameterError(path, f"{size} bytes", f"a YAML file of at most {MOST_BYTES}")
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _PlainLoader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise ParameterError(path, "no such file", "a YAML file of parameters") from None
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:  # ValueError: a day or number that is none
        raise ParameterError(path, f"unreadable YAML ({error})", "a YAML file of parameters") from None
    if not isinstance(content, dict):
        raise ParameterError(path, type(content).__name__, "sections with their parameters")
    return content


def load_section(schema: type[Section], section: str, path: Path = DEFAULT_PATH) -> Section:
    """One section of the file as its dataclass; `section` may be dotted ("variants.map").

    A schema with a `validate(self, where: str) -> None` method has it called, to refuse impossible values.

    Raises:
        ParameterError: a key is missing, unknown, of the wrong type or impossible; names the key and what is allowed.
    """
    value: Any = read_parameters(path)
    for key in section.split("."):
        if not isinstance(value, dict) or key not in value:
            known = ", ".join(map(str, value)) if isinstance(value, dict) else "nothing"
            raise ParameterError(f"{path}: {section}", f"no {key!r}", f"one of {known}")
        value = value[key]
    return from_values(schema, value, f"{path}: {section}")


def from_values(schema: type[Section], values: Any, where: str) -> Section:
    """A dataclass from plain values, checked; see `load_section`."""
    _refuse_interpolation(values, where)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.create(values))
        loaded = cast(Section, OmegaConf.to_object(merged))
    except ConfigKeyError as error:
        known: Sequence[str] = [str(key) for key in OmegaConf.structured(schema)]
        raise ParameterError(
            f"{where}.{error.full_key}", "an unknown parameter", f"one of {', '.join(known)}"
        ) from None
    except OmegaConfBaseException as error:
        key = f"{where}.{error.full_key}" if error.full_key else where
        raise ParameterError(
            key, str(error).splitlines()[0], f"a value of type {error.ref_type_str or 'as documented'}"
        ) from None
    _check_items(loaded, where)
    validate = getattr(loaded, "validate", None)
    if validate is not None:
        validate(where)
    return loaded


def _check_items(loaded: Any, where: str) -> None:
    """Refuse mappings and lists inside lists of plain values, which OmegaConf lets pass."""
    hints = get_type_hints(type(loaded))
    for field in fields(loaded):
        value, name = getattr(loaded, field.name), f"{where}.{field.name}"
        if is_dataclass(value):
            _check_items(value, name)
        kinds = get_args(hints[field.name])
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if is_dataclass(item):
                _check_items(item, f"{name}.{index}")
            elif kinds and kinds[0] in (bool, int, float, str) and not isinstance(item, kinds[0]):
                raise ParameterError(f"{name}.{index}", repr(item)[:100], f"a value of type {kinds[0].__name__}")


def _refuse_interpolation(values: Any, where: str) -> None:
    if isinstance(values, str) and "${" in values:
        advice = "DVC would track the text and not what it stands for."
        raise ParameterError(where, repr(values), "a plain value without interpolation", advice)
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        _refuse_interpolation(value, f"{where}.{key}")
