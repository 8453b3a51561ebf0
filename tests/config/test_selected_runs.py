"""Tests of variants, seeds and shared pre-training in params.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from given_parameters import committed
from repository import PARAMS
from synthdrive.config.report import ReportParameters, SelectedRuns, load_selected_runs
from synthdrive.config.whole_file import check_parameters
from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import read_parameters

NONE_SHARED = "shared_pretraining: []\n"
SHARED = "seeds: [0]\nfrom_scratch: [none]\nrun_variants: [map]\nshared_pretraining: [{variant: %s, pretraining: %s}]\n"


def test_runs_keep_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("seeds: [3, 1]\nfrom_scratch: [none]\nrun_variants: [map]\n" + NONE_SHARED)
    assert load_selected_runs(path) == SelectedRuns(variants=("none", "map"), seeds=(3, 1))


def test_a_variant_may_share_the_pretraining_of_another(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(SHARED % ("map_10", "map"))
    runs = load_selected_runs(tmp_path / "params.yaml")
    assert runs.variants == ("none", "map", "map_10")
    assert [runs.pretraining(variant) for variant in runs.variants] == ["none", "map", "map"]


@pytest.mark.parametrize(
    ("variant", "pretraining", "key"),
    [
        ("map", "map", "run_variants"),
        ("none", "map", "shared_pretraining"),
        ("map_10", "none", "shared_pretraining"),
    ],
)
def test_shared_pretraining_entry_must_be_valid(tmp_path: Path, variant: str, pretraining: str, key: str) -> None:
    (tmp_path / "params.yaml").write_text(SHARED % (variant, pretraining))
    with pytest.raises(ParameterError, match=rf"params\.yaml: {key}\b"):
        load_selected_runs(tmp_path / "params.yaml")


def with_variants(**changes: object) -> dict[str, Any]:
    content = read_parameters(PARAMS) | changes
    content["variants"]["map_10"] = {**content["variants"]["map"], "finetune": {"fraction": 0.1}}
    return content


def test_equal_pretrainings_must_be_shared() -> None:
    shared = [{"variant": "map_10", "pretraining": "map"}]
    check_parameters(with_variants(shared_pretraining=shared), "params.yaml")
    with pytest.raises(
        ParameterError, match="found map_10, whose pre-training is the same as that of map; expected an entry of share"
    ):
        check_parameters(with_variants(run_variants=["map", "map_10"]), "params.yaml")


@pytest.mark.parametrize(
    ("section", "key", "value"), [("pretrain", "mask_ratio", 0.3), ("model", "max_goal_acceleration", 0.0)]
)
def test_variants_with_different_pretraining_cannot_share_it(section: str, key: str, value: float) -> None:
    content = with_variants(shared_pretraining=[{"variant": "map_10", "pretraining": "map"}])
    variant = content["variants"]["map_10"]
    content["variants"]["map_10"] = {**variant, section: {**variant.get(section, {}), key: value}}
    with pytest.raises(ParameterError, match=f"{key} differs from that of map"):
        check_parameters(content, "params.yaml")


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
def test_invalid_lists_of_runs_are_refused(text: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text + NONE_SHARED)
    with pytest.raises(ParameterError, match=f"params.yaml: {key}"):
        load_selected_runs(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [("bootstrap_samples", 5), ("transform_amplitude", 0.0), ("forecast_scenes", 0), ("baselines", ["a", "a"])],
)
def test_invalid_report_parameters_are_refused(key: str, value: object) -> None:
    with pytest.raises(ParameterError, match=rf"report\.{key}"):
        committed(ReportParameters, **{key: value})
