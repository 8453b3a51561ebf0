"""The modules of the package that a file reaches through imports, read from the sources without running them."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = "synthdrive"


def imported_files(file: Path, source: Path) -> set[Path]:
    """The files of the package that running `file` can import, with `file` itself.

    Imports inside functions count too.

    Args:
        file: a module or a script.
        source: the folder that holds the package.
    """
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        waiting += [path for name in _imported_names(file) for path in _module_files(name, source)]
    return found


def _imported_names(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == PACKAGE}


def _module_files(name: str, source: Path) -> list[Path]:
    """The module's own file and the __init__.py of each package above it; nothing for an attribute's name."""
    parts = name.split(".")
    faces = [source.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    module = source.joinpath(*parts).with_suffix(".py")
    return [path for path in [*faces, module] if path.is_file()]
