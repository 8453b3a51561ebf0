from __future__ import annotations

from pathlib import Path

import pytest

from given_parameters import committed
from synthdrive.config.report import ReportParameters, SelectedRuns, load_selected_runs
from synthdrive.core.errors import ParameterError


def test_cells_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seeds: [3, 1]\nfrom_scratch: [none]\nrun_variants: [map]\n")
    assert load_selected_runs(tmp_path / "params.yaml") == SelectedRuns(variants=("none", "map"), seeds=(3, 1))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("seeds: [0]\nrun_variants: [map]\n", "from_scratch"),
        ("seeds: [0]\nfrom_scratch: [none]\n", "run_variants"),
        ("seeds: []\nfrom_scratch: [none]\nrun_variants: [map]\n", "seeds"),
        ("seeds: ['0']\nfrom_scratch: [none]\nrun_variants: [map]\n", "seeds"),
        ("seeds: [true]\nfrom_scratch: [none]\nrun_variants: [map]\n", "seeds"),
        ("seeds: [0]\nfrom_scratch: [none]\nrun_variants: map\n", "run_variants"),
        ("seeds: [0]\nfrom_scratch: [none]\nrun_variants: [map, none]\n", "run_variants"),
    ],
)
def test_cells_that_mean_nothing_are_refused(text: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParameterError, match=f"params.yaml: {key}"):
        load_selected_runs(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [("bootstrap_samples", 5), ("transform_amplitude", 0.0), ("forecast_scenes", 0), ("baselines", ["a", "a"])],
)
def test_report_parameters_that_mean_nothing_are_refused(key: str, value: object) -> None:
    with pytest.raises(ParameterError, match=rf"report\.{key}"):
        committed(ReportParameters, **{key: value})
