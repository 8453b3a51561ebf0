"""Measure augment and synthesize: windows per CPU second, and the time for the paper's size on two cores.

Reads lane maps (--maps, default data/maps). Everything runs in one process, whose CPU seconds are counted; two cores
are assumed to take half as long. The paper's own generation took about 20 hours (docs/method.md 3.1).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from synthdrive.augmentation.augment_maps import augment_maps, describe
from synthdrive.config.data import SceneParameters
from synthdrive.config.synthetic_data import AugmentParameters, SynthesizeParameters
from synthdrive.core.artifacts import file_hash
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.scenes.lane_map import load_maps
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.synthesis.synthesize import synthesize

PAPER_WINDOWS = 374_000
CORES = 2


class InProcess(Executor):
    """Runs each task immediately in this process."""

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        """Call the function and return its finished future."""
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **options))
        return future


def main() -> None:
    """Run both stages and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="file of parameters")
    parser.add_argument("--maps", type=Path, default=Path("data/maps"), help="folder of lane maps")
    parser.add_argument("--routes", type=int, default=100, help="routes per city; the paper has fewer than about 1,000")
    parser.add_argument("--length", type=float, default=1250.0, help="metres of a route; as long as the paper's")
    arguments = parser.parse_args()
    augment = load_section(AugmentParameters, "augment", arguments.params)
    parameters = load_section(SynthesizeParameters, "synthesize", arguments.params)
    scene = load_section(SceneParameters, "scene", arguments.params)
    half_width, timing = scene.map_half_width, scene.timing.as_value()
    augment.routes.per_city, augment.routes.length = arguments.routes, arguments.length
    parameters.speeds_per_scene = 0
    maps = load_maps(arguments.maps)

    began = time.process_time()
    scenes = augment_maps(maps, augment, half_width, InProcess())
    augmenting = time.process_time() - began
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        summary = synthesize(maps, scenes, parameters, half_width, timing, InProcess(), Path(folder))
        driving = time.process_time() - began
        windows = len(SceneStore.load(Path(folder)))
        digest = file_hash(Path(folder))[:16]
    rate = windows / driving
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"augment: {describe(scenes)}; {augmenting:.1f} CPU s, {len(scenes) / augmenting:.0f} scenes per CPU second")
    print(f"synthesize: {summary}; {driving:.1f} CPU s, {rate:.0f} windows per CPU second, sha256 {digest}")
    print(f"the paper's {PAPER_WINDOWS} windows: {PAPER_WINDOWS / rate / CORES:.0f} s on {CORES} cores, "
          f"{CORES * rate:.0f} windows per second; peak memory {peak:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
