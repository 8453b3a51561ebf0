"""Stage check_raw: data validation of lane maps and recorded scenes; exits with 1 if an expectation is not met."""

from __future__ import annotations

import argparse
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.checks.run import check_raw
from synthdrive.config.data import CheckRawParameters
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section


def main() -> int:
    """Run the stage and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=Path, default=Path("data/maps"), help="lane maps and their manifest")
    parser.add_argument("--train", type=Path, default=Path("data/scenes/train"), help="store of the train scenes")
    parser.add_argument("--val", type=Path, default=Path("data/scenes/val"), help="store of the val scenes")
    parser.add_argument("--out", type=Path, default=Path("data/checks/raw.json"), help="result, as JSON")
    parser.add_argument("--docs", type=Path, default=Path("data/checks/docs/raw"), help="folder for the Data Docs")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="YAML file of parameters")
    arguments = parser.parse_args()

    parameters = load_section(CheckRawParameters, "check_raw", arguments.params)
    outcome = check_raw(arguments.maps, arguments.train, arguments.val, parameters, arguments.out, arguments.docs)
    return outcome.report("check_raw", arguments.out, arguments.docs)


if __name__ == "__main__":
    with exit_on_error():
        raise SystemExit(main())
