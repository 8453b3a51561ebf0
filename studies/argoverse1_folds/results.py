"""What is kept of every run: one small JSON file in git, the errors of each scene and how it came about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
CAP, LIMIT = 2.0, 5.0  # m
STORED = ("minFDE6", "minADE6", "minFDE1", "minADE1")  # of every scene, in whole millimetres
MISSED = "MR6"  # of every scene, 0 or 1
MILLIMETRE = 1e-3


@dataclass(frozen=True)
class Result:
    """A run and how well it forecasts.

    Attributes:
        run: which; recipe: what it changed of fine-tuning.
        scenes: SHA-256 of the names of the scenes that judged it, in order.
        errors: metric -> (S,): metres, or 0 and 1.
        cpu_seconds: by stage; of data and pre-training, what this run made of them.
        provenance: commit, whether files differed from it, code, parameters, inputs, packages, device.
    """

    run: Run
    recipe: Mapping[str, Any]
    scenes: str
    errors: Mapping[str, Floats]
    cpu_seconds: Mapping[str, float]
    provenance: Mapping[str, Any]

    def metric(self, name: str) -> Floats:
        """(S,) a stored metric, or one that follows: minFDE6 up to 2 m (m), the scenes beyond 5 m (0 or 1)."""
        if name == CAPPED:
            capped: Floats = np.minimum(self.errors["minFDE6"], CAP)
            return capped
        if name == FAR:
            return (self.errors["minFDE6"] > LIMIT).astype(np.float64)
        return self.errors[name]


def save_result(result: Result, folder: Path) -> Path:
    """Write `<folder>/<run>.json`; returns the file."""
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
    """Read what `save_result` wrote.

    Raises:
        InputError: the file is missing or damaged, or was made from files that differ from their commit.
    """
    content = read_json(path)
    try:
        run = Run(*(content[key] for key in ("variant", "percent", "fold", "repeat", "trial")))
        rows = {name: np.array(content["millimetres"][name].split(), dtype=np.float64) * MILLIMETRE for name in STORED}
        rows[MISSED] = np.array([float(value) for value in content["missed"]])
        result = Result(run, content["recipe"], content["scenes"], rows, content["cpu_seconds"], content["provenance"])
        modified, sizes = result.provenance["modified"], {len(values) for values in rows.values()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(path, f"{type(error).__name__}: {error}", "a result of this study") from None
    if run.name != path.stem or len(sizes) != 1:
        raise InputError(path, f"{run.name}, metrics of {sorted(sizes)} scenes", f"{path.stem}, all of one length")
    if modified is not False:
        raise InputError(path, f"modified: {modified}", "false: results are made from committed files")
    return result


@dataclass(frozen=True)
class Results:
    """All results of a study.

    Attributes:
        runs: by run.
        scenes: name, city, fold and block of every scene, in the order of the folds; empty before the first run.
    """

    runs: Mapping[Run, Result]
    scenes: Mapping[str, list[Any]]

    def of(self, variant: str, percent: int, plan: Plan) -> dict[int, list[Result]]:
        """Repeat -> the results of its folds in order, of the repeats that are whole."""
        found = {}
        for repeat in range(plan.repeats):
            runs = [Run(variant, percent, fold, repeat) for fold in range(plan.folds)]
            if all(run in self.runs for run in runs):
                found[repeat] = [self.runs[run] for run in runs]
        return found


def load_results(folder: Path, plan: Plan) -> Results:
    """Every result of a folder.

    Raises:
        InputError: one is damaged, is none of the plan's, or was judged by other scenes than the others of its fold.
    """
    known = {run for group in groups(plan) for run in group}
    found = [load_result(path) for path in sorted(folder.glob("*.json")) if path.name != SCENES]
    for result in found:
        if result.run not in known:
            raise InputError(folder / f"{result.run.name}.json", "a run that is not in the plan", "one of the plan's")
    scenes = read_json(folder / SCENES) if (folder / SCENES).is_file() else {}
    _check_scenes(found, scenes, folder, plan)
    return Results({result.run: result for result in found}, scenes)


def scenes_hash(names: Iterable[str]) -> str:
    """SHA-256 of scene names in order."""
    return values_hash(list(names))


def _check_scenes(results: Iterable[Result], scenes: Mapping[str, list[Any]], folder: Path, plan: Plan) -> None:
    hashes = {}
    for fold in range(plan.folds):
        names = [name for name, of in zip(scenes.get("scene", []), scenes.get("fold", []), strict=True) if of == fold]
        hashes[fold] = scenes_hash(names)
    for result in results:
        inner = result.run.inner(plan.folds)
        fold = result.run.fold if inner is None else inner
        if result.scenes != hashes[fold]:
            raise InputError(folder / f"{result.run.name}.json", "other scenes", f"those of fold {fold} in {SCENES}")
