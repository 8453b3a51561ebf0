"""Stage ingest: pack raw maps and scenes in the official layout of Argoverse 1 or 2 into arrays.

If `ingest.validation` is held_out, the val scenes are a fold of the official train scenes. If it is pooled, they are a
fold of all official scenes, and the train scenes are the other folds.

With --test-out it reads only the test split, whose scenes end at the last observed step, and uses the Argoverse 1 maps
that it wrote before. stages/export_leaderboard.py needs those scenes; the pipeline does not.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.data import OFFICIAL, POOLED, DataParameters, IngestParameters, SceneParameters
from synthdrive.core.artifacts import check_replaceable, scratch_directory
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.ingestion.argoverse1 import ingest_maps, ingest_scenes
from synthdrive.ingestion.argoverse2 import ingest_local_maps, ingest_scenarios
from synthdrive.ingestion.packing import TEST, Skipped
from synthdrive.ingestion.scene_subsets import hold_out, pool_scenes
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import AGENT_TYPE, STORE_ARRAYS, SceneStore

SHOWN_MAPS = 10  # maps that are printed
SHOWN = 20  # skipped scenes that are printed; all are in skipped.json


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, help="folder of the raw tarballs; default: data.raw of the parameters")
    parser.add_argument(
        "--maps-out", type=Path, default=Path("data/maps"), help="folder of lane maps; with --test-out it is read"
    )
    parser.add_argument("--train-out", type=Path, default=Path("data/scenes/train"), help="store of the train scenes")
    parser.add_argument("--val-out", type=Path, default=Path("data/scenes/val"), help="store of the val scenes")
    parser.add_argument("--test-out", type=Path, help="store of the test scenes; then no other is written")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="YAML file of parameters")
    parser.add_argument("--workers", type=int, help="processes; default: SYNTHDRIVE_WORKERS, else all processors")
    arguments = parser.parse_args()

    parameters = load_section(IngestParameters, "ingest", arguments.params)
    scene = load_section(SceneParameters, "scene", arguments.params)
    data = load_section(DataParameters, "data", arguments.params)
    raw = arguments.raw or Path(data.raw)
    half_width, timing, workers = scene.map_half_width, scene.timing.as_value(), arguments.workers

    def read(outs: Mapping[str, Path]) -> dict[str, list[Skipped]]:
        if data.source == "argoverse2":
            return ingest_scenarios(raw, outs, parameters, half_width, timing, workers)
        return ingest_scenes(raw, outs, arguments.maps_out, parameters, half_width, workers)

    if data.source != "argoverse2":
        ARGOVERSE1.require(timing, f"{arguments.params}: scene.timing")
    outs = (
        {TEST: arguments.test_out} if arguments.test_out else {"train": arguments.train_out, "val": arguments.val_out}
    )
    for out in outs.values():
        check_replaceable(out, [f"{name}.npy" for name in STORE_ARRAYS])
    if not arguments.test_out:
        check_replaceable(arguments.maps_out, ["manifest.parquet"])
    if not arguments.test_out and data.source != "argoverse2":
        print_maps(ingest_maps(raw, arguments.maps_out, parameters))
    if arguments.test_out or parameters.validation == OFFICIAL:
        skipped = read(outs)
    else:
        with scratch_directory(arguments.train_out) as folder:
            splits = ("train", "val") if parameters.validation == POOLED else ("train",)
            stores = {split: folder / split for split in splits}
            skipped = read(stores)
            whole = stores["train"]
            if parameters.validation == POOLED:
                whole = folder / "pooled"
                pool_scenes(list(stores.values()), whole)
            held, near = hold_out(whole, arguments.train_out, arguments.val_out, parameters)
        left_out = f"; {near} scenes within {parameters.fold_distance:g} m of them left out" if near else ""
        print(f"val: fold {parameters.fold} of {parameters.folds}, {held} {' and '.join(splits)} scenes{left_out}")
    if not arguments.test_out and data.source == "argoverse2":
        train_scenes = SceneStore.load(arguments.train_out, check=False).scene_ids
        print_maps(ingest_local_maps(raw, arguments.maps_out, train_scenes, parameters))
    for split, items in skipped.items():
        print(f"{split}: written to {outs[split]}" + (f", {len(items)} bad scenes skipped" if items else ""))
        manifest = SceneStore.load(outs[split], check=False).manifest
        if AGENT_TYPE in manifest.column_names:
            kinds = Counter(manifest[AGENT_TYPE].to_pylist())
            print(f"  focal agents: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}")
        for item in items[:SHOWN]:
            print(f"  skipped {item.reason}")


def print_maps(maps: list[LaneMap]) -> None:
    """Print the names and sizes of the first maps, and the number of the others."""
    listed = ", ".join(f"{lane_map.city} {len(lane_map)} lanes" for lane_map in maps[:SHOWN_MAPS])
    print(f"maps: {listed}" + (f" and {len(maps) - SHOWN_MAPS} more" if len(maps) > SHOWN_MAPS else ""))


if __name__ == "__main__":
    with exit_on_error():
        main()
