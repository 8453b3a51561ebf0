"""Write scenes in the official Argoverse 1 layout: hd_maps.tar.gz and forecasting_<split>_v1.1.tar.gz."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.core.artifacts import atomic_directory
from synthdrive.core.errors import exit_on_error
from synthdrive.formats.argoverse1_writers import export_scenes
from synthdrive.scenes.scene_store import SceneStore


def main() -> None:
    """Read a scene store and write the two tarballs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--scenes", type=Path, default=Path("data/synthetic"), help="scene store to export")
    parser.add_argument("--out", type=Path, default=Path("data/export"), help="folder to write")
    parser.add_argument("--split", choices=("train", "val"), default="train", help="name of the split")
    arguments = parser.parse_args()

    store = SceneStore.load(arguments.scenes)
    with atomic_directory(arguments.out) as partial:
        count = export_scenes(store, partial, arguments.split)
    print(f"export: {count} scenes written to {arguments.out}", file=sys.stderr)


if __name__ == "__main__":
    with exit_on_error():
        main()
