"""Tests that references to sections of docs/method.md, and its references to files and parameters, are valid."""

import re

import yaml

from repository import PARAMS, REPOSITORY

METHOD = (REPOSITORY / "docs" / "method.md").read_text(encoding="utf-8")
FOLDERS = ("src", "stages", "tests", "benchmarks", "profiles", "docs")
TEXT = (".py", ".yaml", ".md", ".j2")

NUMBER = r"[1-9]\d*(?:\.\d+)?"
# "docs/method.md 4.1", also "docs/method.md 3.2 to 3.4", "docs/method.md 4.4 and 5", "docs/method.md 1.3, 1.4"
REFERENCE = re.compile(rf"docs/method\.md ({NUMBER}(?:(?:, | to | and ){NUMBER}\b)*)")
SECTIONS = set(re.findall(rf"^(?:#+|\|) ({NUMBER})\b", METHOD, flags=re.M))


def texts():
    files = [path for path in REPOSITORY.iterdir() if path.suffix in TEXT or path.name == "Makefile"]
    for folder in FOLDERS:
        files += [path for path in (REPOSITORY / folder).rglob("*") if path.suffix in TEXT]
    return {path.relative_to(REPOSITORY): path.read_text(encoding="utf-8") for path in files if path.is_file()}


def named():
    """Everything in backquotes in docs/method.md."""
    return re.findall(r"`([^`\n]+)`", METHOD)


def test_sections_referenced_in_the_repository_exist():
    found = 0
    for path, text in texts().items():
        for reference in REFERENCE.findall(text):
            for number in re.findall(NUMBER, reference):
                assert number in SECTIONS, f"{path}: docs/method.md {number}"
                found += 1
    assert found > 50


def test_sections_referenced_in_the_page_itself_exist():
    for inside in re.findall(r"\(([^()]*)\)", METHOD):
        if re.fullmatch(rf"{NUMBER}(?:(?:, | to ){NUMBER})*", inside):
            assert set(re.findall(NUMBER, inside)) <= SECTIONS, inside


def test_files_named_in_the_page_exist():
    files = [name for name in named() if re.fullmatch(r"[\w/-]+\.(?:py|yaml|md)", name)]
    assert len(files) > 50
    for name in files:
        assert any((root / name).is_file() for root in (REPOSITORY, REPOSITORY / "src" / "synthdrive")), name


def test_parameters_named_in_the_page_exist():
    parameters = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    names = [re.fullmatch(r"([a-z_]+)\.([a-z_.]+)(?:: \S+)?", name) for name in named()]
    names = [match for match in names if match and match[1] in parameters]
    assert len(names) > 50
    for match in names:
        value = parameters[match[1]]
        for key in match[2].split("."):
            assert key in value, match[0]
            value = value[key]
