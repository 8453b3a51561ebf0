"""Audit of requirements.lock against its sources and the installed packages, without network access.

Every entry must be unique, pinned and hashed, and agree with requirements.in and pyproject.toml. The lock must contain
exactly the packages that these require, directly or not, and these must be installed.

`--licences` lists each package's licence as its authors state it. `--advisories all.zip` compares the lock with known
vulnerabilities in the OSV format, from the archive that osv.dev publishes for PyPI; pip-audit would need a network.
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
"""Its build and the dependencies of that build depend on the machine; requirements.in pins its version."""

MOST_RECORD_BYTES = 1 << 24  # of an advisory; the longest has a hundredth of this

_DAMAGE = (OSError, zipfile.BadZipFile, zlib.error, RecursionError, ValueError, KeyError, AttributeError, TypeError)
"""Errors that reading a damaged or unrelated archive may raise."""

_TOOLS = frozenset({"pip", "synthdrive", "wheel"})
"""Packages that an environment has in addition: the installer and the project itself."""


def read_requirements(path: Path) -> list[Requirement]:
    """Read requirements.in; raises InputError if it is missing or a line is not a requirement."""
    try:
        lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
        return [Requirement(line) for line in lines if line]
    except FileNotFoundError:
        raise InputError(path, "no such file", "the requirements of the lock") from None
    except InvalidRequirement as error:
        raise InputError(path, str(error), "one requirement per line") from None


def read_project(path: Path) -> list[Requirement]:
    """Read the requirements of pyproject.toml: at run time, of every extra, and to build.

    Raises:
        InputError: the file is missing or damaged, or lacks the project's requirements.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        project = content["project"]
        texts = [*project["dependencies"], *content["build-system"]["requires"]]
        for extra in project.get("optional-dependencies", {}).values():
            texts += extra
        return [Requirement(text) for text in texts]
    except FileNotFoundError:
        raise InputError(path, "no such file", "the project's pyproject.toml") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # ValueError: no TOML, or not a requirement
        what = f"{type(error).__name__} ({error})"
        raise InputError(path, what, "project.dependencies and build-system.requires") from None


def installed_packages(path: list[str] | None = None) -> dict[str, Distribution]:
    """Return the installed distributions by normalised name; `path` replaces the search path of the interpreter."""
    found = distributions(path=path) if path is not None else distributions()
    return {normalised(distribution.name): distribution for distribution in found}


def disagreements(requirements: Iterable[Requirement], versions: Mapping[str, str]) -> list[str]:
    """Describe the requirements that `versions` (by normalised name) do not meet."""
    problems = []
    for requirement in requirements:
        version = versions.get(normalised(requirement.name))
        if version is None:
            problems.append(f"{requirement}: missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{requirement}: found {version}")
    return problems


def reached(roots: Iterable[Requirement], installed: Mapping[str, Distribution]) -> set[str]:
    """Return the normalised names of `roots` and their transitive dependencies, as installed on this platform."""
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
    """Compare the lock with its sources and with the installed packages, and print the comparisons."""
    versions = {package.name: package.version for package in lock}
    inside = [item for item in requirements if normalised(item.name) != OUTSIDE_THE_LOCK]
    # Like torch itself, the dependencies of its build (CUDA libraries) are not locked.
    torch_build = reached([Requirement(OUTSIDE_THE_LOCK)], installed) - versions.keys()
    verdict.compare(f"{len(lock)} packages are pinned and hashed, each once", [])
    verdict.compare("the lock meets requirements.in", disagreements(inside, versions))
    with_torch = versions | {name: installed[name].version for name in torch_build if name in installed}
    verdict.compare("the lock and torch meet pyproject.toml", disagreements(project, with_torch))
    needed = reached([*requirements, *project], installed)
    extra = sorted(versions.keys() - needed)
    verdict.compare("no package is locked that they do not require", [f"{name}: not needed" for name in extra])
    absent = sorted(needed - versions.keys() - torch_build)
    verdict.compare("all packages that they require are locked", [f"{name}: not in the lock" for name in absent])
    differing = [
        f"{name}: {version} locked, {installed[name].version if name in installed else 'nothing'} installed"
        for name, version in versions.items()
        if name not in installed or installed[name].version != version
    ]
    foreign = sorted(installed.keys() - versions.keys() - torch_build - _TOOLS)
    differing += [f"{name}: installed, but not in the lock" for name in foreign]
    verdict.compare("exactly the locked packages are installed", differing)


def licence(distribution: Distribution) -> str:
    """Return the licence that a package states: SPDX expression, first line of free text, or classifiers."""
    metadata = distribution.metadata
    for field in ("License-Expression", "License"):
        text = (metadata[field] or "").strip() if field in metadata else ""
        if text and text.upper() != "UNKNOWN":
            return text.splitlines()[0][:60]
    classifiers = metadata.get_all("Classifier") or []
    return "; ".join(item.split(" :: ")[-1] for item in classifiers if item.startswith("License ::"))


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Return whether an entry `affected` of an OSV record lists a version or has it in one of its ranges."""
    if version in affected.get("versions", []):
        return True
    current = Version(version)
    for span in affected.get("ranges", []):
        inside = False
        events = [pair for event in span.get("events", []) for pair in event.items()]
        if span.get("type") == "ECOSYSTEM":
            for kind, text in sorted(events, key=lambda pair: (Version(pair[1]), pair[0] != "introduced")):
                bound = Version(text)
                if kind == "introduced" and current >= bound:
                    inside = True
                elif (kind == "fixed" and current >= bound) or (kind == "last_affected" and current > bound):
                    inside = False
        if inside:
            return True
    return False


def known_vulnerabilities(lock: list[LockedPackage], archive: Path) -> tuple[int, list[str]]:
    """Return the number of records in an OSV archive, and a description of each that affects a locked version.

    Raises:
        InputError: the file is not an archive of OSV records.
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
    """Command line: `python -m tools.lock_audit`, in the repository's root; exit status 0 if all comparisons agree."""
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
