"""Draw a lane map, optionally with synthetic windows on it."""

from __future__ import annotations

import argparse
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.core.errors import InputError, exit_on_error
from synthdrive.reporting.pictures.maps import check_suffix, draw_lane_map, tracks_in
from synthdrive.scenes.lane_map import load_maps
from synthdrive.scenes.scene_store import SceneStore


def main() -> None:
    """Read the map and the windows, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=Path, default=Path("data/maps"), help="folder of <CITY>.safetensors lane maps")
    parser.add_argument("--city", help="the map to draw; default: the first in the folder")
    parser.add_argument("--synthetic", type=Path, help="folder of synthetic windows")
    parser.add_argument("--out", type=Path, required=True, help="a .svg or .png file")
    arguments = parser.parse_args()
    check_suffix(arguments.out)
    maps = load_maps(arguments.maps)
    city = arguments.city or next(iter(maps))
    if city not in maps:
        raise InputError(arguments.maps, f"no map of {city}", f"one of {', '.join(maps)}")
    tracks = tracks_in(SceneStore.load(arguments.synthetic), city) if arguments.synthetic else []
    draw_lane_map(maps[city], arguments.out, tracks)
    print(f"{arguments.out}: {city}, {len(maps[city])} lane segments, {len(tracks)} windows")
    if others := [name for name in maps if name != city and not arguments.city]:
        print(f"not drawn: {', '.join(others)} (choose one with --city)")


if __name__ == "__main__":
    with exit_on_error():
        main()
