"""Stage augment: sample routes on every map, draw a map transform for each, warp the corridor around it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.augmentation.augment_maps import augment_maps, describe
from synthdrive.augmentation.augmented_scenes import SCENES
from synthdrive.config.data import SceneParameters
from synthdrive.config.synthetic_data import AugmentParameters
from synthdrive.core.artifacts import atomic_directory, check_replaceable
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parallel import open_executor
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.scenes.lane_map import load_maps


def main() -> None:
    """Read the maps and write the augmented scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="file of parameters")
    parser.add_argument("--maps", type=Path, default=Path("data/maps"), help="folder of <CITY>.safetensors lane maps")
    parser.add_argument("--out", type=Path, default=Path("data/augmented"), help="folder to write")
    parser.add_argument("--workers", type=int, help="local processes; default SYNTHDRIVE_WORKERS, else all processors")
    parser.add_argument("--executor", help="local, or a Dask scheduler's tcp:// address; default SYNTHDRIVE_EXECUTOR")
    arguments = parser.parse_args()

    check_replaceable(arguments.out, [SCENES])
    parameters = load_section(AugmentParameters, "augment", arguments.params)
    scene = load_section(SceneParameters, "scene", arguments.params)
    maps = load_maps(arguments.maps)
    with open_executor(arguments.executor, arguments.workers) as executor:
        scenes = augment_maps(maps, parameters, scene.map_half_width, executor)
    with atomic_directory(arguments.out) as partial:
        scenes.save(partial)
    print(f"augment: {describe(scenes)}", file=sys.stderr)


if __name__ == "__main__":
    with exit_on_error():
        main()
