"""Fixtures: one made-up run and its report for all tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import report_inputs, write_run

from repository import REPOSITORY
from synthdrive.reporting.content import Content
from synthdrive.reporting.report import ReportInputs, write_report


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """Inputs of a report whose variant `combined` has 0.7 times the error of `none`."""
    root = tmp_path_factory.mktemp("run")
    return report_inputs(write_run(root), root, REPOSITORY)


@pytest.fixture(scope="session")
def report(run: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Content]:
    """The folder of that run's report, and its content."""
    folder = tmp_path_factory.mktemp("report") / "reports"
    return folder, write_report(run, folder)
