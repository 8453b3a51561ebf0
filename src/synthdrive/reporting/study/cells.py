"""Cells of a study in a small readable form: kept in git, they outlive the machine that trained them.

One JSON file a cell holds the errors of every validation scene, what pre-training did to the encoder, and the run
records. From these files alone the study's tables and charts are made, so a study may grow over many sittings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.config.whole_file import changed_parameters
from synthdrive.core.artifacts import file_hash, read_json, write_json
from synthdrive.core.errors import InputError
from synthdrive.core.provenance import values_hash
from synthdrive.forecasting.evaluate import load_scene_errors, load_scene_strata
from synthdrive.forecasting.forecasts import load_forecast_card
from synthdrive.reporting.metric_names import HEADLINE, ONE_GUESS, metric
from synthdrive.reporting.run_outputs import curves_of
from synthdrive.training.metadata import load_metadata

Floats = npt.NDArray[np.float64]

METRICS = (*HEADLINE, "brier_minFDE6", *ONE_GUESS)  # that a cell keeps of every scene
DIGITS = 4  # of a metre
LEARNING = ("loss", "top1_fde")  # columns of the training curve that a cell keeps
_RECORD = ("commit", "modified", "code", "parameters_sha256", "inputs", "python", "packages", "device")


@dataclass(frozen=True)
class StudyCell:
    """One variant trained with one seed, or a baseline that needs no training, and how well it forecasts.

    Attributes:
        variant, seed: which; seed is None for a baseline.
        description: of the variant.
        scenes: SHA-256 of the validation scenes' names, in order.
        errors: metric name -> (S,) in the shown unit.
        strata: stratum -> S characters, 1 where the scene belongs to it, else 0.
        learning: fine-tuning's curve, a value an epoch: loss, and top1_fde in metres; empty for a baseline.
        pretraining: epochs, windows and what became of the encoder; empty where nothing was pre-trained.
        finetuning: epochs, scenes, how many tensors were loaded, loss of the last epoch; empty for a baseline.
        runs: the run records in short: of pretrain and finetune where there were such, and of evaluate.
    """

    variant: str
    seed: int | None
    description: str
    scenes: str
    errors: Mapping[str, Floats]
    strata: Mapping[str, str]
    learning: Mapping[str, list[float]]
    pretraining: Mapping[str, Any]
    finetuning: Mapping[str, Any]
    runs: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """The cell as the pipeline names it."""
        return self.variant if self.seed is None else f"{self.variant}-{self.seed}"

    @property
    def means(self) -> dict[str, float]:
        """Metric name -> its mean over the scenes, in the shown unit."""
        return {name: round(float(values.mean()), 6) for name, values in self.errors.items()}

    @property
    def commit(self) -> str:
        """The commit that trained it, with a + where the sources differed from it."""
        run = self.runs.get("finetune", self.runs["evaluate"])
        return str(run.get("commit") or "unknown")[:8] + ("+" if run.get("modified") else "")


@dataclass(frozen=True)
class StudyCells:
    """All cells of a study, on the same scenes.

    Attributes:
        variants: variant -> seed -> cell.
        baselines: name -> cell.
    """

    variants: Mapping[str, Mapping[int, StudyCell]]
    baselines: Mapping[str, StudyCell]

    def __iter__(self) -> Any:
        """Baselines, then every cell of every variant."""
        yield from self.baselines.values()
        for seeds in self.variants.values():
            yield from seeds.values()

    @property
    def scene_count(self) -> int:
        """S, 0 where there is no cell."""
        return next((len(cell.errors[HEADLINE[0]]) for cell in self), 0)

    def paired_errors(self, variants: Sequence[str], name: str) -> tuple[list[int], list[Floats]]:
        """The seeds that all these variants have, and for each variant (R, S) errors of one metric in the shown unit."""
        seeds = (
            sorted(set.intersection(*(set(self.variants.get(variant, {})) for variant in variants))) if variants else []
        )
        return seeds, [np.array([self.variants[variant][seed].errors[name] for seed in seeds]) for variant in variants]


def collect_cell(
    pretrained: Path, finetuned: Path, forecasts: Path, parameters: Path, synthetic: Path | None = None
) -> StudyCell:
    """A cell from what the stages left.

    Args:
        pretrained, finetuned, forecasts: the cell's own folders.
        parameters: the file that the stages read; a cell that was made with others is another experiment's.
        synthetic: store of the windows, likewise; not compared where absent.

    Raises:
        InputError: one of them is missing or damaged, or was made with other parameters or windows.
    """
    cards = {"pretrain": load_metadata(pretrained), "finetune": load_metadata(finetuned)}
    cards["evaluate"] = load_forecast_card(forecasts)
    for folder, card in zip((pretrained, finetuned, forecasts), cards.values(), strict=True):
        for section, key, then, now in changed_parameters(card, parameters):
            raise InputError(folder, f"made with {section}.{key} {then}", f"{now}, as in {parameters}")
    before, after = cards["pretrain"], cards["finetune"]
    windows = before.get("run", {}).get("inputs", {}).get("synthetic")
    if windows is not None and synthetic is not None and windows != file_hash(synthetic):
        raise InputError(pretrained, f"made from windows {windows[:8]}", f"those of {synthetic}: train it again")
    return StudyCell(
        variant=after["variant"],
        seed=after["seed"],
        description=after["description"],
        learning=_learning(finetuned),
        pretraining=_training(before, "windows") if before.get("pretrained") else {},
        finetuning=_training(after, "scenes")
        | {"loaded": len(after["transfer"]["loaded"]), "fresh": len(after["transfer"]["fresh"])},
        runs={stage: _short(card["run"]) for stage, card in cards.items() if "run" in card},
        **_judged(forecasts),
    )


def collect_baseline(forecasts: Path) -> StudyCell:
    """A baseline's cell from what `evaluate_baselines` left."""
    card = load_forecast_card(forecasts)
    return StudyCell(
        variant=card["variant"],
        seed=None,
        description="",
        learning={},
        pretraining={},
        finetuning={},
        runs={"evaluate": _short(card["run"])},
        **_judged(forecasts),
    )


def save_cell(cell: StudyCell, folder: Path) -> Path:
    """Write `<folder>/<variant>-<seed>.json`; returns its path.

    Raises:
        InputError: the cells that are there were judged on other scenes.
    """
    for other in sorted(Path(folder).glob("*.json"))[:1]:
        if read_json(other).get("scenes") != cell.scenes:
            raise InputError(f"{cell.name}", "errors on other scenes", f"those of {other}")
    path = folder / f"{cell.name}.json"
    errors = {name: " ".join(f"{value:.{DIGITS}f}".rstrip("0").rstrip(".") for value in values)
              for name, values in cell.errors.items()}  # fmt: skip
    write_json(path, {**vars(cell), "errors": errors})
    return path


def load_cells(folder: Path) -> StudyCells:
    """Every cell of a folder.

    Raises:
        InputError: a file is none of `save_cell`'s, or its scenes, or how goals were chosen, are not the others'.
    """
    variants: dict[str, dict[int, StudyCell]] = {}
    baselines: dict[str, StudyCell] = {}
    first: StudyCell | None = None
    for path in sorted(Path(folder).glob("*.json")):
        content = read_json(path)
        try:
            errors = {name: np.array(content["errors"][name].split(), dtype=np.float64) for name in METRICS}
            cell = StudyCell(**{**content, "errors": errors})
            judged = cell.runs["evaluate"]["parameters_sha256"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(path, f"no cell of a study ({error})", "a file written by `stages/study.py`") from None
        first = first or cell
        if cell.scenes != first.scenes:
            raise InputError(path, "errors on other scenes", f"those of {first.name}")
        if judged != first.runs["evaluate"]["parameters_sha256"]:
            raise InputError(path, "other parameters of evaluate", f"those of {first.name}")
        if cell.seed is None:
            baselines[cell.variant] = cell
        else:
            variants.setdefault(cell.variant, {})[cell.seed] = cell
    return StudyCells(variants, baselines)


def _judged(forecasts: Path) -> dict[str, Any]:
    """Scenes, errors and strata of a folder of forecasts."""
    scene_ids, errors = load_scene_errors(forecasts)
    return {
        "scenes": values_hash(scene_ids),
        "errors": {name: errors[name] * metric(name).scale for name in METRICS},
        "strata": {
            name: "".join("01"[int(value)] for value in inside) for name, inside in load_scene_strata(forecasts).items()
        },
    }


def _short(run: Mapping[str, Any]) -> dict[str, Any]:
    return {key: run[key] for key in _RECORD}


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
