"""Import a map from OpenDRIVE, SUMO, OpenStreetMap, Lanelet2 or Argoverse 2.

The map is added to a folder for the option --maps of stages/augment.py and stages/synthesize.py. docs/own_map.md has
an example.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.record_sample import RecordSampleParameters
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.map_import.import_map import import_map, write_map
from synthdrive.reporting.pictures.maps import check_suffix, draw_lane_map


def main() -> None:
    """Read the map and write it as a lane map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in", dest="source", type=Path, required=True, help=".xodr, .net.xml, .osm or .json")
    parser.add_argument("--city", required=True, help="name of the map: letters, digits and hyphens")
    parser.add_argument("--out", type=Path, required=True, help="folder of lane maps that the map is added to")
    parser.add_argument("--picture", type=Path, help="also draw the map: a .svg or .png file")
    parser.add_argument("--left-hand", action="store_true", help="left-hand traffic, for OpenStreetMap extracts")
    parser.add_argument("--skip-broken", action="store_true", help="leave out elements that refer to missing ones")
    parser.add_argument(
        "--params", type=Path, default=DEFAULT_PATH, help="parameters; uses record_sample.map and .streets"
    )
    arguments = parser.parse_args()
    if arguments.picture:
        check_suffix(arguments.picture)
    parameters = load_section(RecordSampleParameters, "record_sample", arguments.params)
    imported = import_map(
        arguments.source, arguments.city, parameters.map, parameters.streets, arguments.left_hand, arguments.skip_broken
    )
    cities = write_map(arguments.out, imported)
    found = imported.summary()
    print(
        f"{arguments.city}: {found['format']}, {found['lane_segments']} lane segments, {found['kilometres']} km, "
        f"{found['links']} links; coordinates: {found['frame']}"
    )
    for what, count in imported.left_out.items():
        print(f"  left out: {count} {what}")
    print(f"{arguments.out}: {', '.join(cities)}")
    if arguments.picture:
        draw_lane_map(imported.lane_map, arguments.picture)


if __name__ == "__main__":
    with exit_on_error():
        main()
