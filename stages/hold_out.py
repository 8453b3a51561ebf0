"""Split a scene store by place into scenes to train on and scenes held back, to make choices with.

Example, the first of five folds, blocks of 400 m:
    python stages/hold_out.py --scenes data/scenes/train --fold 0 --train-out folds/0/train --held-out folds/0/held
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from synthdrive.artifacts import atomic_directory
from synthdrive.errors import exit_on_error
from synthdrive.scenes.hold_out import fold_of_scenes, write_scenes
from synthdrive.scenes.scene_store import SceneStore


def main() -> None:
    """Read a store, write two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, default=Path("data/scenes/train"), help="default: %(default)s")
    parser.add_argument("--folds", type=int, default=5, help="number of folds (default: %(default)s)")
    parser.add_argument("--fold", type=int, default=0, help="the one that is held back (default: %(default)s)")
    parser.add_argument("--block", type=float, default=400.0, help="m, side of a block (default: %(default)s)")
    parser.add_argument("--train-out", type=Path, required=True, help="store of the scenes to train on")
    parser.add_argument("--held-out", type=Path, required=True, help="store of the scenes held back")
    given = parser.parse_args()
    if not (0 <= given.fold < given.folds and given.block > 0):
        parser.error(f"--fold {given.fold} of {given.folds}, --block {given.block}: no such fold")
    with exit_on_error():
        store = SceneStore.load(given.scenes)
        held = fold_of_scenes(store, given.folds, given.block) == given.fold
        for out, inside in ((given.train_out, ~held), (given.held_out, held)):
            with atomic_directory(out) as partial:
                write_scenes(store, np.flatnonzero(inside), partial)
        print(f"hold_out: {held.sum()} of {len(store)} scenes held back", file=sys.stderr)


if __name__ == "__main__":
    main()
