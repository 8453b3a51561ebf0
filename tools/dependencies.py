"""Check that the code dependencies declared in dvc.yaml match what the stages' scripts import.

DVC re-runs a stage when a declared dependency changes, but does not follow imports. Stages declare their script, whole
packages (folders) or single modules of this project, and requirements.lock. `python -m tools.dependencies` lists
imported files that are not declared, and declared code that is not imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from synthdrive.core.provenance import imported_files

ENVIRONMENT = "requirements.lock"


def import_closure(script: Path, repository: Path) -> list[str]:
    """Return the script and the files of the package that it can import, sorted, relative to the repository.

    Imports inside functions count; empty `__init__.py` files do not.
    """
    found = imported_files(repository / script, repository / "src")
    return sorted(path.relative_to(repository).as_posix() for path in found if path.stat().st_size)


def stage_script(command: str) -> str | None:
    """Return the stages/*.py script that a stage's command runs, if there is one."""
    return next((word for word in command.split() if word.startswith("stages/") and word.endswith(".py")), None)


def undeclared_and_unneeded(dvc_yaml: dict[str, Any], repository: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Return, for each stage, imported files that are not declared, and declared code that is not imported."""
    result = {}
    for name, stage in dvc_yaml["stages"].items():
        script = stage_script(stage["cmd"])
        if script is None:
            continue
        declared = [str(dependency) for dependency in stage.get("deps", []) if _is_code(str(dependency))]
        needed = [*import_closure(Path(script), repository), ENVIRONMENT]
        missing = [path for path in needed if not any(_covers(dependency, path) for dependency in declared)]
        unneeded = [dependency for dependency in declared if not any(_covers(dependency, path) for path in needed)]
        result[name] = (missing, unneeded)
    return result


def problems(dvc_yaml: dict[str, Any], repository: Path) -> Iterable[str]:
    """Yield a line for each stage whose declared dependencies do not match its imports."""
    for name, (missing, unneeded) in undeclared_and_unneeded(dvc_yaml, repository).items():
        if missing or unneeded:
            yield f"dvc.yaml: {name}: not declared: {missing}; declared, but not imported: {unneeded}"


def _is_code(dependency: str) -> bool:
    return dependency.startswith(("src/", "stages/")) or dependency == ENVIRONMENT


def _covers(dependency: str, path: str) -> bool:
    return path == dependency or path.startswith(dependency.rstrip("/") + "/")


def main() -> None:
    """Command line: `python -m tools.dependencies`; exit status 1 if a stage's dependencies do not match."""
    found = list(problems(YAML(typ="safe").load(Path("dvc.yaml")), Path.cwd()))
    for line in found:
        print(line)
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
