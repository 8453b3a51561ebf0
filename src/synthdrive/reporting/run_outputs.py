"""What a run of the pipeline left on disk: the one place that knows where the report finds it and in which form."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.core.artifacts import read_json
from synthdrive.core.errors import InputError
from synthdrive.forecasting.evaluate import STRATA, load_scene_errors
from synthdrive.forecasting.forecasts import load_forecast_card
from synthdrive.reporting.measurements import VariantErrors
from synthdrive.reporting.metric_names import HEADLINE, metric
from synthdrive.training.metadata import CURVE, MODEL, load_metadata

Floats = npt.NDArray[np.float64]

AGREE = 2e-6  # metrics files are rounded to 1e-6: what is recomputed from the scenes must not differ by more


@dataclass(frozen=True)
class RunPaths:
    """Where the artifacts are.

    Attributes:
        maps, augmented, synthetic, train, val: of the data stages.
        pretrained, finetuned, forecasts, metrics: folders with one entry a cell (`<variant>-<seed>`) or baseline.
        checks: folder of the gates' results.
    """

    maps: Path = Path("data/maps")
    augmented: Path = Path("data/augmented")
    synthetic: Path = Path("data/synthetic")
    train: Path = Path("data/scenes/train")
    val: Path = Path("data/scenes/val")
    pretrained: Path = Path("models/pretrained")
    finetuned: Path = Path("models/finetuned")
    forecasts: Path = Path("forecasts")
    metrics: Path = Path("metrics")
    checks: Path = Path("data/checks")

    def cells(self, variant: str, seeds: Sequence[int]) -> list[str]:
        """Names of a variant's cells."""
        return [f"{variant}-{seed}" for seed in seeds]


def variant_errors(paths: RunPaths, variant: str, seeds: Sequence[int], scene_ids: Sequence[str]) -> VariantErrors:
    """Errors of one variant; without seeds, of the baseline of that name.

    Raises:
        InputError: errors and metrics file disagree, or the errors are of other scenes.
    """
    names = paths.cells(variant, seeds) if seeds else [variant]
    runs = [_errors(paths, name, scene_ids) for name in names]
    shown = {name: metric(name) for name in runs[0]}
    scenes = {name: np.stack([run[name] for run in runs]) * shown[name].scale for name in shown}
    return VariantErrors(variant, tuple(seeds), scenes, {name: values.mean(axis=1) for name, values in scenes.items()})


def strata_of(paths: RunPaths, name: str) -> dict[str, dict[str, Any]]:
    """Metrics by stratum of one cell or baseline, in stored units, as evaluation wrote them."""
    strata: dict[str, dict[str, Any]] = read_json(paths.forecasts / name / STRATA)
    return strata


def curves_of(folder: Path, cells: Sequence[str]) -> list[dict[str, Floats]]:
    """Training curves of these cells; one that was not trained has none and is left out."""
    return [_read_curve(folder / cell / CURVE) for cell in cells if (folder / cell / CURVE).is_file()]


def cards_of(paths: RunPaths, cell: str) -> dict[str, dict[str, Any]]:
    """The cards of a cell by stage: pretrain, finetune, evaluate."""
    return {
        "pretrain": load_metadata(paths.pretrained / cell),
        "finetune": load_metadata(paths.finetuned / cell),
        "evaluate": load_forecast_card(paths.forecasts / cell),
    }


def has_model(folder: Path, cell: str) -> bool:
    """Whether the cell has a trained network in this folder."""
    return (folder / cell / MODEL).is_file()


def gate_results(paths: RunPaths) -> dict[str, Mapping[str, Any]]:
    """Checkpoint descriptions of the gates, by their name (raw, synthetic)."""
    return {name: read_json(paths.checks / f"{name}.json") for name in ("raw", "synthetic")}


def _errors(paths: RunPaths, name: str, scene_ids: Sequence[str]) -> dict[str, Floats]:
    found, errors = load_scene_errors(paths.forecasts / name)
    if found != list(scene_ids):
        where = paths.forecasts / name
        raise InputError(where, f"errors of {len(found)} other scenes", f"the {len(scene_ids)} validation scenes",
                         "Evaluate again.")  # fmt: skip
    file = paths.metrics / f"{name}.json"
    stated = read_json(file)
    for entry in HEADLINE:
        value = stated.get(entry) if isinstance(stated, dict) else None
        mean = float(errors[entry].mean())
        if not isinstance(value, (int, float)) or abs(value - mean) > AGREE:
            raise InputError(
                f"{file}: {entry}", str(value), f"{mean:.6f}, the mean of {paths.forecasts / name}", "Evaluate again."
            )
    return errors


def _read_curve(path: Path) -> dict[str, Floats]:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    try:
        return {name: np.array([float(row[name]) for row in rows]) for name in (rows[0] if rows else ())}
    except (TypeError, ValueError) as error:
        raise InputError(path, f"a value that is no number ({error})", "a training curve") from None
