"""Test of the study of folds from raw data to results, with a few recorded scenes, small networks and one epoch."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from repository import PARAMS, REPOSITORY
from studies.argoverse1_folds.execute import make_executor
from studies.argoverse1_folds.plan import BASELINE, Plan, Run, load_plan
from studies.argoverse1_folds.results import SCENES, load_results, save_result
from studies.argoverse1_folds.stores import Stores
from synthdrive.config.whole_file import compose
from synthdrive.core.artifacts import atomic_directory, read_json, write_json
from synthdrive.core.parameters import read_parameters
from synthdrive.ingestion.scene_subsets import write_scenes
from synthdrive.scenes.scene_store import SceneStore

EVERY = 15  # every 15th scene is used


def tiny_plan() -> Plan:
    """Three folds, one repeat, two variants, two recipes of one epoch each."""
    plan = load_plan(REPOSITORY / "studies" / "argoverse1_folds" / "plan.yaml")
    plan.folds, plan.repeats, plan.percents = 3, 1, [30, 100]
    plan.variants = {name: plan.variants[name] for name in ("scratch", "forecast_realistic")}
    for recipes in plan.recipes.values():
        for size in recipes:
            recipes[size] = recipes[size][:2] if size == "few" else recipes[size][:1]
            for recipe in recipes[size]:
                recipe.finetune["epochs"] = 1
    return plan


@pytest.mark.slow
@pytest.mark.timeout(1200)  # takes about a minute on an idle core
@pytest.mark.reference
def test_from_raw_data_to_results(reference: Path, tmp_path: Path) -> None:
    raw = reference / "argoverse1"
    if not raw.is_dir():
        pytest.skip(f"no {raw}")
    profile = REPOSITORY / "profiles" / "argoverse1-folds.yaml"
    parameters = compose(read_parameters(PARAMS), profile)
    parameters["augment"]["routes"]["per_city"] = 6
    parameters["model"] |= {"hidden_size": 32, "sub_graph_layers": 1, "goal_spacing": 2.0, "dense_from_goals": 40}
    parameters["evaluate"]["num_restarts"] = 8
    parameters["pretrain"]["epochs"] = 1
    stores = Stores(tmp_path / "work", parameters, tiny_plan())
    stores.make_shared(raw)
    store = SceneStore.load(tmp_path / "work" / "all")
    with atomic_directory(tmp_path / "work" / "few") as partial:
        write_scenes(store, np.arange(0, len(store), EVERY), partial)
    shutil.rmtree(tmp_path / "work" / "all")
    (tmp_path / "work" / "few").rename(tmp_path / "work" / "all")
    folder = tmp_path / "results"
    write_json(folder / SCENES, stores.describe_scenes())

    executor = make_executor(stores)
    recipe = stores.plan.recipes["whole"]["few"][0]
    runs = [Run(BASELINE, 0, 0), Run("forecast_realistic", 30, 0, 0, 0), Run("forecast_realistic", 0, 0),
            Run("forecast_realistic", 30, 0), Run("scratch", 30, 0)]  # fmt: skip
    for run in runs:
        result = executor.make(run, recipe if run.percent else None)
        committed = dict(result.provenance) | {"modified": False}  # the test may run on uncommitted files
        save_result(dataclasses.replace(result, provenance=committed), folder)
    found = load_results(folder, stores.plan).runs
    assert set(found) == set(runs)

    everything = SceneStore.load(tmp_path / "work" / "all").scene_ids
    judged = [
        name for fold in range(3) for name in load(stores.make_scenes(Run(BASELINE, 0, fold)) / "judged").scene_ids
    ]
    assert judged == read_json(folder / SCENES)["scene"]
    assert sorted(judged) == sorted(everything)
    for name in ("0", "0-inner"):
        train, away = (load(tmp_path / "work" / name / part) for part in ("train", "away"))
        windows = load(tmp_path / "work" / name / "realistic-0")
        for city in ("MIA", "PIT"):
            places = [part.origins[np.array(part.cities) == city] for part in (away, train)]
            assert distances(places[0], places[1]).min() >= 100.0
            original = (np.array(windows.cities) == city) & (
                np.array(windows.manifest["source"].to_pylist()) == "original"
            )
            assert distances(places[0], windows.origins[original]).min() >= 149.0  # a window's position includes noise
        assert sum(read_json(tmp_path / "work" / name / "realistic-0" / "summary.json")["excluded"].values()) > 0
    outer, inner = (load(tmp_path / "work" / name / "train").scene_ids for name in ("0", "0-inner"))
    assert not set(inner) & {*load(tmp_path / "work" / "0" / "judged").scene_ids}
    assert set(inner) < set(outer)

    trial, zero, some, scratch = (found[run] for run in runs[1:])
    assert zero.provenance["inputs"]["pretrain"] == some.provenance["inputs"]["pretrain"]
    assert zero.provenance["inputs"]["pretrain"] != trial.provenance["inputs"]["pretrain"]
    assert "pretrain" not in some.cpu_seconds  # pre-training is shared
    assert zero.provenance["train_scenes"] == 0
    assert some.provenance["train_scenes"] == scratch.provenance["train_scenes"] > 0
    assert not np.array_equal(zero.errors["minFDE6"], some.errors["minFDE6"])


def load(folder: Path) -> SceneStore:
    return SceneStore.load(folder)


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.hypot(*(first[:, None] - second[None]).T)
