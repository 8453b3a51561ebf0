"""The code that a stage depends on: does dvc.yaml declare what the stage's script imports?

DVC re-runs a stage when a declared dependency changes, and does not follow imports. A stage declares its script, whole
packages (folders) or single modules of this project, and requirements.lock. `python -m tools.dependencies` names the
imports that no declared dependency holds, and the declared ones that no import needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from synthdrive.core.provenance import imported_files

ENVIRONMENT = "requirements.lock"


def import_closure(script: Path, repository: Path) -> list[str]:
    """Files that running `script` can import from the package, with the script itself, relative to the repository.

    Imports inside functions count too; empty `__init__.py` do not. Sorted.
    """
    found = imported_files(repository / script, repository / "src")
    return sorted(path.relative_to(repository).as_posix() for path in found if path.stat().st_size)


def stage_script(command: str) -> str | None:
    """The stages/*.py that a stage's command runs."""
    return next((word for word in command.split() if word.startswith("stages/") and word.endswith(".py")), None)


def undeclared_and_unneeded(dvc_yaml: dict[str, Any], repository: Path) -> dict[str, tuple[list[str], list[str]]]:
    """By stage: imported files that no declared dependency holds, and declared code that holds no imported file."""
    result = {}
    for name, stage in dvc_yaml["stages"].items():
        script = stage_script(stage["cmd"])
        if script is None:
            continue
        declared = [str(dependency) for dependency in stage.get("deps", []) if _is_code(str(dependency))]
        needed = [*import_closure(Path(script), repository), ENVIRONMENT]
        missing = [path for path in needed if not any(_holds(dependency, path) for dependency in declared)]
        unneeded = [dependency for dependency in declared if not any(_holds(dependency, path) for path in needed)]
        result[name] = (missing, unneeded)
    return result


def problems(dvc_yaml: dict[str, Any], repository: Path) -> Iterable[str]:
    """A line for each stage whose dependencies are not what it imports."""
    for name, (missing, unneeded) in undeclared_and_unneeded(dvc_yaml, repository).items():
        if missing or unneeded:
            yield f"dvc.yaml: {name}: not declared: {missing}; declared, but not imported: {unneeded}"


def _is_code(dependency: str) -> bool:
    return dependency.startswith(("src/", "stages/")) or dependency == ENVIRONMENT


def _holds(dependency: str, path: str) -> bool:
    return path == dependency or path.startswith(dependency.rstrip("/") + "/")


def main() -> None:
    """Exit status 1 where a stage's dependencies are not what it imports."""
    found = list(problems(YAML(typ="safe").load(Path("dvc.yaml")), Path.cwd()))
    for line in found:
        print(line)
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
