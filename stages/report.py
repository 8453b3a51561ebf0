"""Stage report: the results beside the published ones, the claims ledger and the pictures, as one HTML page."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.data import DataParameters
from synthdrive.config.report import ReportParameters, load_selected_runs
from synthdrive.config.synthesize import SynthesizeParameters
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.reporting.report import ReportInputs, write_report
from synthdrive.reporting.run_outputs import RunPaths
from synthdrive.reporting.summary import summary


def main() -> None:
    """Read a run's artifacts, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports"), help="folder to write (default: %(default)s)")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters (default: %(default)s)")
    parser.add_argument("--claims", type=Path, default=Path("claims.yaml"), help="ledger (default: %(default)s)")
    parser.add_argument(
        "--published", type=Path, default=Path("published.yaml"), help="published numbers (default: %(default)s)"
    )
    parser.add_argument("--released", type=Path, help="folder of the authors' released windows, to compare with")
    for field in fields(RunPaths):
        parser.add_argument(f"--{field.name}", type=Path, default=field.default, help="default: %(default)s")
    given = parser.parse_args()
    with exit_on_error():
        inputs = ReportInputs(
            paths=RunPaths(**{field.name: getattr(given, field.name) for field in fields(RunPaths)}),
            cells=load_selected_runs(given.params),
            source=load_section(DataParameters, "data", given.params).source,
            published=given.published,
            claims=given.claims,
            parameters=load_section(ReportParameters, "report", given.params),
            released=given.released,
            driver=load_section(SynthesizeParameters, "synthesize", given.params).driver if given.released else None,
        )
        content = write_report(inputs, given.out)
        print(f"{summary(content)}\n{given.out / 'index.html'}", file=sys.stderr)


if __name__ == "__main__":
    main()
