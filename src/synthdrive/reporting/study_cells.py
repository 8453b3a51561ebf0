"""Cells of a study in a small readable form: kept in git, they outlive the machine that trained them.

One JSON file a cell holds the errors of every validation scene, what pre-training did to the encoder, and the run
record. From these files alone the study's tables and charts are made, so a study may grow over many sittings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.artifacts import read_json, write_json
from synthdrive.errors import InputError
from synthdrive.forecasting.evaluate import load_scene_errors, load_scene_strata
from synthdrive.forecasting.forecasts import load_forecast_card
from synthdrive.reporting.metric_names import HEADLINE, metric
from synthdrive.reporting.run_outputs import curves_of
from synthdrive.run_record import values_hash
from synthdrive.training.cards import load_card

Floats = npt.NDArray[np.float64]

DIGITS = 4  # of a metre
LEARNING = ("loss", "top1_fde")  # columns of the training curve that a cell keeps
_RECORD = ("commit", "modified", "parameters_sha256", "inputs", "python", "packages", "device")


@dataclass(frozen=True)
class StudyCell:
    """One arm trained with one seed, and how well it forecasts.

    Attributes:
        arm, seed: which.
        description: of the arm.
        scenes: SHA-256 of the validation scenes' names, in order.
        errors: metric name -> (S,) in the shown unit.
        strata: stratum -> S characters, 1 where the scene belongs to it, else 0.
        learning: fine-tuning's curve, a value an epoch: loss, and top1_fde in metres.
        pretraining: epochs, windows and what became of the encoder; empty where nothing was pre-trained.
        finetuning: epochs, scenes, how many tensors were loaded, loss of the last epoch.
        run: the run record of the fine-tuning, in short.
    """

    arm: str
    seed: int
    description: str
    scenes: str
    errors: Mapping[str, Floats]
    strata: Mapping[str, str]
    learning: Mapping[str, list[float]]
    pretraining: Mapping[str, Any]
    finetuning: Mapping[str, Any]
    run: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The cell as the pipeline names it."""
        return f"{self.arm}-{self.seed}"


def collect_cell(pretrained: Path, finetuned: Path, forecasts: Path) -> StudyCell:
    """A cell from what the stages left.

    Args:
        pretrained, finetuned, forecasts: the cell's own folders.

    Raises:
        InputError: one of them is missing or damaged.
    """
    before, after, judged = load_card(pretrained), load_card(finetuned), load_forecast_card(forecasts)
    scene_ids, errors = load_scene_errors(forecasts)
    strata = load_scene_strata(forecasts)
    used = judged["run"]["parameters"]["evaluate"]
    return StudyCell(
        arm=after["arm"],
        seed=after["seed"],
        description=after["description"],
        scenes=values_hash(scene_ids),
        errors={name: errors[name] * metric(name).scale for name in HEADLINE},
        strata={name: "".join("01"[int(value)] for value in inside) for name, inside in strata.items()},
        learning=_learning(finetuned),
        pretraining=_training(before, "windows") if before.get("pretrained") else {},
        finetuning=_training(after, "scenes")
        | {"loaded": len(after["transfer"]["loaded"]), "fresh": len(after["transfer"]["fresh"])},
        run={key: after["run"][key] for key in _RECORD} | {"selection": used["selection"], "starts": used["starts"]},
    )


def save_cell(cell: StudyCell, folder: Path) -> Path:
    """Write `<folder>/<arm>-<seed>.json`; returns its path."""
    path = folder / f"{cell.name}.json"
    errors = {name: [round(float(value), DIGITS) for value in values] for name, values in cell.errors.items()}
    write_json(path, {**vars(cell), "errors": errors})
    return path


def load_cells(folder: Path) -> dict[str, dict[int, StudyCell]]:
    """Every cell of a folder: arm -> seed -> cell.

    Raises:
        InputError: a file is none of `save_cell`'s, or its scenes are not those of the others.
    """
    cells: dict[str, dict[int, StudyCell]] = {}
    first: StudyCell | None = None
    for path in sorted(Path(folder).glob("*.json")):
        content = read_json(path)
        try:
            errors = {name: np.array(content["errors"][name], dtype=np.float64) for name in HEADLINE}
            cell = StudyCell(**{**content, "errors": errors})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(path, f"no cell of a study ({error})", "a file written by `stages/study.py`") from None
        first = first or cell
        if cell.scenes != first.scenes:
            raise InputError(path, "errors on other scenes", f"those of {first.name}")
        cells.setdefault(cell.arm, {})[cell.seed] = cell
    return cells


def paired_errors(
    cells: Mapping[str, Mapping[int, StudyCell]], arms: Sequence[str], name: str
) -> tuple[list[int], list[Floats]]:
    """The seeds that all these arms have, and for each arm (R, S) errors of one metric in the shown unit."""
    seeds = sorted(set.intersection(*(set(cells.get(arm, {})) for arm in arms)))
    return seeds, [np.array([cells[arm][seed].errors[name] for seed in seeds]) for arm in arms]


def _learning(finetuned: Path) -> dict[str, list[float]]:
    (curve,) = curves_of(finetuned.parent, [finetuned.name])
    epoch = np.ceil(curve["epoch"] - 1e-6)
    return {
        name: [round(float(curve[name][epoch == number].mean()), DIGITS) for number in np.unique(epoch)]
        for name in LEARNING
    }


def _training(card: Mapping[str, Any], items: str) -> dict[str, Any]:
    encoder, training = card["encoder"], card["training"]
    return {
        items: card["data"]["used"],
        "epochs": training["epochs"],
        "steps": training["steps"],
        "batch": training["batch"],
        "last_epoch": {name: round(value, 5) for name, value in card["last_epoch"].items()},
        "encoder": {
            "tensors": encoder["tensors"],
            "tensors_moved": encoder["tensors_moved"],
            "relative_change": round(encoder["relative_change"], 6),
            "gradient_norm_per_epoch": [round(value, 6) for value in encoder["gradient_norm_per_epoch"]],
        },
        "same_as": card.get("same_as"),
    }
