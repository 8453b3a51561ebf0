"""Tests of `make profile`: it sets a profile's values in params.yaml and keeps comments and layout."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from repository import PARAMS, REPOSITORY
from synthdrive.config.whole_file import check_parameters
from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import read_parameters
from tools.profiles import apply_profile, listed, with_values

PROFILES = sorted((REPOSITORY / "profiles").glob("*.yaml"))


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    """A copy of params.yaml outside a git repository."""
    (tmp_path / "params.yaml").write_text(PARAMS.read_text())
    return tmp_path / "params.yaml"


@pytest.fixture
def checkout(parameters: Path) -> Path:
    """Params.yaml and the profiles, committed."""
    (parameters.parent / "profiles").mkdir()
    for path in PROFILES:
        (parameters.parent / "profiles" / path.name).write_text(path.read_text())
    git = ("git", "-C", str(parameters.parent), "-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "Parameters")):
        subprocess.run([*git, *command], check=True)
    return parameters.parent


def profile(parameters: Path, text: str, name: str = "mine") -> Path:
    path = parameters.with_name(f"{name}.yaml")
    path.write_text(text)
    return path


def lines_between(before: str, after: str) -> tuple[list[str], list[str]]:
    """(removed lines, new lines)."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [line[2:] for line in lines if line[0] == "-"], [line[2:] for line in lines if line[0] == "+"]


def comments(text: str) -> dict[str, str]:
    """Each comment line with the key of the line below it."""
    lines = text.splitlines()
    return {
        line: next(below.split(":")[0] for below in lines[number:] if below.strip() and "#" not in below)
        for number, line in enumerate(lines)
        if line.strip().startswith("#")
    }


def test_a_profile_changes_only_the_lines_of_its_values(parameters: Path) -> None:
    before = parameters.read_text()
    mine = profile(
        parameters, "seeds: [7, 8]\nmodel:\n  hidden_size: 64\nsynthesize:\n  speed_variation:\n    interval: 40\n"
    )
    assert apply_profile(mine, parameters) == ["seeds", "synthesize.speed_variation.interval", "model.hidden_size"]
    removed, new = lines_between(before, parameters.read_text())
    assert removed == ["seeds: [0, 1, 2, 3]", "    interval: 0.0", "  hidden_size: 32"]
    assert new == ["seeds: [7, 8]", "    interval: 40", "  hidden_size: 64"]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_is_valid_and_keeps_every_comment_in_its_place(path: Path, parameters: Path) -> None:
    before = parameters.read_text()
    apply_profile(path, parameters)
    after = parameters.read_text()
    check_parameters(read_parameters(parameters), parameters)
    assert yaml.safe_load(after) != yaml.safe_load(before)
    assert comments(before) == comments(after)
    assert "extends" not in after


def test_a_profile_that_extends_another_inherits_what_it_does_not_specify(parameters: Path) -> None:
    profile(parameters, "seeds: [5]\nmodel:\n  hidden_size: 64\n  sub_graph_layers: 2\n", "small")
    profile(parameters, "extends: small\nmodel:\n  sub_graph_layers: 1\n", "shallow")
    mine = profile(parameters, "extends: shallow\nseeds: [6]\n")
    apply_profile(mine, parameters)
    content = read_parameters(parameters)
    assert content["seeds"] == [6]
    assert (content["model"]["hidden_size"], content["model"]["sub_graph_layers"]) == (64, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: absent\n", r"absent\.yaml: found no such file"),
        ("extends: mine\n", "mine extends mine"),
        ("extends: ../paper\n", r"mine\.yaml: extends: found '\.\./paper'; expected the name of a profile in the same"),
        (
            "model:\n  width: 3\n",
            r"mine\.yaml: model\.width: found a key that params.yaml does not have; .*hidden_size",
        ),
        ("modell:\n  width: 3\n", r"mine\.yaml: modell: found a key that params.yaml does not have"),
        ("model:\n  hidden_size: wide\n", r"mine\.yaml: model\.hidden_size: found 'wide'"),
        ("model: 3\n", r"mine\.yaml"),
        ("model:\n", r"mine\.yaml: model"),
        ("run_variants: [absent]\n", r"mine\.yaml: variants: found no variant 'absent'"),
        ("on_top_of: paper\n", r"mine\.yaml: on_top_of: found a parameter's old name; expected its new name, extends"),
        (
            "variants:\n  new:\n    extends: absent\n",
            r"variants\.new\.extends: found 'absent'; expected one of none, map",
        ),
        ("variants:\n  new:\n    extends: newer\n  newer:\n    extends: new\n", "new extends newer extends new"),
        (
            "variants:\n  new:\n    extends: map\n    pretain: {}\n",
            r"variants\.new\.pretain: found an unknown parameter",
        ),
        (
            "variants:\n  map:\n    pretrain:\n      mask: 1\n",
            r"variants\.map\.pretrain\.mask: found an unknown parameter",
        ),
        ("variants:\n  new:\n    pretrain: {}\n", r"variants\.new\.description: found nothing"),
        ("variants:\n", r"mine\.yaml: variants: found None; expected a mapping of variants"),
        (
            "variants:\n  new:\n    extends: [map]\n",
            r"variants\.new\.extends: found \['map'\]; expected one of none, map",
        ),
        (
            "variants:\n  empty:\n  new:\n    extends: empty\n",
            r"variants\.new\.extends: found 'empty'; expected one of",
        ),
        ("", "found NoneType"),
        ("- a\n", "found list"),
        ("a: [\n", "unreadable YAML"),
    ],
)
def test_an_invalid_profile_is_refused_and_nothing_is_written(text: str, message: str, parameters: Path) -> None:
    with pytest.raises(ParameterError, match=message):
        apply_profile(profile(parameters, text), parameters)
    assert parameters.read_text() == PARAMS.read_text()


def variants_with(parameters: Path, text: str) -> dict[str, Any]:
    apply_profile(profile(parameters, f"variants:\n{text}"), parameters)
    variants: dict[str, Any] = read_parameters(parameters)["variants"]
    return variants


def test_a_variant_that_extends_another_specifies_only_how_it_differs(parameters: Path) -> None:
    before = parameters.read_text()
    variants = variants_with(
        parameters,
        "  longest:\n    extends: longer\n    description: longest\n    finetune:\n      epochs: 60\n"
        "  longer:\n    extends: forecast\n    description: longer\n    finetune:\n      epochs: 30\n",
    )
    base = yaml.safe_load(before)["variants"]["forecast"]
    assert variants["forecast"] == base
    longer = {**base, "description": "longer", "finetune": {**base["finetune"], "epochs": 30}}
    assert variants["longer"] == longer
    assert variants["longest"] == {**longer, "description": "longest", "finetune": {**base["finetune"], "epochs": 60}}
    removed, _ = lines_between(before, parameters.read_text())
    assert removed == []
    assert comments(before) == comments(parameters.read_text())


def test_a_profile_can_change_a_variant(parameters: Path) -> None:
    before = parameters.read_text()
    variants = variants_with(
        parameters, "  forecast:\n    model:\n      coordinate_scale: 10.0\n    finetune:\n      epochs: 3\n"
    )
    assert variants["forecast"]["model"] == {"coordinate_scale": 10.0}
    assert variants["forecast"]["finetune"]["epochs"] == 3
    assert variants["forecast"]["finetune"]["load_pretrained_weights"] == [
        "encoder",
        "lane_scorer",
        "goal_scorer",
        "completion",
    ]
    variants = variants_with(parameters, "  combined:\n    pretrain:\n      epochs: 3\n")
    assert variants["combined"]["pretrain"] == {"epochs": 3}
    assert comments(before) == comments(parameters.read_text())


def test_a_second_profile_replaces_all_values_of_the_first(checkout: Path) -> None:
    parameters, profiles = checkout / "params.yaml", checkout / "profiles"
    changed = apply_profile(profiles / "argoverse1-small.yaml", parameters)
    small = parameters.read_text()
    for name in ("realistic", "paper"):
        apply_profile(profiles / f"{name}.yaml", parameters)
        assert parameters.read_text() != small
    assert apply_profile(profiles / "argoverse1-small.yaml", parameters) == changed
    assert parameters.read_text() == small


def test_uncommitted_values_are_never_overwritten(checkout: Path) -> None:
    parameters, paper = checkout / "params.yaml", checkout / "profiles" / "paper.yaml"
    apply_profile(paper, parameters)
    edited = parameters.read_text().replace("mask_ratio: 0.5", "mask_ratio: 0.4")
    assert edited != parameters.read_text()
    parameters.write_text(edited)
    with pytest.raises(
        ParameterError, match=r"params\.yaml: found values that are not committed.*git checkout .*params"
    ):
        apply_profile(paper, parameters)
    assert parameters.read_text() == edited


def test_quotes_are_kept_and_added_to_texts_that_would_be_read_as_something_else() -> None:
    text = "one: \"a\"  # comment\ntwo: 'b'\nthree: c\nfour: d\nfive: [e, f]\n"
    values = {"one": "a", "two": "b", "three": "no", "four": "12:30", "five": ["on", "1e3", "g"]}
    written = with_values(text, values)
    assert written == 'one: "a"  # comment\ntwo: \'b\'\nthree: "no"\nfour: "12:30"\nfive: ["on", "1e3", g]\n'
    assert yaml.safe_load(written) == values


def set_with_dvc(parameters: Path, override: str) -> None:
    """Change the file as `dvc exp run --set-param` does."""
    from dvc.utils.hydra import apply_overrides

    apply_overrides(str(parameters), [override])


def test_a_value_set_through_dvc_keeps_comments(parameters: Path) -> None:
    before = parameters.read_text()
    set_with_dvc(parameters, "pretrain.mask_ratio=0.3")
    assert set(map(str.strip, comments(before))) == set(map(str.strip, comments(parameters.read_text())))


def test_params_yaml_is_written_so_that_dvc_keeps_its_comments() -> None:
    """Lists of plain values are in flow style, and no comment follows another list: ruamel.yaml would lose it."""
    lines = PARAMS.read_text().splitlines()
    for number, line in enumerate(lines):
        assert not line.strip().startswith("- ") or ":" in line, f"line {number + 1}: a list over several lines"
    in_list: int | None = None
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip().startswith("- "):
            in_list = indent
        elif in_list is not None and indent <= in_list:
            assert line.strip()[:1] not in ("", "#"), f"line {number + 1}: a comment after a list"
            in_list = None


def test_params_yaml_contains_only_literal_values() -> None:
    text = "\n".join(line.split("#")[0] for line in PARAMS.read_text().splitlines())
    for forbidden in ("${", "&", "*", "<<:"):
        assert forbidden not in text, f"{forbidden!r}: DVC would track the text, not the value"


def command_line(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tools.profiles", *arguments]
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["nosuch"], []])
def test_the_profiles_are_listed_if_the_name_is_missing_or_wrong(arguments: list[str], checkout: Path) -> None:
    status, printed = command_line(checkout, *arguments)
    assert status == 2
    for path in PROFILES:
        assert path.stem in printed
    assert "the paper's sizes and schedules" in printed
    assert len(listed(checkout / "profiles").splitlines()) == len(PROFILES)


def test_the_command_prints_what_changed_and_how_to_undo_it(checkout: Path) -> None:
    status, printed = command_line(checkout, "paper")
    assert status == 0
    for part in ("model.hidden_size", "git checkout params.yaml"):
        assert part in printed
