"""Give params.yaml the values of a profile, as `make profile NAME=paper` does.

Only values change; comments, order and layout of params.yaml stay. The profile is applied to the committed file, so
that no values of another profile remain; without git, it is applied to the present file.
"""

from __future__ import annotations

import argparse
import io
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from synthdrive.config.whole_file import compose, merge
from synthdrive.core.artifacts import atomic_file
from synthdrive.core.errors import ParameterError, exit_on_error
from synthdrive.core.parameters import parse_mapping, read_parameters

PROFILES = Path("profiles")


def apply_profile(profile: Path, parameters: Path) -> list[str]:
    """Apply a profile to the committed version of a parameter file; return the dotted names of the changed parameters.

    Raises:
        ParameterError: a file is missing or not valid, or the parameter file has uncommitted values, other than those
            of a profile in the same folder, which would be lost.
    """
    present = read_parameters(parameters)
    text = committed(parameters) or parameters.read_text(encoding="utf-8")
    start = parse_mapping(text, parameters)
    content = compose(start, profile)
    if present not in (start, content) and not _matches_a_profile(present, start, profile.parent):
        raise ParameterError(
            parameters,
            "values that are not committed",
            f"the committed values, or those of a profile in {profile.parent}",
            f"Commit them, or drop them: git checkout {parameters}",
        )
    with atomic_file(parameters) as partial:
        partial.write_text(with_values(text, content), encoding="utf-8")
    return _changed_names(start, content)


def committed(path: Path) -> str | None:
    """Return a file's text in the last commit; None without git, or if the file is not committed."""
    command = ["git", "show", f"HEAD:./{path.name}"]
    try:
        shown = subprocess.run(command, cwd=path.parent, check=False, capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        return None
    return shown.stdout if shown.returncode == 0 else None


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return a YAML text with other values, but the same comments and layout."""
    yaml = YAML()
    yaml.width = 1 << 16
    yaml.preserve_quotes = True
    content = yaml.load(text)
    _set_values(content, values)
    written = io.StringIO()
    yaml.dump(content, written)
    return written.getvalue()


def _set_values(present: CommentedMap, values: Mapping[str, Any]) -> None:
    for key in [key for key in present if key not in values]:
        del present[key]
    for key, value in values.items():
        if key not in present:
            # Not after the last key, because ruamel attaches the comment above the next section to that.
            present.insert(max(len(present) - 1, 0), key, _styled(value))
        elif isinstance(present[key], CommentedMap) and isinstance(value, Mapping) and present[key] and value:
            _set_values(present[key], value)
        elif present[key] != value:
            present[key] = _styled(value, flow=isinstance(present[key], CommentedMap))


def _styled(value: Any, flow: bool = False) -> Any:
    """Style a value as in params.yaml: lists of plain values on one line and, with `flow`, mappings too."""
    if isinstance(value, Mapping):
        mapping = CommentedMap((key, _styled(inner, flow)) for key, inner in value.items())
        if flow:
            mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        items = CommentedSeq(_styled(item) for item in value)
        if not any(isinstance(item, Mapping) for item in value):
            items.fa.set_flow_style()
        return items
    if isinstance(value, str) and not _reads_as_itself(value):
        return DoubleQuotedScalarString(value)
    return value


def _reads_as_itself(text: str) -> bool:
    """Return whether a text without quotes is read as this text; "no" and "12:30" are not, in YAML 1.1."""
    try:
        return bool(parse_mapping(f"text: {text}", "text")["text"] == text)
    except ParameterError:
        return False


def _matches_a_profile(present: Mapping[str, Any], start: Mapping[str, Any], folder: Path) -> bool:
    for profile in sorted(folder.glob("*.yaml")):
        with suppress(ParameterError):
            if present == merge(start, profile):
                return True
    return False


def _changed_names(before: Any, after: Any, name: str = "") -> list[str]:
    if before == after:
        return []
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return [name]
    names = {key: f"{name}.{key}" if name else str(key) for key in (*before, *after)}
    return [each for key, inner in names.items() for each in _changed_names(before.get(key), after.get(key), inner)]


def listed(folder: Path) -> str:
    """Format a list of the profiles in a folder, each with the first line of its comment."""
    profiles = {
        path.stem: path.read_text(encoding="utf-8").partition("\n")[0] for path in sorted(folder.glob("*.yaml"))
    }
    return "\n".join(f"  {name:20}{line.lstrip('# ')}" for name, line in profiles.items())


def main() -> None:
    """Command line: `python -m tools.profiles NAME`."""
    parser = argparse.ArgumentParser(
        description="Give params.yaml the values of a profile; comments and layout stay.",
        epilog=f"profiles:\n{listed(PROFILES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="name or path of a profile")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    with exit_on_error():
        _apply(arguments.name, arguments.params)


def _apply(name: str | None, parameters: Path) -> None:
    profile = next((path for path in (PROFILES / f"{name}.yaml", Path(name or "")) if path.is_file()), None)
    if profile is None:
        found = "no name" if name is None else f"no profile {name!r}"
        raise ParameterError("make profile NAME=...", found, f"one of these, or a file's path:\n{listed(PROFILES)}\n")
    changed = apply_profile(profile, parameters)
    print(f"{parameters}: {len(changed)} values of {profile}: {', '.join(changed) or 'none differs'}")
    if committed(parameters) is not None:
        print(f"to go back: git checkout {parameters}")


if __name__ == "__main__":
    main()
