"""Stage record_sample: simulate traffic on real streets with SUMO, and write it in the official Argoverse 1 layout."""

from __future__ import annotations

import argparse
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.record_sample import RecordSampleParameters
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.recording.record import record


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters, section record_sample")
    parser.add_argument("--out", type=Path, default=Path("data/raw/sample"), help="folder for the three archives")
    parser.add_argument(
        "--workers", type=int, help="simulations at a time (default: $SYNTHDRIVE_WORKERS, or all processors)"
    )
    arguments = parser.parse_args()
    parameters = load_section(RecordSampleParameters, "record_sample", arguments.params)
    written = record(arguments.out, parameters, arguments.workers)
    print(f"{arguments.out}: {written['train']} train scenes, {written['val']} val scenes")


if __name__ == "__main__":
    with exit_on_error():
        main()
