"""The stored result of a run, one small JSON file in git: the errors of every scene and the provenance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from studies.argoverse1_folds.plan import Plan, Run, groups
from synthdrive.core.artifacts import read_json, write_json
from synthdrive.core.errors import InputError
from synthdrive.core.provenance import values_hash

Floats = npt.NDArray[np.float64]

SCENES = "scenes.json"
CAPPED, FAR = "minFDE6 up to 2 m", "beyond 5 m"
PRIMARY = ("minFDE6", "MR6", "minADE6", CAPPED)  # metrics that are tested
CAP, LIMIT = 2.0, 5.0  # m, for CAPPED and FAR
STORED = ("minFDE6", "minADE6", "minFDE1", "minADE1")  # stored for every scene, in whole millimetres
MISSED = "MR6"  # stored for every scene, 0 or 1
MILLIMETRE = 1e-3


@dataclass(frozen=True)
class Result:
    """A run with its errors.

    Attributes:
        run: the run; recipe: its changes to the sections `finetune` and `model`.
        scenes: SHA-256 of the names of the evaluated scenes, in order.
        errors: metric -> (S,) errors: metres, or 0 and 1.
        cpu_seconds: by stage; windows and pre-training count for the run that made them.
        provenance: commit, whether files differed from it, code, parameters, inputs, packages, number of threads.
    """

    run: Run
    recipe: Mapping[str, Any]
    scenes: str
    errors: Mapping[str, Floats]
    cpu_seconds: Mapping[str, float]
    provenance: Mapping[str, Any]

    def metric(self, name: str) -> Floats:
        """Return a stored metric, (S,), or a derived one: minFDE6 capped at 2 m, whether it exceeds 5 m (0 or 1)."""
        if name == CAPPED:
            capped: Floats = np.minimum(self.errors["minFDE6"], CAP)
            return capped
        if name == FAR:
            return (self.errors["minFDE6"] > LIMIT).astype(np.float64)
        return self.errors[name]


def save_result(result: Result, folder: Path) -> Path:
    """Write `<folder>/<run>.json` and return its path."""
    run = result.run
    rows = {name: [round(value / MILLIMETRE) for value in result.errors[name].tolist()] for name in STORED}
    content = {
        "variant": run.variant,
        "percent": run.percent,
        "fold": run.fold,
        "repeat": run.repeat,
        "trial": run.trial,
        "recipe": dict(result.recipe),
        "scenes": result.scenes,
        "millimetres": {name: " ".join(map(str, values)) for name, values in rows.items()},
        "missed": "".join(str(int(value)) for value in result.errors[MISSED]),
        "cpu_seconds": {stage: round(seconds, 1) for stage, seconds in result.cpu_seconds.items()},
        "provenance": dict(result.provenance),
    }
    path = folder / f"{run.name}.json"
    write_json(path, content)
    return path


def load_result(path: Path) -> Result:
    """Read a file written by `save_result`.

    Raises:
        InputError: the file is missing or damaged, or its run used files that differ from their commit.
    """
    content = read_json(path)
    try:
        run = Run(*(content[key] for key in ("variant", "percent", "fold", "repeat", "trial")))
        rows = {name: np.array(content["millimetres"][name].split(), dtype=np.float64) * MILLIMETRE for name in STORED}
        rows[MISSED] = np.array([float(value) for value in content["missed"]])
        result = Result(run, content["recipe"], content["scenes"], rows, content["cpu_seconds"], content["provenance"])
        modified, sizes = result.provenance["modified"], {len(values) for values in rows.values()}
        plausible = all(np.isfinite(values).all() and values.min() >= 0 for values in rows.values())
        plausible = plausible and set(rows[MISSED]) <= {0.0, 1.0}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(path, f"{type(error).__name__}: {error}", "a result of this study") from None
    if run.name != path.stem or len(sizes) != 1:
        raise InputError(path, f"{run.name}, metrics of {sorted(sizes)} scenes", f"{path.stem}, one number of scenes")
    if not plausible:
        raise InputError(path, "an error that is not a finite number, or MR6 other than 0 and 1", "errors of scenes")
    if modified is not False:
        raise InputError(path, f"modified: {modified}", "false: results are made from committed files")
    return result


@dataclass(frozen=True)
class Results:
    """All results of a study.

    Attributes:
        runs: run -> result.
        scenes: columns scene, city, fold and block of all scenes, ordered by fold; empty before the first run.
    """

    runs: Mapping[Run, Result]
    scenes: Mapping[str, list[Any]]

    def of(self, variant: str, percent: int, plan: Plan) -> dict[int, list[Result]]:
        """Return, for each complete repeat, the results of its folds in order."""
        found = {}
        for repeat in range(plan.repeats):
            runs = [Run(variant, percent, fold, repeat) for fold in range(plan.folds)]
            if all(run in self.runs for run in runs):
                found[repeat] = [self.runs[run] for run in runs]
        return found


def load_results(folder: Path, plan: Plan) -> Results:
    """Read all results of a folder.

    Raises:
        InputError: a result is damaged, is not in the plan, or was evaluated on other scenes than those of its fold.
    """
    known = {run for group in groups(plan) for run in group}
    found = [load_result(path) for path in sorted(folder.glob("*.json")) if path.name != SCENES]
    for result in found:
        if result.run not in known:
            raise InputError(folder / f"{result.run.name}.json", "a run that is not in the plan", "a run of plan.yaml")
    scenes = read_json(folder / SCENES) if (folder / SCENES).is_file() else {}
    _check_scenes(found, scenes, folder, plan)
    return Results({result.run: result for result in found}, scenes)


def scenes_hash(names: Iterable[str]) -> str:
    """Return the SHA-256 of scene names in their order."""
    return values_hash(list(names))


def _check_scenes(results: Sequence[Result], scenes: Mapping[str, list[Any]], folder: Path, plan: Plan) -> None:
    if not results:
        return
    columns = [scenes.get(name) for name in ("scene", "city", "fold", "block")]
    if not all(isinstance(column, list) and len(column) == len(columns[0] or []) > 0 for column in columns):
        raise InputError(folder / SCENES, "missing, or not all columns", "scene, city, fold and block of every scene")
    names = {fold: [name for name, of in zip(scenes["scene"], scenes["fold"], strict=True) if of == fold]
             for fold in range(plan.folds)}  # fmt: skip
    hashes = {fold: scenes_hash(each) for fold, each in names.items()}
    for result in results:
        inner = result.run.inner(plan.folds)
        fold = result.run.fold if inner is None else inner
        if result.scenes != hashes[fold] or len(result.errors[MISSED]) != len(names[fold]):
            raise InputError(folder / f"{result.run.name}.json", "other scenes", f"those of fold {fold} in {SCENES}")
