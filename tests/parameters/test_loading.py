from dataclasses import dataclass, field

import pytest

from synthdrive.core.errors import ParameterError
from synthdrive.parameters.loading import load_section


@dataclass
class Schema:
    hidden: int = 64
    ratio: float = 0.5
    names: list[str] = field(default_factory=list)

    def validate(self, where):
        if self.hidden < 1:
            raise ParameterError(f"{where}.hidden", str(self.hidden), "a whole number from 1")


def write(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def test_a_section_is_loaded_with_its_types(tmp_path):
    path = write(tmp_path, "model:\n  hidden: 8\n  ratio: 1\n  names:\n    - a\narms:\n  map:\n    hidden: 3\n")
    assert load_section(Schema, "model", path) == Schema(8, 1.0, ["a"])
    assert load_section(Schema, "variants.map", path).hidden == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model:\n  hiden: 8\n", r"model\.hiden.*unknown parameter.*hidden, ratio, names"),
        ("model:\n  hidden: wide\n", r"model\.hidden"),
        ("model:\n  hidden: 0\n", r"model\.hidden.*found 0.*whole number from 1"),
        ("model:\n  ratio:\n    - 1\n", r"model\.ratio"),
        ("model:\n  names:\n    - {a: 1}\n", r"model\.names\.0.*'a': 1.*type str"),
        ("model:\n  names:\n    - [a]\n", r"model\.names\.0.*type str"),
        ("modell: {}\n", r"modell.*unknown section"),
        ("variants: {}\n", r"model.*no 'model'"),
        ("model: [\n", "unreadable YAML"),
        ("- a\n", "found list"),
        ("model: !!python/object/apply:os.system ['true']\n", "unreadable YAML"),
        ("model:\n  names:\n    - ${oc.env:HOME}\n", r"model\.names\.0.*without interpolation"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(tmp_path, text, message):
    with pytest.raises(ParameterError, match=message):
        load_section(Schema, "model", write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"nowhere\.yaml.*no such file"):
        load_section(Schema, "model", tmp_path / "nowhere.yaml")
