"""Tests of the package as a library: its dependencies, imports without the extras, and the documented examples."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from forecasting_scenes import driven, straight_lanes, write_store
from grid_city import grid_city
from packaging.requirements import Requirement

import synthdrive
from repository import PARAMS, REPOSITORY
from synthdrive.config.training import ModelParameters
from synthdrive.core.parameters import load_section
from synthdrive.core.provenance import plain_values
from synthdrive.core.timing import ARGOVERSE1
from synthdrive.forecasting.evaluate import scene_errors
from synthdrive.forecasting.own_forecasts import read_own_forecasts
from synthdrive.models.densetnt import DenseTNT
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import save_checkpoint

SOURCE = REPOSITORY / "src"
LIBRARY = (REPOSITORY / "docs" / "library.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Packages that the base installation does not have, and modules that can be imported without them
HEAVY = {
    "torch", "accelerate", "pandas", "matplotlib", "jinja2", "markupsafe", "h5py", "great_expectations", "sumo", "dask",
    "distributed", "dvc", "ruamel", "hydra",
}  # fmt: skip
LIGHT_PACKAGES = (
    "augmentation", "config", "core", "formats", "ingestion", "map_import", "recording", "scenes", "synthesis",
)  # fmt: skip
LIGHT_MODULES = ("baselines", "bootstrap", "evaluate", "forecasts", "leaderboard_files")  # of forecasting

IMPORT_ALL = """
import importlib, sys
class HiddenPackages:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, HiddenPackages())
import synthdrive
for name in {modules!r}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, error, sep="\\t")
for name in synthdrive.__all__:
    try:
        getattr(synthdrive, name)
    except ImportError as error:
        print("synthdrive." + name, error, sep="\\t")
"""


def modules() -> list[str]:
    names = (path.relative_to(SOURCE).with_suffix("").parts for path in sorted(SOURCE.rglob("*.py")))
    return [".".join(name) for name in names if name[-1] != "__init__"]


def requirements(texts: list[str]) -> dict[str, Requirement]:
    return {Requirement(text).name: Requirement(text) for text in texts}


def test_base_dependencies_are_unpinned_and_exclude_the_training_stack():
    base = requirements(PROJECT["dependencies"])
    assert {"numpy", "scipy", "pyarrow", "omegaconf"} <= base.keys()
    assert not base.keys() & {"torch", "accelerate", "pandas", "dvc", "great-expectations", "matplotlib"}
    everything = [
        *PROJECT["dependencies"],
        *(text for extra in PROJECT["optional-dependencies"].values() for text in extra),
    ]
    assert [text for text in everything if "==" in text] == []


def test_locked_versions_satisfy_all_requirements_and_newer_torch_is_excluded():
    pins = requirements([line for line in (REPOSITORY / "requirements.in").read_text().splitlines() if "==" in line])
    locked = {name: next(iter(pin.specifier)).version for name, pin in pins.items()}
    for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for name, requirement in requirements(texts).items():
            if name in locked:
                assert requirement.specifier.contains(locked[name]), requirement
            if name == "torch":  # pip takes the newest release that is allowed
                major, minor = (int(part) for part in locked["torch"].split(".")[:2])
                assert not requirement.specifier.contains(f"{major}.{minor + 1}.0"), requirement


def test_every_import_of_the_light_modules_is_declared():
    """Every package that a light module imports at its top level is a dependency or part of Python."""
    distribution = {"yaml": "pyyaml"}
    declared = requirements(PROJECT["dependencies"]).keys() | {"synthdrive"}
    for name in light_modules():
        tree = ast.parse(SOURCE.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8"))
        for node in tree.body:
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module] if isinstance(node, ast.ImportFrom) else []
            for package in {one.partition(".")[0] for one in found} - sys.stdlib_module_names:
                assert distribution.get(package, package) in declared, f"{name} imports {package}"


def light_modules() -> list[str]:
    forecasting = {f"synthdrive.forecasting.{name}" for name in LIGHT_MODULES}
    return [name for name in modules() if name.split(".")[1] in LIGHT_PACKAGES or name in forecasting]


def test_modules_import_without_the_extras_or_name_the_missing_extra():
    everything = modules()
    found = run([sys.executable, "-c", IMPORT_ALL.format(heavy=HEAVY, modules=everything)], REPOSITORY).splitlines()
    failed = dict(line.split("\t") for line in found)
    assert not failed.keys() & set(light_modules())
    extras = PROJECT["optional-dependencies"]
    for name, message in failed.items():
        missing, extra = re.fullmatch(r"(\S+) is not installed; .*synthdrive\[(\w+)\]'", message).groups()
        provided = requirements(extras[extra]).keys()
        assert {"great_expectations": "great-expectations"}.get(missing, missing) in provided, name
    public = {
        name.removeprefix("synthdrive.") for name in failed if name.removeprefix("synthdrive.") in synthdrive.__all__
    }
    assert public == {"DenseTNT", "GoalForecaster", "load_forecaster", "optimise_goal_sets"}


@pytest.fixture
def working_folder(tmp_path, monkeypatch) -> Path:
    """A folder with the examples' inputs: parameters, a map, validation scenes and a model with random weights."""
    (tmp_path / "data" / "maps").mkdir(parents=True)
    grid_city("BER").save(tmp_path / "data" / "maps" / "BER.safetensors")
    agents = np.stack([driven(angle, 8.0, 0.1, (1000.0, -300.0)) for angle in (0.0, 1.0, 2.0)])
    write_store(tmp_path / "data" / "scenes" / "val", agents, straight_lanes([(0, 0), (1, 0)]))
    shutil.copy(PARAMS, tmp_path)
    model = load_section(ModelParameters, "model", PARAMS)
    metadata = {"stage": "finetune", "variant": "forecast", "seed": 0, "model": plain_values(model)}
    network = DenseTNT(model, ARGOVERSE1)
    save_checkpoint(tmp_path / "models/finetuned/forecast-0", network, metadata | {"timing": ARGOVERSE1.plain()}, [])
    monkeypatch.chdir(tmp_path)
    return tmp_path


EXAMPLES = re.findall(r"## ([^\n]*)\n(?:(?!\n## ).)*?```python\n(.*?)```", LIBRARY, flags=re.S)


@pytest.mark.parametrize(("title", "example"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_documented_examples_run(title, example, working_folder, capsys):
    names: dict[str, object] = {}
    exec(example, names)
    imports = re.findall(r"^(?:import|from) synthdrive.*", example, flags=re.M)
    assert imports == ["import synthdrive as sd"]
    if "optimise_goal_sets" in example:
        distance = (names["chosen"].goals[0][:, None] - torch.tensor([[0.0, 40], [12, 30], [-9, 25]])).norm(dim=-1)
        assert distance.min(dim=0).values.max() < 3  # each peak has a goal
    if "displacement_errors" in example:
        assert names["errors"]["minFDE"].mean() < 1.5
    if "load_forecaster" in example:
        assert names["found"].trajectories.shape == (3, 6, 30, 2)
        assert np.isfinite(names["found"].trajectories).all()
    if "mine.npz" in example:
        store = SceneStore.load(working_folder / "data" / "scenes" / "val")
        errors = scene_errors(read_own_forecasts(working_folder / "mine.npz", store), store, 2.0)
        assert (errors["minFDE6"] < 8).all()  # the agent turns, the forecast goes straight on


def test_documented_commands_and_parameters_exist():
    assert len(EXAMPLES) == LIBRARY.count("```python") >= 4
    for script in re.findall(r"stages/\w+\.py", LIBRARY):
        assert (REPOSITORY / script).is_file(), script
    extras = set(re.findall(r"^\| `(\w+)`", LIBRARY, flags=re.M))
    assert extras == PROJECT["optional-dependencies"].keys() - {"development"}


def run(command: list[str | Path], folder: Path, path: Path | None = SOURCE) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_installs_in_a_new_environment(tmp_path):
    """The wheel is built from the working tree, installed without the training stack and used from another folder."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(
        SOURCE / "synthdrive", tmp_path / "src" / "synthdrive", ignore=shutil.ignore_patterns("__pycache__")
    )
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    run([*build, tmp_path / "wheels", tmp_path], tmp_path, None)
    (wheel,) = (tmp_path / "wheels").glob("synthdrive-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {"synthdrive/py.typed", "synthdrive/reporting/templates/report.html.j2"} <= inside
    assert {name.partition("/")[0].partition("-")[0] for name in inside} == {"synthdrive"}
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], tmp_path, None)
    # This environment provides the base dependencies; the script hides all other packages.
    (packages,) = (tmp_path / "venv" / "lib").glob("*/site-packages")
    (packages / "dependencies.pth").write_text(str(Path(np.__file__).parents[1]))
    script = IMPORT_ALL.format(heavy=HEAVY, modules=light_modules()) + "print(synthdrive.__file__)"
    printed = run([python, "-c", script], tmp_path, None).splitlines()
    assert Path(printed[-1]).is_relative_to(tmp_path / "venv")
    assert [line for line in printed if "is not installed" not in line] == printed[-1:]
