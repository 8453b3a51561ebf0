"""Which stages a changed parameter touches, asked of DVC itself on the pipeline as it is committed; needs no data."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.verify import changes_since_lock

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The tracked files without any artifact."""
    root = tmp_path_factory.mktemp("checkout") / "synthdrive"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if names.returncode or not (REPOSITORY / "dvc.lock").is_file():
        pytest.skip("needs a git checkout with its dvc.lock")
    for name in filter(None, names.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name)
    (root / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    return root


def touched(checkout: Path) -> set[str]:
    """Stages that DVC would run because of what changed; it finds no artifact here, which does not count."""
    return set(changes_since_lock(checkout))


@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ("# Parameters", "# The parameters", set()),
        ("  tracking_noise: 0.05", "  tracking_noise: 0.06", {"record_sample"}),
        ("  on_bad_scene: error", "  on_bad_scene: skip", {"ingest"}),
        ("  map_half_width: 50.0", "  map_half_width: 40.0", {"ingest", "augment", "synthesize"}),
        ("    min_length: 60.0", "    min_length: 70.0", {"augment"}),
        ("  speeds_per_scene: 2", "  speeds_per_scene: 5", {"synthesize"}),
        ("  mask_ratio: 0.5", "  mask_ratio: 0.3", {"pretrain"}),
        ("  nms_distance: 2.0", "  nms_distance: 2.5", {"evaluate", "evaluate_from_scratch", "evaluate_baselines"}),
        ("  forecast_scenes: 7", "  forecast_scenes: 8", {"report"}),
    ],
    ids=lambda value: str(value).strip() if isinstance(value, str) else "",
)
def test_a_parameter_touches_the_stages_that_read_it(checkout, old, new, stages):
    parameters = checkout / "params.yaml"
    text = parameters.read_text()
    assert text.count(old) == 1
    try:
        parameters.write_text(text.replace(old, new))
        assert {name.split("@")[0] for name in touched(checkout)} == stages
    finally:
        parameters.write_text(text)


def comments(path: Path) -> list[str]:
    """Lines that are comments, each with the key under it."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    below = {number: next(text.split(":")[0] for text in lines[number:] if text and not text.startswith("#"))
             for number, line in enumerate(lines) if line.startswith("#")}  # fmt: skip
    return [f"{lines[number]} {key}" for number, key in below.items()]


def test_an_experiment_keeps_the_comments_of_params_yaml(tmp_path):
    """DVC replaces every list, and with a list in block style the comment after it."""
    from dvc.utils.hydra import apply_overrides

    parameters = Path(shutil.copy(REPOSITORY / "params.yaml", tmp_path))
    before = comments(parameters)
    apply_overrides(str(parameters), ["evaluate.selection=nms", "seeds=[0,1,2]"])
    assert "seeds:\n- 0\n- 1\n- 2" in parameters.read_text()
    assert comments(parameters) == before


def test_a_variants_parameter_touches_its_own_cells_alone(checkout):
    parameters = checkout / "params.yaml"
    text = parameters.read_text()
    try:
        parameters.write_text(text.replace("      map_probability: 1.0", "      map_probability: 0.9"))
        variants = {name.split("@")[1].rsplit("-", 1)[0] for name in touched(checkout)}
        assert variants == {"map"}
    finally:
        parameters.write_text(text)
