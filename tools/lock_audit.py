"""Is requirements.lock what it should be? It asks no network: the lock, what it was made from and what is installed.

Every entry is pinned and hashed and stands there once; it agrees with requirements.in and pyproject.toml; nothing
stands there that those do not lead to, and nothing they lead to is absent; what is installed is what is locked.

`--licences` lists each package's licence as its authors state it. `--advisories all.zip` compares the lock with known
vulnerabilities in the OSV format, in the archive that osv.dev publishes for PyPI: pip-audit asks a service instead and
cannot read a stored one.
"""

from __future__ import annotations

import argparse
import json
import tomllib
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from synthdrive.core.errors import InputError, exit_on_error
from tools.verify import Verdict
from tools.wheels import LockedPackage, normalised, read_lock

OUTSIDE_THE_LOCK = "torch"
"""Its build, and what that brings with it, depends on the machine; requirements.in pins its version."""

MOST_RECORD_BYTES = 1 << 24  # of one advisory; the longest has a hundredth

_DAMAGE = (OSError, zipfile.BadZipFile, zlib.error, RecursionError, ValueError, KeyError, AttributeError, TypeError)
"""What an archive that holds anything at all may raise."""

_TOOLS = frozenset({"pip", "synthdrive", "wheel"})
"""What an environment holds besides: the installer and the project itself."""


def read_requirements(path: Path) -> list[Requirement]:
    """The requirements of requirements.in; raises InputError for a line that is none."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    try:
        return [Requirement(line) for line in lines if line]
    except InvalidRequirement as error:
        raise InputError(path, str(error), "requirements, one a line") from None


def read_project(path: Path) -> list[Requirement]:
    """What pyproject.toml asks for: at run time, in every extra, and to build."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    project = content["project"]
    texts = [*project["dependencies"], *content["build-system"]["requires"]]
    for extra in project.get("optional-dependencies", {}).values():
        texts += extra
    return [Requirement(text) for text in texts]


def installed_packages(path: list[str] | None = None) -> dict[str, Distribution]:
    """Installed distributions by normalised name; `path` replaces the interpreter's own."""
    found = distributions(path=path) if path is not None else distributions()
    return {normalised(distribution.name): distribution for distribution in found}


def disagreements(requirements: Iterable[Requirement], versions: Mapping[str, str]) -> list[str]:
    """Requirements that the versions (by normalised name) do not meet."""
    problems = []
    for requirement in requirements:
        version = versions.get(normalised(requirement.name))
        if version is None:
            problems.append(f"{requirement}: not there")
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{requirement}: {version} is there")
    return problems


def reached(roots: Iterable[Requirement], installed: Mapping[str, Distribution]) -> set[str]:
    """Normalised names of all that the roots lead to, as the installed packages state it, on this platform."""
    waiting = [(normalised(root.name), frozenset({"", *root.extras})) for root in roots]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for text in (installed[name].requires or []) if name in installed else []:
            requirement = Requirement(text)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append((normalised(requirement.name), frozenset({"", *requirement.extras})))
    return {name for name, _ in seen}


def audit(
    lock: list[LockedPackage],
    requirements: list[Requirement],
    project: list[Requirement],
    installed: Mapping[str, Distribution],
    verdict: Verdict,
) -> None:
    """Compare the lock with its sources and with what is installed; prints what is compared."""
    versions = {package.name: package.version for package in lock}
    inside = [item for item in requirements if normalised(item.name) != OUTSIDE_THE_LOCK]
    # What the build of torch brings besides (CUDA's libraries) is no more locked than torch itself.
    torch_build = reached([Requirement(OUTSIDE_THE_LOCK)], installed) - versions.keys()
    verdict.compare(f"{len(lock)} packages are pinned and hashed, each once", [])
    verdict.compare("the lock meets requirements.in", disagreements(inside, versions))
    with_torch = versions | {name: installed[name].version for name in torch_build if name in installed}
    verdict.compare("the lock and torch meet pyproject.toml", disagreements(project, with_torch))
    needed = reached([*requirements, *project], installed)
    extra = sorted(versions.keys() - needed)
    verdict.compare("nothing is locked that they do not lead to", [f"{name}: not needed" for name in extra])
    absent = sorted(needed - versions.keys() - torch_build)
    verdict.compare("all that they lead to is locked", [f"{name}: not in the lock" for name in absent])
    differing = [
        f"{name}: {version} locked, {installed[name].version if name in installed else 'nothing'} installed"
        for name, version in versions.items()
        if name not in installed or installed[name].version != version
    ]
    foreign = sorted(installed.keys() - versions.keys() - torch_build - _TOOLS)
    differing += [f"{name}: installed, but not in the lock" for name in foreign]
    verdict.compare("what is locked is installed, and nothing else", differing)


def licence(distribution: Distribution) -> str:
    """The licence that a package states: SPDX expression, free text in one line, or its classifiers."""
    metadata = distribution.metadata
    for field in ("License-Expression", "License"):
        text = (metadata[field] or "").strip() if field in metadata else ""
        if text and text.upper() != "UNKNOWN":
            return text.splitlines()[0][:60]
    classifiers = metadata.get_all("Classifier") or []
    return "; ".join(item.split(" :: ")[-1] for item in classifiers if item.startswith("License ::"))


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Whether a version is one of an OSV record's `affected` entry: listed, or inside one of its ranges."""
    if version in affected.get("versions", []):
        return True
    here = Version(version)
    for span in affected.get("ranges", []):
        inside = False
        for event in span.get("events", []) if span.get("type") == "ECOSYSTEM" else []:
            for kind, text in event.items():
                there = Version("0" if text == "0" else text)
                if kind == "introduced" and here >= there:
                    inside = True
                elif (kind == "fixed" and here >= there) or (kind == "last_affected" and here > there):
                    inside = False
        if inside:
            return True
    return False


def known_vulnerabilities(lock: list[LockedPackage], archive: Path) -> tuple[int, list[str]]:
    """Number of records in an OSV archive, and those that name a locked version.

    Raises:
        InputError: the file is no archive of OSV records.
    """
    versions = {package.name: package.version for package in lock}
    found, records = [], 0
    try:
        with zipfile.ZipFile(archive) as members:
            for name in sorted(members.namelist()):
                record = json.loads(_read_record(members, name))
                records += 1
                for affected in [] if "withdrawn" in record else record.get("affected", []):
                    package = normalised(affected.get("package", {}).get("name", ""))
                    if package in versions and is_affected(versions[package], affected):
                        summary = record.get("summary", "")
                        found.append(f"{package}=={versions[package]}: {record['id']} {summary}".strip())
    except _DAMAGE as error:
        raise InputError(archive, f"{type(error).__name__} ({error})", "an archive of OSV records in JSON") from None
    if not records:
        raise InputError(archive, "no record", "an archive of OSV records in JSON")
    return records, sorted(set(found))


def _read_record(members: zipfile.ZipFile, name: str) -> bytes:
    with members.open(name) as stream:
        content = stream.read(MOST_RECORD_BYTES + 1)
    if len(content) > MOST_RECORD_BYTES:
        raise ValueError(f"{name} has more than {MOST_RECORD_BYTES} bytes")
    return content


def main() -> None:
    """Command line: `python -m tools.lock_audit`, in the repository's root; exit status 0 when whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", type=Path, default=Path("requirements.lock"))
    parser.add_argument("--licences", action="store_true", help="list package, version and licence")
    parser.add_argument("--advisories", type=Path, help="archive of vulnerabilities in the OSV format")
    arguments = parser.parse_args()
    verdict = Verdict()
    with exit_on_error():
        lock, installed = read_lock(arguments.lock), installed_packages()
        requirements = read_requirements(arguments.lock.with_name("requirements.in"))
        audit(lock, requirements, read_project(arguments.lock.with_name("pyproject.toml")), installed, verdict)
        unstated = [
            package.name for package in lock if package.name in installed and not licence(installed[package.name])
        ]
        verdict.compare("every package states its licence", [f"{name}: none" for name in unstated])
        if arguments.advisories:
            records, found = known_vulnerabilities(lock, arguments.advisories)
            verdict.compare(f"none of {records} advisories names a locked version", found)
    if arguments.licences:
        for name in sorted({package.name for package in lock} & installed.keys()):
            print(f"{name:<28} {installed[name].version:<18} {licence(installed[name])}")
    print(f"audit: {verdict.comparisons} comparisons, {verdict.failures} differences")
    raise SystemExit(1 if verdict.failures else 0)


if __name__ == "__main__":
    main()
