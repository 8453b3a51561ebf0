"""Stage ingest: raw maps and scenes in the official Argoverse 1 layout to packed arrays.

Where `ingest.validation` is held_out, a fold of the train scenes takes the place of the val scenes; where it is pooled,
a fold of all scenes does, and the other folds that of the train scenes.

With --test-out it reads forecasting_test_v1.1 alone, whose scenes end at the last observed step, and the maps that the
stage wrote before: the pipeline does not use them, stages/export_leaderboard.py does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.data import DataParameters, IngestParameters, SceneParameters
from synthdrive.core.artifacts import scratch_directory
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.ingestion.hold_out import hold_out, pool_scenes
from synthdrive.ingestion.ingest import TEST, ingest_maps, ingest_scenes
from synthdrive.scenes.lane_map import load_maps

SHOWN = 20  # skipped scenes that are printed; all are in skipped.json


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, help="folder of the raw tarballs; default: data.raw of the parameters")
    parser.add_argument(
        "--maps-out", type=Path, default=Path("data/maps"), help="lane maps and their manifest; read with --test-out"
    )
    parser.add_argument("--train-out", type=Path, default=Path("data/scenes/train"), help="store of the train scenes")
    parser.add_argument("--val-out", type=Path, default=Path("data/scenes/val"), help="store of the val scenes")
    parser.add_argument("--test-out", type=Path, help="store of the test scenes; no other is then written")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="YAML file of parameters")
    parser.add_argument("--workers", type=int, help="processes; default: SYNTHDRIVE_WORKERS, else all processors")
    arguments = parser.parse_args()

    parameters = load_section(IngestParameters, "ingest", arguments.params)
    workers = arguments.workers
    half_width = load_section(SceneParameters, "scene", arguments.params).map_half_width
    raw = arguments.raw or Path(load_section(DataParameters, "data", arguments.params).raw)
    if arguments.test_out:
        maps, outs = list(load_maps(arguments.maps_out).values()), {TEST: arguments.test_out}
    else:
        maps = ingest_maps(raw, arguments.maps_out, parameters)
        outs = {"train": arguments.train_out, "val": arguments.val_out}
    print(f"maps: {', '.join(f'{lane_map.city} {len(lane_map)} lanes' for lane_map in maps)}")
    if arguments.test_out or parameters.validation == "official":
        skipped = ingest_scenes(raw, outs, arguments.maps_out, parameters, half_width, workers)
    else:
        with scratch_directory(arguments.train_out) as folder:
            splits = ("train", "val") if parameters.validation == "pooled" else ("train",)
            read = {split: folder / split for split in splits}
            skipped = ingest_scenes(raw, read, arguments.maps_out, parameters, half_width, workers)
            whole = read["train"]
            if parameters.validation == "pooled":
                whole = folder / "pooled"
                pool_scenes(list(read.values()), whole)
            held, near = hold_out(whole, arguments.train_out, arguments.val_out, parameters)
        left_out = f"; {near} scenes within {parameters.fold_distance:g} m of them left out" if near else ""
        print(f"val: fold {parameters.fold} of {parameters.folds}, {held} {' and '.join(splits)} scenes{left_out}")
    for split, items in skipped.items():
        print(f"{split}: written to {outs[split]}" + (f", {len(items)} bad scenes skipped" if items else ""))
        for item in items[:SHOWN]:
            print(f"  skipped {item.reason}")


if __name__ == "__main__":
    with exit_on_error():
        main()
