"""Extract the scenes of a list from an official tarball into a smaller one, which `ingest` can read.

The scenes of the study argoverse1_small, all from the official train split:
    for split in train val; do
      python stages/select_scenes.py --source forecasting_train_v1.1.tar.gz \\
        --ids studies/argoverse1_small/scenes/$split.txt --split $split \\
        --out data/raw/argoverse1/forecasting_${split}_v1.1.tar.gz
    done
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.data import IngestParameters
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.ingestion.packing import archive_limits
from synthdrive.ingestion.scene_subsets import read_ids, select_scenes


def main() -> None:
    """Read the list and write the tarball."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="official tarball, or a folder with its contents")
    parser.add_argument("--ids", type=Path, required=True, help="text file with a scene id per line")
    parser.add_argument("--split", choices=("train", "val"), required=True, help="split under which they are written")
    parser.add_argument("--out", type=Path, required=True, help="tarball to write, .tar.gz")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters (default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_error():
        limits = archive_limits(load_section(IngestParameters, "ingest", arguments.params))
        ids = read_ids(arguments.ids)
        select_scenes(arguments.source, ids, arguments.split, arguments.out, limits)
        print(f"{arguments.out}: {len(ids)} scenes")


if __name__ == "__main__":
    main()
