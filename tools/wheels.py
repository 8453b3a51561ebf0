"""A folder with all wheels of the environment, from which it can be set up without a network.

`record` writes `vendored.lock` into the folder: the SHA-256 of the wheel of each locked package and of each dependency
of the build of torch. `check` compares the folder with that file and with requirements.lock. Both run before the
environment exists, so this module needs only the standard library.

If a package's authors publish only sources, the folder has both the archive, in `sources/`, with a hash of
requirements.lock, and the wheel built from it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from synthdrive.core.errors import InputError, SynthDriveError, exit_on_error

VENDORED_LOCK = "vendored.lock"
SOURCES = "sources"
_ENTRY = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.+!_-]*)$")
_HASH = re.compile(r"^--hash=sha256:([0-9a-f]{64})$")


@dataclass(frozen=True)
class LockedPackage:
    """An entry of a lock file: normalised name, version, and the SHA-256 of every archive that is allowed for it."""

    name: str
    version: str
    hashes: frozenset[str]


def normalised(name: str) -> str:
    """Normalise a package's name as indexes do (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> list[LockedPackage]:
    """Read the entries of a lock file, in its order.

    Raises:
        InputError: the file is missing, a line is not `name==version` with SHA-256 hashes, or a package occurs twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, "no such file", "a lock file") from None
    packages: dict[str, LockedPackage] = {}
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        entry, hashes = _ENTRY.match(words[0]), [_HASH.match(word) for word in words[1:]]
        if entry is None or not all(hashes):
            raise InputError(path, f"{' '.join(words)[:80]!r}", "name==version --hash=sha256:...", "Run: make lock")
        package = LockedPackage(normalised(entry[1]), entry[2], frozenset(found[1] for found in hashes if found))
        if not package.hashes:
            raise InputError(path, f"{package.name} without a hash", "one hash or more", "Run: make lock")
        if package.name in packages:
            raise InputError(path, f"{package.name} twice", "each package once", "Run: make lock")
        packages[package.name] = package
    return list(packages.values())


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal, as pip uses it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def wheels_of(folder: Path) -> dict[tuple[str, str], Path]:
    """Return the wheels of a folder by normalised name and version.

    Raises:
        InputError: a wheel's name has no version, or a package has two wheels.
    """
    found: dict[tuple[str, str], Path] = {}
    versions: dict[str, str] = {}
    for path in sorted(folder.glob("*.whl")):
        name, *others = path.name.removesuffix(".whl").split("-")
        if not others:
            raise InputError(path, "a file name without a version", "NAME-VERSION-...whl, as pip writes it")
        version = others[0]
        key = normalised(name), version
        if key[0] in versions:
            raise InputError(folder, f"two wheels of {key[0]}", "one", "Empty the folder and run make vendor again.")
        found[key], versions[key[0]] = path, version
    return found


def foreign_wheels(folder: Path, lock: list[LockedPackage]) -> list[str]:
    """Describe the differences of a folder from requirements.lock: missing wheels, and wheels with other hashes."""
    wheels = wheels_of(folder)
    sources = {sha256(path): path.name for path in sorted((folder / SOURCES).glob("*"))}
    problems = []
    for package in lock:
        wheel = wheels.get((package.name, package.version))
        if wheel is None:
            problems.append(f"{package.name}=={package.version}: no wheel")
        elif sha256(wheel) not in package.hashes and not package.hashes & sources.keys():
            problems.append(f"{wheel.name}: neither its hash nor that of a source archive is in the lock")
    return problems


def record(folder: Path, lock: list[LockedPackage]) -> int:
    """Write the folder's vendored.lock, completely or not at all; return the number of wheels.

    Raises:
        SynthDriveError: the folder does not match requirements.lock; as InputError if a wheel has another name.
    """
    if problems := foreign_wheels(folder, lock):
        raise SynthDriveError(f"{folder}: " + "; ".join(problems))
    lines = [f"{name}=={version} --hash=sha256:{sha256(path)}\n" for (name, version), path in wheels_of(folder).items()]
    partial = folder / f".{VENDORED_LOCK}.partial"  # not atomic_file, which needs installed packages
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(folder / VENDORED_LOCK)
    return len(lines)


def check(folder: Path, lock: list[LockedPackage]) -> int:
    """Compare a folder with its vendored.lock and with requirements.lock; return the number of wheels.

    Raises:
        InputError: vendored.lock is missing or damaged.
        SynthDriveError: the wheels do not match vendored.lock or requirements.lock.
    """
    recorded = {(package.name, package.version): package.hashes for package in read_lock(folder / VENDORED_LOCK)}
    wheels = wheels_of(folder)
    problems = [f"{name}=={version}: recorded, but missing" for name, version in recorded.keys() - wheels.keys()]
    problems += [f"{path.name}: not recorded" for key, path in wheels.items() if key not in recorded]
    problems += [
        f"{path.name}: hash differs from the recorded one"
        for key, path in wheels.items()
        if key in recorded and sha256(path) not in recorded[key]
    ]
    problems += foreign_wheels(folder, lock)
    if problems:
        raise SynthDriveError(f"{folder}: " + "; ".join(sorted(problems)) + ". Run: make vendor WHEELS=<new folder>")
    return len(wheels)


def main() -> None:
    """Command line: `python -m tools.wheels {record,check} FOLDER`; exit status 2 if the folder does not match."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["record", "check"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lock", type=Path, default=Path("requirements.lock"))
    arguments = parser.parse_args()
    with exit_on_error():
        lock = read_lock(arguments.lock)
        count = (record if arguments.action == "record" else check)(arguments.folder, lock)
    print(f"{arguments.folder}: {count} wheels, {len(lock)} of them locked by {arguments.lock}")


if __name__ == "__main__":
    main()
