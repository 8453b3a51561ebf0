"""Profiles: overlays that change params.yaml from one use to another and hold only what differs."""

from __future__ import annotations

import argparse
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from synthdrive.artifacts import atomic_file
from synthdrive.errors import ParameterError, exit_on_error

ON_TOP_OF = "on_top_of"  # key of a profile that names the one to merge before it


def merge(parameters: MutableMapping[str, Any], overlay: MutableMapping[str, Any], where: str) -> list[str]:
    """Put the overlay's values into the parameters, in place; returns the dotted names of what changed.

    Mappings are merged key by key; lists and plain values are replaced. A new key is allowed only for an arm, and in
    what an arm changes: whose names a user chooses, and which need not change the same values everywhere.

    Raises:
        ParameterError: a key that the parameters do not have.
    """
    changed = []
    for key, value in overlay.items():
        name = f"{where}.{key}" if where else str(key)
        path = where.split(".")
        if key not in parameters and not (path[0] == "arms" and len(path) in (1, 3)):
            raise ParameterError(
                name, "a key that params.yaml does not have", f"one of {', '.join(map(str, parameters))}"
            )
        if isinstance(value, MutableMapping) and isinstance(parameters.get(key), MutableMapping):
            changed += merge(parameters[key], value, name)
        elif parameters.get(key) != value:
            parameters[key] = value
            changed.append(name)
    return changed


def apply_profile(profile: Path, parameters: Path) -> list[str]:
    """Merge a profile into a parameter file, keeping its comments; returns the dotted names of what changed.

    A profile that says `on_top_of: <name of another beside it>` is merged after that one.

    Raises:
        ParameterError: a file is missing or no YAML mapping, or the profile has a key that the parameters lack.
    """
    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    merged = _load(yaml, parameters)
    overlays = [_load(yaml, profile)]
    if ON_TOP_OF in overlays[0]:
        overlays.insert(0, _load(yaml, profile.with_name(f"{overlays[0].pop(ON_TOP_OF)}.yaml")))
    changed = list(dict.fromkeys(name for overlay in overlays for name in merge(merged, overlay, "")))
    if changed:
        with atomic_file(parameters) as partial:
            yaml.dump(merged, partial)
    return changed


def _load(yaml: YAML, path: Path) -> MutableMapping[str, Any]:
    try:
        content = yaml.load(path)
    except FileNotFoundError:
        raise ParameterError(path, "no such file", "a YAML file of parameters") from None
    except YAMLError as error:
        raise ParameterError(path, f"unreadable YAML ({error})", "a YAML file of parameters") from None
    if not isinstance(content, MutableMapping):
        raise ParameterError(path, type(content).__name__, "sections with their parameters")
    return content


def main() -> None:
    """Command line: `python -m synthdrive.pipeline.profiles paper`."""
    parser = argparse.ArgumentParser(description="Merge profiles/NAME.yaml into params.yaml, keeping its comments.")
    parser.add_argument("name", help="a profile's name, or the path of an overlay")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    with exit_on_error():
        named = Path("profiles") / f"{arguments.name}.yaml"
        changed = apply_profile(named if named.is_file() else Path(arguments.name), arguments.params)
        print(f"{arguments.params}: changed {', '.join(changed) if changed else 'nothing'}")


if __name__ == "__main__":
    main()
