"""Stage synthesize: run the rule-based driver on original and augmented scenes and cut the drives into windows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.augmentation.augmented_scenes import AugmentedScenes
from synthdrive.config.data import SceneParameters
from synthdrive.config.synthetic_data import SynthesizeParameters
from synthdrive.core.artifacts import atomic_directory, check_replaceable
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parallel import open_executor
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.scenes.lane_map import load_maps
from synthdrive.scenes.scene_store import STORE_ARRAYS, SceneStore
from synthdrive.synthesis.synthesize import recorded_desired_speeds, synthesize
from synthdrive.synthesis.windows import Exclusion


def main() -> None:
    """Read maps and augmented scenes, and write the synthetic windows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="file of parameters")
    parser.add_argument("--maps", type=Path, default=Path("data/maps"), help="folder of <CITY>.safetensors lane maps")
    parser.add_argument("--augmented", type=Path, default=Path("data/augmented"), help="folder of augmented scenes")
    parser.add_argument(
        "--scenes", type=Path, default=Path("data/scenes/train"), help="recorded scenes, if speed_source is recorded"
    )
    parser.add_argument(
        "--judged",
        type=Path,
        default=Path("data/scenes/val"),
        help="scenes near which no window is kept, if exclusion_radius is above 0",
    )
    parser.add_argument("--out", type=Path, default=Path("data/synthetic"), help="folder to write")
    parser.add_argument("--workers", type=int, help="local processes; default SYNTHDRIVE_WORKERS, else all processors")
    parser.add_argument("--executor", help="local, or a Dask scheduler's tcp:// address; default SYNTHDRIVE_EXECUTOR")
    arguments = parser.parse_args()

    check_replaceable(arguments.out, [f"{name}.npy" for name in STORE_ARRAYS])
    parameters = load_section(SynthesizeParameters, "synthesize", arguments.params)
    scene = load_section(SceneParameters, "scene", arguments.params)
    maps = load_maps(arguments.maps)
    augmented = AugmentedScenes.load(arguments.augmented)
    speeds = None
    if parameters.speed_source == "recorded":
        speeds = recorded_desired_speeds(
            SceneStore.load(arguments.scenes).manifest, parameters.driver.cruise_speed_factor
        )
    exclusion = None
    if parameters.exclusion_radius > 0:
        exclusion = Exclusion.of(SceneStore.load(arguments.judged), parameters.exclusion_radius)
    with (
        open_executor(arguments.executor, arguments.workers) as executor,
        atomic_directory(arguments.out) as partial,
    ):
        summary = synthesize(
            maps,
            augmented,
            parameters,
            scene.map_half_width,
            scene.timing.as_value(),
            executor,
            partial,
            recorded_speeds=speeds,
            exclusion=exclusion,
        )
    print(f"synthesize: {summary}", file=sys.stderr)


if __name__ == "__main__":
    with exit_on_error():
        main()
