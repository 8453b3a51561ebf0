"""Test every parameter of params.yaml with every kind of value that must be refused.

The cases are read from params.yaml, so a new parameter is tested automatically.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from repository import PARAMS
from synthdrive.config.report import SharedPretraining, selected_runs
from synthdrive.config.training import VariantParameters
from synthdrive.config.whole_file import SCHEMAS, VARIANT_SCHEMAS, check_parameters
from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import read_parameters
from synthdrive.core.schema import Allowed, allowed, from_values

CONTENT = read_parameters(PARAMS)
TOP_LEVEL = {
    "seeds": (list[int], Allowed(unit="", at_least=0)),
    "from_scratch": (list[str], Allowed()),
    "run_variants": (list[str], Allowed()),
    "shared_pretraining": (list[SharedPretraining], Allowed()),
}
Key = tuple[str | int, ...]


def leaves(kind: Any, limits: Allowed, values: Any, key: Key) -> Iterator[tuple[Key, Any, Allowed]]:
    """Yield (key, type, limits) of each plain value or list of plain values."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        for field in fields(kind):
            if field.name in values:
                yield from leaves(hints[field.name], allowed(field), values[field.name], (*key, field.name))
    elif get_origin(kind) is list and is_dataclass(get_args(kind)[0]):
        for index, item in enumerate(values):
            yield from leaves(get_args(kind)[0], limits, item, (*key, index))
    elif get_origin(kind) is dict:
        for name in values:
            yield (*key, name), get_args(kind)[1], limits
    else:
        yield key, kind, limits


def variant_leaves() -> Iterator[tuple[Key, Any, Allowed]]:
    """Yield (key, type, limits) of each parameter that a variant sets."""
    for name, variant in CONTENT["variants"].items():
        yield ("variants", name, "description"), str, Allowed()
        for section, schema in VARIANT_SCHEMAS.items():
            yield from leaves(schema, Allowed(), variant.get(section, {}), ("variants", name, section))


SECTIONED = [leaf for name in SCHEMAS for leaf in leaves(SCHEMAS[name], Allowed(), CONTENT[name], (name,))]
PLAIN_LISTS = [
    ((name,), kind, limits) for name, (kind, limits) in TOP_LEVEL.items() if not is_dataclass(get_args(kind)[0])
]
LEAVES = [*SECTIONED, *variant_leaves(), *PLAIN_LISTS]


def dotted(key: Key) -> str:
    return ".".join(map(str, key))


def refused_values(kind: Any, limits: Allowed, value: Any) -> Iterator[Any]:
    """Yield values that a parameter must not have."""
    if get_origin(kind) is list:
        inner = get_args(kind)[0]
        yield from ("text", 3, None, {"a": 1}, [None], [{"a": 1}], [[]])
        example = value[0] if value else {int: 5, float: 5.0, str: "encoder"}[inner]
        yield from ([*value, wrong] for wrong in refused_values(inner, limits, example))
        return
    yield from (None, [], [value], {"a": value}, "${seed}")
    if kind is not str:
        yield from ("text", str(value))
    if kind is not bool:
        yield True
    if kind is str:
        yield from (3, 0.5, "", "  ")
        if limits.choices:
            yield "another"
    if kind is bool:
        yield from (0, 1, 0.5, "true")
    if kind is int:
        yield 0.5
    if kind in (int, float):
        yield from (math.nan, math.inf, -math.inf)
        yield from (limit - 1 for limit in (limits.at_least, limits.above) if limit is not None)
        yield from (limit for limit in (limits.above, limits.below) if limit is not None)
        yield from (limit + 1 for limit in (limits.at_most, limits.below) if limit is not None)


def check(content: dict[str, Any], key: Key) -> None:
    """Check the part of a parameter file that contains this key."""
    section = str(key[0])
    if section in TOP_LEVEL:
        selected_runs(content, "params.yaml")
    elif section == "variants":
        variant = from_values(VariantParameters, content["variants"][key[1]], f"params.yaml: variants.{key[1]}")
        for name, schema in VARIANT_SCHEMAS.items():
            if name in key:
                whole = {**content[name], **getattr(variant, name)}
                from_values(schema, whole, f"params.yaml: variants.{key[1]}.{name}")
    else:
        from_values(SCHEMAS[section], content[section], f"params.yaml: {section}")


def value_at(content: Any, key: Key) -> Any:
    for step in key:
        content = content[step]
    return content


def assert_refused(content: dict[str, Any], key: Key, named: str) -> str:
    with pytest.raises(ParameterError) as raised:
        check(content, key)
    assert raised.value.where.startswith(f"params.yaml: {named}"), raised.value
    assert raised.value.expected
    return str(raised.value)


@pytest.mark.parametrize(("key", "kind", "limits"), LEAVES, ids=[dotted(key) for key, _, _ in LEAVES])
def test_invalid_missing_and_unknown_parameters_are_refused_by_name(key: Key, kind: Any, limits: Allowed) -> None:
    content = {name: copy.deepcopy(CONTENT[name]) for name in {str(key[0]), *VARIANT_SCHEMAS, *TOP_LEVEL}}
    parent, field_name = value_at(content, key[:-1]), key[-1]
    original = parent[field_name]
    for wrong in refused_values(kind, limits, original):
        parent[field_name] = wrong
        assert_refused(content, key, dotted(key))
    parent[field_name] = original
    inherited = key[0] == "variants" and field_name != "description"  # a variant inherits what it does not set
    open_ended = key[:2] == ("verify", "tolerances")  # a mapping with arbitrary keys
    if not inherited and not open_ended:
        del parent[field_name]
        assert "missing" in assert_refused(content, key, dotted(key))
        parent[field_name] = original
    if len(key) > 1 and not open_ended:
        parent[f"{field_name}_"] = original
        assert "unknown parameter" in assert_refused(content, key, dotted((*key[:-1], f"{field_name}_")))


@pytest.mark.parametrize("section", SCHEMAS)
def test_a_missing_section_is_refused_by_name(section: str) -> None:
    content = {name: values for name, values in CONTENT.items() if name != section}
    with pytest.raises(ParameterError, match=f"params.yaml: {section}: "):
        check_parameters(content, "params.yaml")


def test_params_yaml_is_valid_and_has_exactly_the_declared_sections() -> None:
    check_parameters(CONTENT, PARAMS)
    assert set(CONTENT) == {*SCHEMAS, *TOP_LEVEL, "variants"}


def test_every_number_has_a_unit_and_a_lower_limit() -> None:
    for key, kind, limits in SECTIONED:
        if kind in (int, float, list[int], list[float]):
            assert limits.unit is not None, dotted(key)
            assert limits.above is not None or limits.at_least is not None, dotted(key)


@pytest.mark.parametrize("entry", ["map", {"variant": "map"}, {"variant": "map", "pretraining": 3}, {}, None])
def test_shared_pretraining_entry_needs_two_names(entry: Any) -> None:
    assert_refused({**CONTENT, "shared_pretraining": [entry]}, ("shared_pretraining",), "shared_pretraining")
