from pathlib import Path

import pytest
import yaml

from synthdrive.errors import ParameterError
from synthdrive.parameters.arms import load_arm_section
from synthdrive.parameters.finetune import FinetuneParameters
from synthdrive.parameters.loading import SECTIONS, read_parameters
from synthdrive.parameters.pretrain import PretrainParameters
from synthdrive.parameters.run_cells import load_cells
from synthdrive.pipeline.profiles import apply_profile

REPOSITORY = Path(__file__).resolve().parents[2]
PROFILES = sorted((REPOSITORY / "profiles").glob("*.yaml"))


def test_a_profile_changes_only_what_it_holds_and_keeps_comments(tmp_path):
    parameters, profile = tmp_path / "params.yaml", tmp_path / "small.yaml"
    parameters.write_text("# frame\nmodel:\n  hidden: 64  # width\n  depth: 3\nseeds:\n  - 0\n  - 1\n")
    profile.write_text("model:\n  hidden: 128\nseeds:\n  - 7\n")
    assert apply_profile(profile, parameters) == ["model.hidden", "seeds"]
    text = parameters.read_text()
    assert "# frame" in text
    assert "# width" in text
    assert yaml.safe_load(text) == {"model": {"hidden": 128, "depth": 3}, "seeds": [7]}
    assert apply_profile(profile, parameters) == []


def test_a_profile_on_top_of_another_brings_both(tmp_path):
    parameters = tmp_path / "params.yaml"
    parameters.write_text("model:\n  hidden: 64\n  depth: 3\nseeds:\n  - 0\n")
    (tmp_path / "small.yaml").write_text("model:\n  hidden: 128\n  depth: 4\n")
    (tmp_path / "deep.yaml").write_text("on_top_of: small\nmodel:\n  depth: 9\n")
    assert apply_profile(tmp_path / "deep.yaml", parameters) == ["model.hidden", "model.depth"]
    assert yaml.safe_load(parameters.read_text()) == {"model": {"hidden": 128, "depth": 9}, "seeds": [0]}
    (tmp_path / "deep.yaml").write_text("on_top_of: absent\n")
    with pytest.raises(ParameterError, match="absent.yaml"):
        apply_profile(tmp_path / "deep.yaml", parameters)


def test_an_unknown_key_is_refused_by_name_and_nothing_is_written(tmp_path):
    parameters, profile = tmp_path / "params.yaml", tmp_path / "small.yaml"
    parameters.write_text("model:\n  hidden: 64\n")
    profile.write_text("model:\n  hidden: 128\n  width: 3\n")
    with pytest.raises(ParameterError, match=r"model\.width.*hidden"):
        apply_profile(profile, parameters)
    assert parameters.read_text() == "model:\n  hidden: 64\n"


@pytest.mark.parametrize("text", ["", "- a\n", "a: [\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    parameters, profile = tmp_path / "params.yaml", tmp_path / "small.yaml"
    parameters.write_text("model:\n  hidden: 64\n")
    profile.write_text(text)
    with pytest.raises(ParameterError, match="small.yaml"):
        apply_profile(profile, parameters)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_every_profile_fits_params_yaml(tmp_path, profile):
    parameters = tmp_path / "params.yaml"
    parameters.write_text((REPOSITORY / "params.yaml").read_text())
    apply_profile(profile, parameters)
    assert set(read_parameters(parameters)) == set(SECTIONS)
    for arm in load_cells(parameters).arms:
        load_arm_section(PretrainParameters, "pretrain", arm, parameters)
        load_arm_section(FinetuneParameters, "finetune", arm, parameters)


def test_a_profile_may_bring_arms_and_change_other_values_in_them(tmp_path):
    parameters, profile = tmp_path / "params.yaml", tmp_path / "small.yaml"
    parameters.write_text("arms:\n  map:\n    description: map\n    pretrain: {}\n    finetune: {}\n")
    profile.write_text("arms:\n  map:\n    pretrain:\n      epochs: 3\n  other:\n    description: new\n")
    assert apply_profile(profile, parameters) == ["arms.map.pretrain.epochs", "arms.other"]
    profile.write_text("arms:\n  map:\n    pretain:\n      epochs: 3\n")
    with pytest.raises(ParameterError, match=r"arms\.map\.pretain"):
        apply_profile(profile, parameters)


def test_params_yaml_holds_literal_values_alone():
    text = "\n".join(line.split("#")[0] for line in (REPOSITORY / "params.yaml").read_text().splitlines())
    for forbidden in ("${", "&", "*", "<<:"):
        assert forbidden not in text, f"{forbidden!r}: DVC would track the text, not the value"
