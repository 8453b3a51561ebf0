"""Tests of the lock audit on a small environment, with a lock for each kind of fault that it reports."""

import json
import zipfile

import pytest
from packaging.requirements import Requirement

from synthdrive.core.errors import InputError
from tools.lock_audit import (
    audit,
    installed_packages,
    is_affected,
    known_vulnerabilities,
    licence,
    read_project,
    read_requirements,
)
from tools.verify import Verdict
from tools.wheels import LockedPackage

METADATA = {
    "torch": ("2.13.0+cpu", ["mathematics", 'windows-only; sys_platform == "win32"', "cuda-library"]),
    "cuda-library": ("12", []),
    "pipeline": ("3.1", ["helper>=1", 'optional; extra == "all"']),
    "helper": ("1.5", []),
    "optional": ("1.0", []),
    "mathematics": ("1.0", []),
    "pip": ("23.0", []),
}


@pytest.fixture
def installed(tmp_path):
    """Installed distributions that consist only of metadata."""
    for name, (version, requires) in METADATA.items():
        folder = tmp_path / "site" / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "License: MIT"]
        (folder / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {item}" for item in requires), ""]))
    return installed_packages([str(tmp_path / "site")])


def locked(**versions):
    return [LockedPackage(name.replace("_", "-"), version, frozenset({"0" * 64})) for name, version in versions.items()]


def problems(
    installed, capsys, lock=None, requirements=("torch==2.13.0", "pipeline[all]==3.1"), project=("torch>=2.6",)
):
    verdict = Verdict()
    lock = lock or locked(pipeline="3.1", helper="1.5", optional="1.0", mathematics="1.0")
    audit(
        lock, [Requirement(item) for item in requirements], [Requirement(item) for item in project], installed, verdict
    )
    lines = capsys.readouterr().out.splitlines()
    assert verdict.failures == sum(line.startswith("      ") for line in lines)
    return [line.strip() for line in lines if line.startswith("      ")]


def test_a_complete_lock_passes_even_if_torch_needs_more_packages(installed, capsys):
    assert problems(installed, capsys) == []


def test_an_unneeded_entry_is_reported(installed, capsys):
    assert problems(installed, capsys, requirements=["torch==2.13.0", "pipeline==3.1"]) == ["optional: not needed"]


def test_a_missing_entry_is_reported(installed, capsys):
    found = problems(installed, capsys, lock=locked(pipeline="3.1", optional="1.0", mathematics="1.0"))
    assert "helper: not in the lock" in found


def test_a_lock_that_is_older_than_requirements_in_is_reported(installed, capsys):
    found = problems(installed, capsys, requirements=["torch==2.13.0", "pipeline[all]==3.2", "newcomer"])
    assert "pipeline[all]==3.2: found 3.1" in found
    assert "newcomer: missing" in found


def test_a_locked_version_that_pyproject_excludes_is_reported(installed, capsys):
    assert "torch>=3: found 2.13.0+cpu" in problems(installed, capsys, project=["torch>=3"])


def test_another_installed_version_is_reported(installed, capsys):
    found = problems(installed, capsys, lock=locked(pipeline="3.1", helper="1.6", optional="1.0", mathematics="1.0"))
    assert found == ["helper: 1.6 locked, 1.5 installed"]


def test_licence_is_read_from_the_metadata(installed):
    assert licence(installed["helper"]) == "MIT"


@pytest.mark.parametrize(
    ("version", "affected", "expected"),
    [
        ("1.5", {"versions": ["1.4", "1.5"]}, True),
        ("1.5", {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.5"}]}]}, False),
        ("1.5", {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.10"}]}]}, True),
        ("1.5", {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.2"}, {"last_affected": "1.5"}]}]}, True),
        ("1.5", {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.6"}]}]}, False),
        ("1.5", {"ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "1.4"}, {"introduced": "0"}]}]}, False),
        (
            "1.5",
            {
                "ranges": [
                    {"type": "ECOSYSTEM", "events": [{"introduced": "1.5"}, {"introduced": "0"}, {"fixed": "1.4"}]}
                ]
            },
            True,
        ),
        ("1.5", {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}, False),
    ],
)
def test_affected_versions_follow_the_advisory(version, affected, expected):
    assert is_affected(version, affected) is expected


def test_advisories_name_locked_versions(tmp_path):
    affected = {"package": {"ecosystem": "PyPI", "name": "Helper"}, "versions": ["1.5"]}
    records = [
        {"id": "A-1", "summary": "a hole", "affected": [affected]},
        {"id": "A-2", "withdrawn": "2020-01-01T00:00:00Z", "affected": [affected]},
        {"id": "A-3", "affected": [{"package": {"ecosystem": "PyPI", "name": "unknown"}, "versions": ["1.5"]}]},
    ]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for record in records:
            archive.writestr(f"{record['id']}.json", json.dumps(record))
    assert known_vulnerabilities(locked(helper="1.5"), tmp_path / "all.zip") == (3, ["helper==1.5: A-1 a hole"])
    assert known_vulnerabilities(locked(helper="1.6"), tmp_path / "all.zip") == (3, [])


def test_a_file_that_is_not_an_archive_of_advisories_is_refused(tmp_path):
    (tmp_path / "all.zip").write_bytes(b"<html>")
    with pytest.raises(InputError, match="an archive of OSV records"):
        known_vulnerabilities(locked(helper="1.5"), tmp_path / "all.zip")


@pytest.mark.parametrize("content", [b"[" * 10**6, b" " * (64 << 20), b"1" * 10_000, b'{"affected": 1}'])
def test_a_malicious_advisory_is_refused(tmp_path, content):
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("A-1.json", content)
    with pytest.raises(InputError, match=r"all\.zip"):
        known_vulnerabilities(locked(helper="1.5"), tmp_path / "all.zip")


@pytest.mark.parametrize(
    "content", [None, "[project", "", "[project]\ndependencies = 3\n", "[project]\ndependencies = ['a b c']\n"]
)
def test_a_missing_or_damaged_pyproject_is_named(tmp_path, content):
    path = tmp_path / "pyproject.toml"
    if content is not None:
        path.write_text(content + ("[build-system]\nrequires = []\n" if "dependencies" in content else ""))
    with pytest.raises(InputError, match=r"pyproject\.toml: found"):
        read_project(path)


def test_missing_or_damaged_requirements_are_named(tmp_path):
    path = tmp_path / "requirements.in"
    with pytest.raises(InputError, match=r"requirements\.in: found no such file"):
        read_requirements(path)
    path.write_text("a b c\n")
    with pytest.raises(InputError, match=r"requirements\.in"):
        read_requirements(path)
