"""Tests of loading parameters: types, missing and unknown keys, renamed and removed parameters."""

import math
from dataclasses import dataclass

import pytest

from synthdrive.core import parameters as loading
from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import MOST_BYTES, load_section, read_parameters
from synthdrive.core.schema import from_values, value


@dataclass
class Kind:
    name: str = value(pattern="[a-z]+")
    length: float = value(above=0, unit="m")

    def validate(self, where):
        if self.name == "long" and self.length < 10:
            raise ParameterError(f"{where}.length", str(self.length), "at least 10 if the name is long")


@dataclass
class Schema:
    hidden: int = value(at_least=1, unit="")
    ratio: float = value(above=0, at_most=1, unit="")
    names: list[str] = value(distinct=True)
    epochs: list[int] = value(at_least=1, unit="", rising=True, most=3)
    kinds: list[Kind] = value(fewest=1)


GOOD = {"hidden": 8, "ratio": 1, "names": ["a"], "epochs": [1, 3], "kinds": [{"name": "long", "length": 12.5}]}


def write(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def test_section_is_loaded_with_the_declared_types(tmp_path):
    text = "model:\n  hidden: 8\n  ratio: 1e-3\n  names: [a]\n  epochs: []\n  kinds:\n    - {name: b, length: 2}\n"
    loaded = load_section(Schema, "model", write(tmp_path, text))
    assert loaded == Schema(8, 0.001, ["a"], [], [Kind("b", 2.0)])
    assert isinstance(loaded.kinds[0].length, float)
    nested = write(tmp_path, "variants:\n  map:\n    name: a\n    length: 3.0\n")
    assert load_section(Kind, "variants.map", nested) == Kind("a", 3.0)


@pytest.mark.parametrize(
    ("key", "found", "message"),
    [
        ("hiden", 8, r"model\.hiden: found an unknown parameter; expected one of hidden, ratio, names, epochs, kinds"),
        ("hidden", "wide", r"model\.hidden: found 'wide'; expected a whole number at least 1"),
        ("hidden", "8", r"model\.hidden: found '8'"),
        ("hidden", 0, r"model\.hidden: found 0; expected a whole number at least 1"),
        ("hidden", True, r"model\.hidden: found True"),
        pytest.param("hidden", 10**400, r"model\.hidden: found 10000.*; expected a whole number", id="huge hidden"),
        pytest.param("ratio", -(10**400), r"model\.ratio: found -10000.*; expected a number above 0", id="huge ratio"),
        ("ratio", math.inf, r"model\.ratio: found inf; expected a number above 0 and at most 1"),
        ("ratio", math.nan, r"model\.ratio: found nan; expected a number above 0 and at most 1"),
        ("ratio", [1], r"model\.ratio: found \[1\]"),
        ("names", [{"a": 1}], r"model\.names\.0: found \{'a': 1\}; expected text"),
        ("names", ["a", "a"], r"model\.names: found .*; expected no item twice"),
        ("names", ["${oc.env:HOME}"], r"model\.names\.0: .*without interpolation"),
        ("epochs", [1, 1], r"model\.epochs: .*numbers that rise"),
        ("epochs", [1, 2, 3, 4], r"model\.epochs: found 4 items; expected 0 to 3 items"),
        ("kinds", [], r"model\.kinds: found 0 items; expected at least 1 items"),
        ("kinds", ["a"], r"model\.kinds\.0: found 'a'; expected a section"),
        ("kinds", [{"name": "a"}], r"model\.kinds\.0\.length: found nothing: it is missing; .*above 0 \(m\)"),
        ("kinds", [{"name": "B", "length": 1.0}], r"model\.kinds\.0\.name: found 'B'; expected .*\[a-z\]\+"),
        ("kinds", [{"name": "long", "length": 1.0}], r"model\.kinds\.0\.length: found 1.0; expected at least 10"),
    ],
)
def test_invalid_value_is_refused_with_the_allowed_values(key, found, message):
    with pytest.raises(ParameterError, match=message):
        from_values(Schema, {**GOOD, key: found}, "model")


@pytest.mark.parametrize("key", GOOD)
def test_no_parameter_has_a_default(key):
    with pytest.raises(ParameterError, match=rf"model\.{key}: found nothing: it is missing"):
        from_values(Schema, {name: found for name, found in GOOD.items() if name != key}, "model")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modell: {}\n", r"modell.*unknown section"),
        ("variants: {}\n", r"model.*no 'model'"),
        ("model: 5\n", r"model: found 5; expected a section"),
        ("model: [\n", "unreadable YAML"),
        ("- a\n", "found list"),
        ("model: !!python/object/apply:os.system ['true']\n", "unreadable YAML"),
        ("model:\n  hidden: 1\n  hidden: 2\n", "unreadable YAML.*'hidden' twice"),
        ("model: &a {}\narms: *a\n", "unreadable YAML.*alias in line 2"),
        ("model:\n  hidden: 2020-13-45\n", "unreadable YAML"),
        ("# " + "x" * MOST_BYTES, "at most"),
    ],
)
def test_invalid_parameter_file_is_refused(tmp_path, text, message):
    with pytest.raises(ParameterError, match=message):
        load_section(Schema, "model", write(tmp_path, text))


def test_missing_parameter_file_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"nowhere\.yaml.*no such file"):
        load_section(Schema, "model", tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("model:\n  width: 3\n", "model.width", "model.hidden_size"),
        (
            "variants:\n  map:\n    model:\n      width: 3\n",
            "variants.map.model.width",
            "variants.map.model.hidden_size",
        ),
        ("model:\n  kinds:\n    - share: 3\n", "model.kinds.share", "model.kinds.fraction"),
        ("cells: {}\n", "cells", "runs"),
    ],
)
def test_old_parameter_name_is_refused_with_its_new_name(tmp_path, monkeypatch, text, old, new):
    renamed = {"model.width": "model.hidden_size", "model.kinds.share": "model.kinds.fraction", "cells": "runs"}
    monkeypatch.setattr(loading, "RENAMED", renamed)
    with pytest.raises(ParameterError, match=rf": {old}: found a parameter's old name; expected its new name, {new}$"):
        read_parameters(write(tmp_path, text))


def test_removed_parameter_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r": synthesize\.traffic: found a removed parameter \(no profile"):
        read_parameters(write(tmp_path, "synthesize:\n  seed: 0\n  traffic:\n    vehicles: 3\n"))
