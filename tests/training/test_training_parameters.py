"""Tests of the training parameters: params.yaml has all of them, and impossible values are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from given_parameters import paper
from repository import PARAMS
from synthdrive.config.training import (
    FinetuneParameters,
    ModelParameters,
    PretrainParameters,
    load_variant_section,
)
from synthdrive.core.errors import ParameterError

SECTIONS: list[tuple[Any, str]] = [(PretrainParameters, "pretrain"), (FinetuneParameters, "finetune")]


def test_every_variant_of_the_study_exists_and_can_be_loaded() -> None:
    content = yaml.safe_load(PARAMS.read_text())
    names = list(content["variants"])
    assert {"none", "map", "trajectory", "combined", "as_released", "forecast"} <= set(names)
    assert set(content["run_variants"]) <= set(names)
    loaded = {name: load_variant_section(PretrainParameters, "pretrain", name, PARAMS) for name in names}
    assert loaded["none"].objective == "none"
    assert loaded["map"].map_probability == 1.0
    assert loaded["trajectory"].map_probability == 0.0
    assert not loaded["as_released"].decoder_sees_encoder
    assert loaded["forecast"].objective == "forecast"
    for name in names:
        load_variant_section(FinetuneParameters, "finetune", name, PARAMS)
        load_variant_section(ModelParameters, "model", name, PARAMS)


def test_papers_profile_has_the_papers_training_parameters() -> None:
    pretrain, finetune = paper(PretrainParameters), paper(FinetuneParameters)
    assert (pretrain.epochs, pretrain.global_batch_size, pretrain.learning_rate, pretrain.lr_schedule) == (
        5,
        256,
        1e-4,
        "constant",
    )
    assert (pretrain.map_probability, pretrain.mask_ratio) == (0.7, 0.5)
    assert (finetune.epochs, finetune.global_batch_size, finetune.learning_rate) == (16, 64, 1e-3)
    assert (finetune.lr_schedule, finetune.lr_milestones, finetune.lr_decay_factor) == ("step", [5, 10, 15], 0.3)
    assert pretrain.max_grad_norm == finetune.max_grad_norm == 0
    assert pretrain.warmup_epochs == finetune.warmup_epochs == 0
    assert pretrain.fraction == finetune.fraction == 1


@pytest.mark.parametrize("schema", [PretrainParameters, FinetuneParameters])
def test_a_warm_up_longer_than_training_is_refused(schema: type) -> None:
    with pytest.raises(ParameterError, match=r"\.warmup_epochs: found 3.5; expected 0 to 3"):
        paper(schema, epochs=3, warmup_epochs=3.5)


def test_invalid_value_of_a_variant_is_named_with_its_full_key(tmp_path: Path) -> None:
    values = yaml.safe_load(PARAMS.read_text())
    values["variants"]["map"]["pretrain"] = {"mask_ratio": 2.0}
    values["variants"]["combined"]["pretrain"] = {"mask": 2.0}
    values["variants"]["map"]["model"] = {"hidden_size": 33}
    values["variants"]["combined"]["model"] = {"width": 64}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ParameterError, match="variants.map.pretrain.mask_ratio"):
        load_variant_section(PretrainParameters, "pretrain", "map", path)
    with pytest.raises(ParameterError, match="variants.combined.pretrain.mask"):
        load_variant_section(PretrainParameters, "pretrain", "combined", path)
    with pytest.raises(ParameterError, match="variants.map.model.hidden_size"):
        load_variant_section(ModelParameters, "model", "map", path)
    with pytest.raises(ParameterError, match="variants.combined.model.width"):
        load_variant_section(ModelParameters, "model", "combined", path)
