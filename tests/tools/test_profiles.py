import subprocess
from pathlib import Path

import pytest
import yaml

from synthdrive.config.loading import SECTIONS, read_parameters
from synthdrive.config.report import load_selected_runs
from synthdrive.config.training import FinetuneParameters, PretrainParameters, load_variant_section
from synthdrive.core.errors import ParameterError
from tools.profiles import apply_profile

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
    (tmp_path / "deeper.yaml").write_text("on_top_of: deep\nseeds:\n  - 1\n")
    assert apply_profile(tmp_path / "deeper.yaml", parameters)[-1] == "seeds"
    assert yaml.safe_load(parameters.read_text()) == {"model": {"hidden": 128, "depth": 9}, "seeds": [1]}
    (tmp_path / "deep.yaml").write_text("on_top_of: absent\n")
    with pytest.raises(ParameterError, match=r"absent\.yaml"):
        apply_profile(tmp_path / "deeper.yaml", parameters)
    (tmp_path / "deep.yaml").write_text("on_top_of: deeper\n")
    with pytest.raises(ParameterError, match="deeper on deep on deeper"):
        apply_profile(tmp_path / "deeper.yaml", parameters)


LISTS = """\
a:
  - 1
  - 2  # two
# above b
b:
  - x: 1
    y: 2

# above c
c: [1]  # flow
# above d
d:
  - 1  # one
e: 3
"""


def test_a_replaced_list_keeps_the_comment_above_the_key_that_follows(tmp_path):
    parameters, profile = tmp_path / "params.yaml", tmp_path / "small.yaml"
    parameters.write_text(LISTS)
    profile.write_text("a:\n  - 7  # seven\n# of the profile\nb:\n  - x: 3\n    y: 4\nc: [5]\nd:\n  - 2\n")
    apply_profile(profile, parameters)
    expected = LISTS.replace("  - 1\n  - 2  # two", "  - 7").replace("x: 1\n    y: 2", "x: 3\n    y: 4")
    assert parameters.read_text() == expected.replace("[1]", "[5]").replace("  - 1  # one", "  - 2")


def test_a_new_variant_goes_above_the_comment_of_the_next_section(tmp_path):
    parameters, profile = tmp_path / "params.yaml", tmp_path / "small.yaml"
    variants = "variants:\n  map:\n    pretrain:\n      epochs: 1  # one\n"
    parameters.write_text(f"{variants}\n# above the next\nnext: 1\n")
    profile.write_text("variants:\n  a:\n    pretrain: {}\n  b:\n    pretrain:\n      list:\n        - 1\n")
    apply_profile(profile, parameters)
    added = "  a:\n    pretrain: {}\n  b:\n    pretrain:\n      list:\n        - 1\n"
    assert parameters.read_text() == f"{variants}{added}\n# above the next\nnext: 1\n"


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_every_profile_keeps_every_comment_of_params_yaml(tmp_path, profile):
    parameters = tmp_path / "params.yaml"
    parameters.write_text((REPOSITORY / "params.yaml").read_text())
    above = comments_above(parameters)
    apply_profile(profile, parameters)
    assert above.items() <= comments_above(parameters).items()


def comments_above(parameters: Path) -> dict[str, str]:
    """Each line that is a comment, with the key that it stands above."""
    lines = [line.strip() for line in parameters.read_text().splitlines()]
    return {
        line: next(later.split(":")[0] for later in lines[number:] if later and not later.startswith("#"))
        for number, line in enumerate(lines)
        if line.startswith("#")
    }


@pytest.fixture
def checkout(tmp_path):
    """The real params.yaml and profiles, committed."""
    (tmp_path / "profiles").mkdir()
    for path in (REPOSITORY / "params.yaml", *PROFILES):
        (tmp_path / path.relative_to(REPOSITORY)).write_text(path.read_text())
    git = ("git", "-C", str(tmp_path), "-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "Parameters")):
        subprocess.run([*git, *command], check=True)
    return tmp_path


def test_a_second_profile_leaves_nothing_of_the_first(checkout):
    parameters, profiles = checkout / "params.yaml", checkout / "profiles"
    changed = apply_profile(profiles / "argoverse1-small.yaml", parameters)
    small = parameters.read_text()
    assert small != (REPOSITORY / "params.yaml").read_text()
    for name in ("realistic", "paper", "realistic"):
        apply_profile(profiles / f"{name}.yaml", parameters)
        assert parameters.read_text() != small
    assert apply_profile(profiles / "argoverse1-small.yaml", parameters) == changed
    assert parameters.read_text() == small


def test_edits_that_are_not_committed_are_never_lost(checkout):
    parameters, profile = checkout / "params.yaml", checkout / "profiles" / "paper.yaml"
    apply_profile(profile, parameters)
    edited = parameters.read_text().replace("mask_ratio: 0.5", "mask_ratio: 0.4")
    assert edited != parameters.read_text()
    parameters.write_text(edited)
    with pytest.raises(ParameterError, match=r"params\.yaml: found edits.*git checkout .*params\.yaml"):
        apply_profile(profile, parameters)
    assert parameters.read_text() == edited


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
    for variant in load_selected_runs(parameters).variants:
        load_variant_section(PretrainParameters, "pretrain", variant, parameters)
        load_variant_section(FinetuneParameters, "finetune", variant, parameters)


def test_a_variant_on_top_of_another_says_only_how_it_differs(tmp_path):
    parameters, profile = tmp_path / "params.yaml", tmp_path / "small.yaml"
    parameters.write_text(
        "variants:\n  base:\n    description: base\n    finetune:\n      epochs: 16\n"
        "      transfer:\n        - encoder  # alone\n"
        "# what follows\nseeds: [0]\n"
    )
    profile.write_text(
        "variants:\n  less:\n    on_top_of: base\n    description: less\n    finetune:\n      fraction: 0.1\n"
        "  longer:\n    on_top_of: less\n    description: longer\n    finetune:\n      epochs: 60\n"
    )
    assert apply_profile(profile, parameters) == ["variants.less", "variants.longer"]
    variants = yaml.safe_load(parameters.read_text())["variants"]
    assert variants["base"] == {"description": "base", "finetune": {"epochs": 16, "transfer": ["encoder"]}}
    less = {"epochs": 16, "transfer": ["encoder"], "fraction": 0.1}
    assert variants["less"] == {"description": "less", "finetune": less}
    assert variants["longer"] == {"description": "longer", "finetune": less | {"epochs": 60}}
    assert parameters.read_text().count("# alone") == parameters.read_text().count("# what follows") == 1
    assert apply_profile(profile, parameters) == []
    profile.write_text("variants:\n  less:\n    on_top_of: base\n")
    assert apply_profile(profile, parameters) == ["variants.less"]
    variants = yaml.safe_load(parameters.read_text())["variants"]
    assert variants["less"] == variants["base"]
    for text, said in (
        ("on_top_of: absent", r"variants\.less\.on_top_of.*absent.*base"),
        ("on_top_of: base\n    pretain: {}", "pretain"),
    ):
        profile.write_text(f"variants:\n  less:\n    {text}\n")
        with pytest.raises(ParameterError, match=said):
            apply_profile(profile, parameters)


def test_a_profile_may_bring_variants_and_change_other_values_in_them(tmp_path):
    parameters, profile = tmp_path / "params.yaml", tmp_path / "small.yaml"
    parameters.write_text("variants:\n  map:\n    description: map\n    pretrain: {}\n    finetune: {}\n")
    profile.write_text("variants:\n  map:\n    pretrain:\n      epochs: 3\n  other:\n    description: new\n")
    assert apply_profile(profile, parameters) == ["variants.map.pretrain.epochs", "variants.other"]
    profile.write_text("variants:\n  map:\n    model:\n      polyline_index: true\n")
    assert apply_profile(profile, parameters) == ["variants.map.model"]
    profile.write_text("variants:\n  map:\n    pretain:\n      epochs: 3\n")
    with pytest.raises(ParameterError, match=r"variants\.map\.pretain"):
        apply_profile(profile, parameters)


def test_params_yaml_holds_literal_values_alone():
    text = "\n".join(line.split("#")[0] for line in (REPOSITORY / "params.yaml").read_text().splitlines())
    for forbidden in ("${", "&", "*", "<<:"):
        assert forbidden not in text, f"{forbidden!r}: DVC would track the text, not the value"
