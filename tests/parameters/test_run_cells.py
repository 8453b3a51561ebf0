from __future__ import annotations

from pathlib import Path

import pytest

from synthdrive.errors import ParameterError
from synthdrive.parameters.loading import from_values
from synthdrive.parameters.report import ReportParameters
from synthdrive.parameters.run_cells import RunCells, load_cells


def test_cells_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seeds: [3, 1]\nrun_arms: [none, map]\n")
    assert load_cells(tmp_path / "params.yaml") == RunCells(arms=("none", "map"), seeds=(3, 1))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("seeds: [0]\n", "run_arms"),
        ("seeds: []\nrun_arms: [none]\n", "seeds"),
        ("seeds: ['0']\nrun_arms: [none]\n", "seeds"),
        ("seeds: [true]\nrun_arms: [none]\n", "seeds"),
        ("seeds: [0]\nrun_arms: none\n", "run_arms"),
        ("seeds: [0]\nrun_arms: [none, none]\n", "run_arms"),
    ],
)
def test_cells_that_mean_nothing_are_refused(text: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParameterError, match=f"params.yaml: {key}"):
        load_cells(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [("bootstrap_samples", 5), ("transform_amplitude", 0.0), ("forecast_scenes", 0), ("baselines", ["a", "a"])],
)
def test_report_parameters_that_mean_nothing_are_refused(key: str, value: object) -> None:
    with pytest.raises(ParameterError, match=rf"report\.{key}"):
        from_values(ReportParameters, {key: value}, "report")
