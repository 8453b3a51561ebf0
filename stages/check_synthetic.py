"""Stage check_synthetic: data validation of the synthetic windows; exits with 1 if an expectation is not met."""

from __future__ import annotations

import argparse
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.checks.run import check_synthetic
from synthdrive.config.data import CheckSyntheticParameters
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section


def main() -> int:
    """Run the stage and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--synthetic", type=Path, default=Path("data/synthetic"), help="store of the windows")
    parser.add_argument("--out", type=Path, default=Path("data/checks/synthetic.json"), help="result, as JSON")
    parser.add_argument(
        "--docs", type=Path, default=Path("data/checks/docs/synthetic"), help="folder for the Data Docs"
    )
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="YAML file of parameters")
    arguments = parser.parse_args()

    parameters = load_section(CheckSyntheticParameters, "check_synthetic", arguments.params)
    outcome = check_synthetic(arguments.synthetic, parameters, arguments.out, arguments.docs)
    return outcome.report("check_synthetic", arguments.out, arguments.docs)


if __name__ == "__main__":
    with exit_on_error():
        raise SystemExit(main())
