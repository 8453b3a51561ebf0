"""Stage report: an HTML page with the results next to the published ones, the claims ledger and pictures."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

import _own_source  # noqa: F401 (before synthdrive)
from synthdrive.config.data import DataParameters, IngestParameters
from synthdrive.config.report import ReportParameters, load_selected_runs
from synthdrive.core.errors import exit_on_error
from synthdrive.core.parameters import DEFAULT_PATH, load_section
from synthdrive.core.provenance import PROVENANCE
from synthdrive.reporting.page import write_provenance_page
from synthdrive.reporting.report import ReportInputs, write_forecast_sheet, write_report
from synthdrive.reporting.run_results import RunPaths


def main() -> None:
    """Read the artifacts of the pipeline and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reports"), help="folder to write (default: %(default)s)")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameters (default: %(default)s)")
    parser.add_argument("--claims", type=Path, default=Path("claims.yaml"), help="ledger (default: %(default)s)")
    parser.add_argument(
        "--published", type=Path, default=Path("published.yaml"), help="published numbers (default: %(default)s)"
    )
    parser.add_argument("--sheet", type=Path, help="write only this PNG with six forecasts, as in the README")
    for field in fields(RunPaths):
        parser.add_argument(f"--{field.name}", type=Path, default=field.default, help="default: %(default)s")
    parser.add_argument("--provenance", type=Path, default=PROVENANCE, help="folder of records (%(default)s)")
    arguments = parser.parse_args()
    with exit_on_error():
        inputs = ReportInputs(
            paths=RunPaths(**{field.name: getattr(arguments, field.name) for field in fields(RunPaths)}),
            runs=load_selected_runs(arguments.params),
            source=load_section(DataParameters, "data", arguments.params).source,
            validation=load_section(IngestParameters, "ingest", arguments.params).validation,
            published=arguments.published,
            claims=arguments.claims,
            parameters=load_section(ReportParameters, "report", arguments.params),
        )
        if arguments.sheet:
            write_forecast_sheet(inputs, arguments.sheet)
        else:
            content = write_report(inputs, arguments.out)
            runs = [f"{variant}-{seed}" for variant in inputs.runs.variants for seed in inputs.runs.seeds]
            write_provenance_page(arguments.provenance, runs)
            print(f"report: {arguments.out / 'index.html'}: {content.headline}", file=sys.stderr)


if __name__ == "__main__":
    main()
