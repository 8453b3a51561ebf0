from pathlib import Path

from ruamel.yaml import YAML
from tools.dependencies import declared_and_needed, import_closure, write_dependencies

REPOSITORY = Path(__file__).resolve().parents[2]


def make_repository(root: Path) -> Path:
    package = root / "src" / "synthdrive"
    (package / "maps").mkdir(parents=True)
    (package / "__init__.py").write_text('"""Doc."""\n')
    (package / "maps" / "__init__.py").write_text("")
    (package / "maps" / "lane_map.py").write_text("from synthdrive.core.errors import InputError\n")
    (package / "core/errors.py").write_text("InputError = ValueError\n")
    (package / "unused.py").write_text("X = 1\n")
    (root / "stages").mkdir()
    (root / "stages" / "ingest.py").write_text("def main():\n    from synthdrive.maps import lane_map\n")
    (root / "dvc.yaml").write_text(
        "stages:\n  ingest:\n    # why\n    cmd: python stages/ingest.py --out data\n"
        "    deps:\n      - raw\n      - src/synthdrive/unused.py\n"
    )
    return root


def test_the_closure_follows_imports_inside_functions_and_leaves_out_empty_package_faces(tmp_path):
    closure = import_closure(Path("stages/ingest.py"), make_repository(tmp_path))
    assert closure == [
        "stages/ingest.py",
        "src/synthdrive/__init__.py",
        "src/synthdrive/core/errors.py",
        "src/synthdrive/scenes/lane_map.py",
    ]


def test_writing_keeps_data_dependencies_and_comments_and_is_then_up_to_date(tmp_path):
    root = make_repository(tmp_path)
    assert write_dependencies(root) == ["ingest"]
    assert write_dependencies(root) == []
    text = (root / "dvc.yaml").read_text()
    assert "# why" in text
    assert "unused" not in text
    dependencies = YAML(typ="safe").load(text)["stages"]["ingest"]["deps"]
    assert dependencies[0] == "raw"
    assert dependencies[-1] == "requirements.lock"


def test_dvc_yaml_declares_what_the_stages_import():
    content = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")
    pairs = declared_and_needed(content, REPOSITORY)
    assert pairs
    for name, (declared, needed) in pairs.items():
        assert declared == needed, f"{name}: run `make dependencies`"
