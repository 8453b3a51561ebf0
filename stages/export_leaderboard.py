"""Write the file that the Argoverse 1 motion forecasting leaderboard takes, from stored forecasts."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthdrive.errors import exit_on_error
from synthdrive.forecasting.forecasts import Forecasts, check_scenes
from synthdrive.forecasting.leaderboard import write_leaderboard_file
from synthdrive.scenes.scene_store import SceneStore


def main() -> None:
    """Read forecasts and scenes, write the .h5 file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forecasts", type=Path, required=True, help="folder that evaluate wrote")
    parser.add_argument(
        "--scenes", type=Path, default=Path("data/scenes/val"), help="scene store (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write, .h5")
    given = parser.parse_args()
    with exit_on_error():
        forecasts, store = Forecasts.load(given.forecasts), SceneStore.load(given.scenes)
        check_scenes(forecasts, store)
        write_leaderboard_file(given.out, forecasts, store.origins)
        print(f"{given.out}: {len(forecasts)} scenes")


if __name__ == "__main__":
    main()
