"""Profiles: overlays that change params.yaml from one use to another and hold only what differs.

A profile is merged into params.yaml as it is committed, so that nothing of another profile stays behind; a file that
somebody has edited is refused. Where there is no git, it is merged into the file as it is.
"""

from __future__ import annotations

import argparse
import io
import subprocess
from collections.abc import MutableMapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.tokens import CommentToken

from synthdrive.core.artifacts import atomic_file
from synthdrive.core.errors import ParameterError, exit_on_error
from synthdrive.parameters.variants import VariantParameters

# What a variant may change, whether params.yaml lists it or not
VARIANT_SECTIONS = {field.name for field in fields(VariantParameters)} - {"description"}
ON_TOP_OF = "on_top_of"  # key of a profile that names the one to merge before it, and of a variant that names its like


def merge(parameters: MutableMapping[str, Any], overlay: MutableMapping[str, Any], where: str) -> list[str]:
    """Put the overlay's values into the parameters, in place; returns the dotted names of what changed.

    Mappings are merged key by key; lists and plain values are replaced. A new key is allowed only for a variant, and in
    what a variant changes: whose names a user chooses, and which need not change the same values everywhere. A variant that
    says `on_top_of: <name of another>` begins as what that one is by then.

    Raises:
        ParameterError: a key that the parameters do not have, or a variant on top of one that they do not have.
    """
    changed = []
    for key, value in overlay.items():
        name = f"{where}.{key}" if where else str(key)
        path = where.split(".")
        new = len(path) in (1, 3) or (len(path) == 2 and key in VARIANT_SECTIONS)
        if key not in parameters and not (path[0] == "variants" and new):
            raise ParameterError(
                name, "a key that params.yaml does not have", f"one of {', '.join(map(str, parameters))}"
            )
        derived = where == "variants" and isinstance(value, MutableMapping) and ON_TOP_OF in value
        if derived:
            value = _derived_variant(value, parameters, name)
        mappings = isinstance(value, MutableMapping) and isinstance(parameters.get(key), MutableMapping)
        if mappings and not derived:  # of a variant that is derived nothing older stays
            changed += merge(parameters[key], value, name)
        elif parameters.get(key) != value:
            _put(parameters, key, value)
            changed.append(name)
    return changed


def _derived_variant(variant: MutableMapping[str, Any], variants: MutableMapping[str, Any], name: str) -> Any:
    below = variant[ON_TOP_OF]
    if below not in variants:
        raise ParameterError(f"{name}.{ON_TOP_OF}", below, f"a variant above it: {', '.join(map(str, variants))}")
    whole = _without_comments(variants[below])
    merge(whole, {key: value for key, value in variant.items() if key != ON_TOP_OF}, name)
    return whole


def _without_comments(value: Any) -> Any:
    if isinstance(value, CommentedSeq):
        return CommentedSeq(map(_without_comments, value))
    if isinstance(value, CommentedMap):
        return CommentedMap((key, _without_comments(inner)) for key, inner in value.items())
    return value


def _put(parameters: Any, key: str, value: Any) -> None:
    """Set a value, and leave the comment above the next key there: ruamel keeps it with the last value before it.

    What follows the value in the profile stands above another key there, and is left out.
    """
    is_new = key not in parameters
    if not parameters or not (is_new or _is_nested(parameters[key]) or _is_nested(value)):
        parameters[key] = value
        return
    place, last = _last_value(parameters, list(parameters)[-1] if is_new else key)
    comments = place.ca.items.pop(last, None)
    token = comments[_after(place)] if comments else None
    parameters[key] = value
    new_place, new_last = _last_value(parameters, key)
    new_place.ca.items.pop(new_last, None)
    if token is None:
        return
    beside, _, above = token.value.partition("\n")
    if above:
        moved = CommentToken(f"\n{above}", token.start_mark)
        new_place.ca.items[new_last] = [moved if slot == _after(new_place) else None for slot in range(4)]
    if is_new and beside:
        token.value = f"{beside}\n"
        place.ca.items[last] = comments


def _is_nested(value: Any) -> bool:
    return isinstance(value, CommentedSeq | CommentedMap) and len(value) > 0


def _last_value(values: Any, key: Any) -> tuple[Any, Any]:
    """The innermost list or mapping that a value ends with, and the index or key of the last plain value in it."""
    while _is_nested(values[key]):
        values = values[key]
        key = len(values) - 1 if isinstance(values, CommentedSeq) else list(values)[-1]
    return values, key


def _after(values: Any) -> int:
    """Which of the four comments that ruamel keeps for a value is the one after it."""
    return 0 if isinstance(values, CommentedSeq) else 2


def apply_profile(profile: Path, parameters: Path) -> list[str]:
    """Make a parameter file what it is as committed with a profile merged into it, comments kept.

    A profile that says `on_top_of: <name of another beside it>` is merged after that one, which may say so too.

    Returns:
        The dotted names of what the profile changes.

    Raises:
        ParameterError: a file is missing or no YAML mapping, the profile has a key that the parameters lack, or the
            parameter file differs from the committed one and is not what a profile beside this one makes of it.
    """
    present = _read(parameters)
    start = committed(parameters)
    if start is None:
        start = present
    merged, changed = _merged(profile, start, parameters)
    if present != start and not any(_makes(other, start, present) for other in sorted(profile.parent.glob("*.yaml"))):
        raise ParameterError(
            parameters,
            "edits that are not committed",
            f"the committed file, or that with a profile of {profile.parent}",
            f"Commit them, or drop them: git checkout {parameters}",
        )
    if merged != present:
        with atomic_file(parameters) as partial:
            partial.write_text(merged, encoding="utf-8")
    return changed


def committed(path: Path) -> str | None:
    """A file's text in git's last commit; None where there is no git, or the file is in no commit."""
    command = ["git", "show", f"HEAD:./{path.name}"]
    try:
        shown = subprocess.run(command, cwd=path.parent, check=False, capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        return None
    return shown.stdout if shown.returncode == 0 else None


def _makes(profile: Path, start: str, text: str) -> bool:
    """Whether a text is what a profile makes of the parameters; False for YAML that is no profile."""
    try:
        return _merged(profile, start, profile)[0] == text
    except ParameterError:
        return False


def _merged(profile: Path, start: str, where: Path) -> tuple[str, list[str]]:
    """The text of parameters with a profile merged into them, and the dotted names of what changed."""
    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    merged = _load(yaml, start, where)
    overlays = [_load(yaml, _read(profile), profile)]
    below = [profile]
    while ON_TOP_OF in overlays[0]:
        below.append(profile.with_name(f"{overlays[0].pop(ON_TOP_OF)}.yaml"))
        if below[-1] in below[:-1]:
            chain = " on ".join(path.stem for path in below)
            raise ParameterError(f"{below[-2]}: {ON_TOP_OF}", chain, "a profile that is not on top of this one")
        overlays.insert(0, _load(yaml, _read(below[-1]), below[-1]))
    changed = list(dict.fromkeys(name for overlay in overlays for name in merge(merged, overlay, "")))
    if not changed:
        return start, changed
    text = io.StringIO()
    yaml.dump(merged, text)
    return text.getvalue(), changed


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParameterError(path, "no such file", "a YAML file of parameters") from None


def _load(yaml: YAML, text: str, path: Path) -> MutableMapping[str, Any]:
    try:
        content = yaml.load(text)
    except YAMLError as error:
        raise ParameterError(path, f"unreadable YAML ({error})", "a YAML file of parameters") from None
    if not isinstance(content, MutableMapping):
        raise ParameterError(path, type(content).__name__, "sections with their parameters")
    return content


def main() -> None:
    """Command line: `python -m tools.profiles paper`."""
    parser = argparse.ArgumentParser(description="Merge profiles/NAME.yaml into params.yaml, keeping its comments.")
    parser.add_argument("name", help="a profile's name, or the path of an overlay")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    with exit_on_error():
        named = Path("profiles") / f"{arguments.name}.yaml"
        changed = apply_profile(named if named.is_file() else Path(arguments.name), arguments.params)
        print(f"{arguments.params}: changed {', '.join(changed) if changed else 'nothing'}")
        if committed(arguments.params) is not None:
            print(f"to go back: git checkout {arguments.params}")


if __name__ == "__main__":
    main()
