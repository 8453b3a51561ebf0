"""A smaller tarball of scenes: those of a list, cut out of an official one."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from synthdrive.core.artifacts import atomic_file
from synthdrive.core.errors import InputError
from synthdrive.core.parallel import track
from synthdrive.formats.archives import Limits, add_member, read_files, reproducible_tar
from synthdrive.ingestion.packing import scene_order


def read_ids(path: Path) -> list[str]:
    """Scene ids of a text file, one a line.

    Raises:
        InputError: there is no such file, or it names a scene twice or none at all.
    """
    try:
        lines = Path(path).read_text(encoding="ascii").split()
    except FileNotFoundError:
        raise InputError(path, "no such file", "scene ids, one a line") from None
    except UnicodeDecodeError:
        raise InputError(path, "no plain text", "scene ids, one a line") from None
    if not lines:
        raise InputError(path, "no id", "scene ids, one a line")
    if len(set(lines)) < len(lines):
        twice = next(name for place, name in enumerate(lines) if name in lines[:place])
        raise InputError(path, f"{twice} twice", "each id once")
    return lines


def select_scenes(source: Path, ids: list[str], split: str, out: Path, limits: Limits) -> None:
    """Write `<split>/data/<id>.csv` of the named scenes, as they are, into a tarball with reproducible bytes.

    Args:
        source: an official tarball of any split, or the folder it unpacks to.
        ids: which scenes; the tarball has them in the order of the stores.
        split: in whose name they are written.

    Raises:
        InputError: the source is missing or damaged, or lacks a scene; nothing is left at `out` then.
    """
    wanted = set(ids)
    found: dict[str, bytes] = {}
    files = read_files(source, lambda name: _is_wanted(name, wanted), limits)
    for name, content in track(files, "select_scenes", len(wanted), "scenes"):
        scene = PurePosixPath(name).stem
        if scene in found:
            raise InputError(f"{source}: {name}", f"scene {scene} again", "each scene once")
        found[scene] = content
        if len(found) == len(wanted):
            break
    missing = sorted(wanted - found.keys())
    if missing:
        raise InputError(source, f"no scene {', '.join(missing[:5])} ({len(missing)} missing)", f"all {len(wanted)}")
    with atomic_file(out) as partial, partial.open("wb") as stream, reproducible_tar(stream) as archive:
        for name in sorted(found, key=scene_order):
            add_member(archive, f"{split}/data/{name}.csv", found[name])


def _is_wanted(name: str, wanted: set[str]) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() == ".csv" and path.stem in wanted  # as the scene reader takes them
