"""Runs of the first study as small JSON files in git, independent of the machine that trained them.

The file of a run contains its errors in every validation scene, how pre-training changed the encoder, and the
provenance. All tables and charts are made from these files alone, so runs can be added at any time.
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
from synthdrive.core.provenance import PROVENANCE, load_provenance, values_hash
from synthdrive.forecasting.evaluate import load_scene_errors, load_scene_strata
from synthdrive.forecasting.forecasts import load_forecast_metadata
from synthdrive.reporting.run_results import curves_of
from synthdrive.reporting.wording import HEADLINE, ONE_GUESS, metric
from synthdrive.training.checkpoints import load_metadata

Floats = npt.NDArray[np.float64]

METRICS = (*HEADLINE, "brier_minFDE6", *ONE_GUESS)  # metrics that a run stores for every scene
DIGITS = 4  # digits after the point of stored errors
LEARNING = ("loss", "top1_fde")  # columns of the training curve that a run stores
_KEPT = ("commit", "modified", "code", "parameters_sha256", "inputs", "python", "packages", "device")


@dataclass(frozen=True)
class StudyRun:
    """Errors and records of one variant trained with one seed, or of a baseline that needs no training.

    Attributes:
        variant, seed: its variant and seed; the seed of a baseline is None.
        description: description of the variant.
        scenes: SHA-256 of the names of the validation scenes, in order.
        errors: metric name -> (S,) errors, in the unit shown.
        strata: kind of scene -> S characters, 1 if the scene is of this kind, otherwise 0.
        learning: learning curve of fine-tuning, one value per epoch: loss, and top1_fde in m; empty for a baseline.
        pretraining: epochs, windows and changes of the encoder; empty without pre-training.
        finetuning: epochs, scenes, number of loaded tensors, loss of the last epoch; empty for a baseline.
        provenance: short provenance of evaluate and, if they were run, of pretrain and finetune.
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
    provenance: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """Return the name of the run in the pipeline."""
        return self.variant if self.seed is None else f"{self.variant}-{self.seed}"

    @property
    def means(self) -> dict[str, float]:
        """Return metric name -> mean over the scenes, in the unit shown."""
        return {name: round(float(values.mean()), 6) for name, values in self.errors.items()}

    @property
    def commit(self) -> str:
        """Return the commit with which it was trained, with a + if the sources differed from the commit."""
        run = self.provenance.get("finetune", self.provenance["evaluate"])
        return str(run.get("commit") or "unknown")[:8] + ("+" if run.get("modified") else "")


@dataclass(frozen=True)
class StudyRuns:
    """All runs on the same scenes.

    Attributes:
        variants: variant -> seed -> run.
        baselines: name -> run.
    """

    variants: Mapping[str, Mapping[int, StudyRun]]
    baselines: Mapping[str, StudyRun]

    def __iter__(self) -> Any:
        """Iterate over the baselines, then over all runs of all variants."""
        yield from self.baselines.values()
        for seeds in self.variants.values():
            yield from seeds.values()

    @property
    def scene_count(self) -> int:
        """Return the number of scenes S; 0 without runs."""
        return next((len(run.errors[HEADLINE[0]]) for run in self), 0)

    def paired_errors(self, variants: Sequence[str], name: str) -> tuple[list[int], list[Floats]]:
        """Return the seeds common to these variants and, for each variant, its (R, S) errors in one metric."""
        each = [set(self.variants.get(variant, {})) for variant in variants]
        seeds = sorted(set.intersection(*each)) if each else []
        return seeds, [np.array([self.variants[variant][seed].errors[name] for seed in seeds]) for variant in variants]


def collect_run(
    pretrained: Path,
    finetuned: Path,
    forecasts: Path,
    parameters: Path,
    synthetic: Path | None = None,
    provenance: Path = PROVENANCE,
) -> StudyRun:
    """Collect a run from the outputs of the stages.

    Args:
        pretrained, finetuned, forecasts: folders of the run; several variants may share the first one.
        parameters: parameter file of the stages; a run made with other parameters is refused.
        synthetic: store of the synthetic windows; a run made with other windows is refused. None: not checked.
        provenance: folder with the provenance of the stages; a run without provenance is collected too.

    Raises:
        InputError: an output is missing or damaged, or was made with other parameters or windows.
    """
    metadata = {"finetune": load_metadata(finetuned), "evaluate": load_forecast_metadata(forecasts)}
    after = metadata["finetune"]
    if after["pretrained"]["trained"]:
        metadata["pretrain"] = load_metadata(pretrained)
    folders = {"pretrain": pretrained, "finetune": finetuned, "evaluate": forecasts}
    for stage, one in metadata.items():
        for section, key, then, now in changed_parameters(one, parameters):
            raise InputError(folders[stage], f"made with {section}.{key} {then}", f"{now}, as in {parameters}")
    made = {stage: load_provenance(provenance, stage, folders[stage].name).get("made_by", {}) for stage in metadata}
    windows = made.get("pretrain", {}).get("inputs", {}).get("synthetic")
    if windows is not None and synthetic is not None and windows != file_hash(synthetic):
        raise InputError(pretrained, f"made from windows {windows[:8]}", f"those of {synthetic}: train it again")
    return StudyRun(
        variant=after["variant"],
        seed=after["seed"],
        description=after["description"],
        learning=_learning(finetuned),
        pretraining=_training(metadata["pretrain"], "windows") if "pretrain" in metadata else {},
        finetuning=_training(after, "scenes")
        | {"loaded": len(after["transfer"]["loaded"]), "fresh": len(after["transfer"]["fresh"])},
        provenance={stage: _short(record) for stage, record in made.items() if record},
        **_evaluated(forecasts),
    )


def collect_baseline(forecasts: Path) -> StudyRun:
    """Collect the run of a baseline from the outputs of `evaluate_baselines`."""
    card = load_forecast_metadata(forecasts)
    return StudyRun(
        variant=card["variant"],
        seed=None,
        description="",
        learning={},
        pretraining={},
        finetuning={},
        provenance={"evaluate": _short({"parameters_sha256": values_hash(card["parameters"])})},
        **_evaluated(forecasts),
    )


def save_run(run: StudyRun, folder: Path) -> Path:
    """Write `<folder>/<variant>-<seed>.json` and return its path.

    Raises:
        InputError: the runs in the folder were evaluated on other scenes.
    """
    for other in sorted(Path(folder).glob("*.json"))[:1]:
        if read_json(other).get("scenes") != run.scenes:
            raise InputError(f"{run.name}", "errors on other scenes", f"those of {other}")
    path = folder / f"{run.name}.json"
    errors = {name: " ".join(f"{value:.{DIGITS}f}".rstrip("0").rstrip(".") for value in values)
              for name, values in run.errors.items()}  # fmt: skip
    write_json(path, {**vars(run), "errors": errors})
    return path


def load_runs(folder: Path) -> StudyRuns:
    """Load all runs of a folder.

    Raises:
        InputError: a file was not written by `save_run`, or its scenes or `evaluate` parameters differ from the others.
    """
    variants: dict[str, dict[int, StudyRun]] = {}
    baselines: dict[str, StudyRun] = {}
    first: StudyRun | None = None
    for path in sorted(Path(folder).glob("*.json")):
        content = read_json(path)
        try:
            errors = {name: np.array(content["errors"][name].split(), dtype=np.float64) for name in METRICS}
            run = StudyRun(**{**content, "errors": errors})
            evaluated_with = run.provenance["evaluate"]["parameters_sha256"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(path, f"not a run of this study ({error})", "a file written by save_run") from None
        first = first or run
        if run.scenes != first.scenes:
            raise InputError(path, "errors on other scenes", f"those of {first.name}")
        if evaluated_with != first.provenance["evaluate"]["parameters_sha256"]:
            raise InputError(path, "other parameters of evaluate", f"those of {first.name}")
        if run.seed is None:
            baselines[run.variant] = run
        else:
            variants.setdefault(run.variant, {})[run.seed] = run
    return StudyRuns(variants, baselines)


def _evaluated(forecasts: Path) -> dict[str, Any]:
    """Return the scenes, errors and strata of a folder of forecasts."""
    scene_ids, errors = load_scene_errors(forecasts)
    return {
        "scenes": values_hash(scene_ids),
        "errors": {name: errors[name] * metric(name).scale for name in METRICS},
        "strata": {
            name: "".join("01"[int(value)] for value in inside) for name, inside in load_scene_strata(forecasts).items()
        },
    }


def _short(run: Mapping[str, Any]) -> dict[str, Any]:
    return {key: run[key] for key in _KEPT if key in run}


def _learning(finetuned: Path) -> dict[str, list[float]]:
    curve = curves_of(finetuned.parent, [finetuned.name])[finetuned.name]
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
        "global_batch_size": training["global_batch_size"],
        "last_epoch": {name: round(value, 5) for name, value in card["last_epoch"].items()},
        "encoder": {
            "tensors": encoder["tensors"],
            "tensors_moved": encoder["tensors_moved"],
            "relative_change": round(encoder["relative_change"], 6),
            "gradient_norm_per_epoch": [round(value, 6) for value in encoder["gradient_norm_per_epoch"]],
        },
        "same_as": card.get("same_as"),
    }
