"""The code that a stage depends on: its script and every module of ours that it reaches through imports.

DVC re-runs a stage when a declared dependency changes, and does not follow imports. `python -m
tools.dependencies` says where dvc.yaml and the imports disagree; `--write` mends dvc.yaml.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from synthdrive.core.provenance import imported_files

ENVIRONMENT = "requirements.lock"


def import_closure(script: Path, repository: Path) -> list[str]:
    """Files that running `script` can import from the package, with the script itself, relative to the repository.

    Imports inside functions count too. Sorted, the script first.
    """
    found = imported_files(repository / script, repository / "src")
    modules = sorted(path.relative_to(repository).as_posix() for path in found if path != repository / script)
    return [Path(script).as_posix(), *(path for path in modules if (repository / path).stat().st_size)]


def stage_script(command: str) -> str | None:
    """The stages/*.py that a stage's command runs."""
    return next((word for word in command.split() if word.startswith("stages/") and word.endswith(".py")), None)


def is_code(dependency: str) -> bool:
    """Whether this dependency is one that the import closure decides."""
    return dependency.startswith(("src/", "stages/")) or dependency == ENVIRONMENT


def declared_and_needed(dvc_yaml: dict[str, Any], repository: Path) -> dict[str, tuple[list[str], list[str]]]:
    """For each stage, the code dependencies that dvc.yaml declares and those that it should."""
    result = {}
    for name, stage in dvc_yaml["stages"].items():
        script = stage_script(stage["cmd"])
        if script is not None:
            declared = [dependency for dependency in stage.get("deps", []) if is_code(str(dependency))]
            # Package data (page templates) is code too, but no import leads to it.
            data = [path for path in declared if not path.endswith(".py") and path != ENVIRONMENT]
            result[name] = (declared, [*import_closure(Path(script), repository), *data, ENVIRONMENT])
    return result


def write_dependencies(repository: Path) -> list[str]:
    """Rewrite the code dependencies in dvc.yaml; returns the names of the stages that changed."""
    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = repository / "dvc.yaml"
    content = yaml.load(path)
    changed = []
    for name, (declared, needed) in declared_and_needed(content, repository).items():
        if declared != needed:
            dependencies = content["stages"][name].setdefault("deps", [])
            data = [dependency for dependency in dependencies if not is_code(str(dependency))]
            dependencies[:] = [*data, *needed]
            changed.append(name)
    if changed:
        yaml.dump(content, path)
    return changed


def main() -> None:
    """Compare, or with --write mend; exit status 1 where they disagree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="rewrite the code dependencies in dvc.yaml")
    arguments = parser.parse_args()
    repository = Path.cwd()
    if arguments.write:
        changed = write_dependencies(repository)
        print(f"dvc.yaml: {', '.join(changed) if changed else 'nothing to change'}")
        return
    content = YAML(typ="safe").load(repository / "dvc.yaml")
    wrong = {name: pair for name, pair in declared_and_needed(content, repository).items() if pair[0] != pair[1]}
    for name, (declared, needed) in wrong.items():
        print(
            f"{name}: missing {sorted(set(needed) - set(declared))}, not needed {sorted(set(declared) - set(needed))}"
        )
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
