"""The artifacts that the report reads; only this module knows where they are and how they are stored."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthdrive.augmentation.augmented_scenes import AugmentedScenes
from synthdrive.config.evaluate import SCORING
from synthdrive.config.report import ReportParameters, SelectedRuns
from synthdrive.core.artifacts import read_json
from synthdrive.core.errors import InputError
from synthdrive.forecasting.baselines import BASELINES
from synthdrive.forecasting.evaluate import STRATA, load_scene_errors
from synthdrive.forecasting.forecasts import load_forecast_metadata
from synthdrive.reporting.measurements import Measurements, VariantErrors
from synthdrive.reporting.wording import HEADLINE, metric
from synthdrive.scenes.lane_map import LaneMap, load_maps
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.training.checkpoints import CURVE, RECONSTRUCTION, load_metadata

Floats = npt.NDArray[np.float64]
Metadata = Mapping[str, Any]  # metadata of a model or forecasts: variant, seed, parameters, ...
Curve = Mapping[str, Floats]  # column -> (N,) values, one per interval of training

AGREE = 2e-6  # tolerance when metrics are computed again: the files are rounded to 1e-6


@dataclass(frozen=True)
class RunPaths:
    """Where the artifacts are.

    Attributes:
        maps, augmented, synthetic, train, val: outputs of the data stages.
        pretrained, finetuned, forecasts, metrics: folders with one entry per run (`<variant>-<seed>`) or baseline.
        checks: folder of the results of data validation.
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


@dataclass(frozen=True)
class Artifacts:
    """The opened artifacts of a run of the pipeline.

    Attributes:
        paths: where they are.
        variants, seeds: those that were run; any others in the folders are ignored.
        maps: city -> its lanes.
        augmented: the augmented scenes.
        synthetic, train, val: scene stores.
        metadata: run -> stage (pretrain where there was one, finetune, evaluate) -> metadata.
        curves: stage -> variant -> run -> its curve; pretrain: empty for a variant without a pre-training of its own.
        reconstruction: variant -> `lanes` and `trajectory` -> losses, means over the seeds; see `reconstruction_of`.
    """

    paths: RunPaths
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    maps: Mapping[str, LaneMap]
    augmented: AugmentedScenes
    synthetic: SceneStore
    train: SceneStore
    val: SceneStore
    metadata: Mapping[str, Mapping[str, Metadata]]
    curves: Mapping[str, Mapping[str, Mapping[str, Curve]]]
    reconstruction: Mapping[str, Mapping[str, Mapping[str, float]]]

    @classmethod
    def load(cls, paths: RunPaths, asked: SelectedRuns) -> Artifacts:
        """Open the artifacts; raises InputError naming the one that is missing or damaged."""
        variants, seeds = asked.variants, asked.seeds
        runs = {variant: [f"{variant}-{seed}" for seed in seeds] for variant in variants}
        metadata = {
            f"{variant}-{seed}": _read_metadata(paths, f"{variant}-{seed}", f"{asked.pretraining(variant)}-{seed}")
            for variant in variants
            for seed in seeds
        }
        # The folders may hold pre-trainings of earlier runs: those of variants that have none of their own any more.
        pretrained = {
            variant: [name for name in names if variant not in asked.shared and "pretrain" in metadata[name]]
            for variant, names in runs.items()
        }
        losses = {variant: reconstruction_of(paths.pretrained, names) for variant, names in pretrained.items()}
        return cls(
            paths=paths,
            variants=variants,
            seeds=seeds,
            maps=load_maps(paths.maps),
            augmented=AugmentedScenes.load(paths.augmented),
            synthetic=SceneStore.load(paths.synthetic),
            train=SceneStore.load(paths.train),
            val=SceneStore.load(paths.val),
            metadata=metadata,
            curves={
                stage: {variant: curves_of(folder, names) for variant, names in trained.items()}
                for stage, folder, trained in (
                    ("pretrain", paths.pretrained, pretrained),
                    ("finetune", paths.finetuned, runs),
                )
            },
            reconstruction={variant: found for variant, found in losses.items() if found},
        )

    def strata(self, own: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
        """Read the metrics by kind of scene (stored units): baseline, variant or own forecasts -> those of each run."""
        names = {name: [name] for name in BASELINES}
        names |= {variant: [f"{variant}-{seed}" for seed in self.seeds] for variant in self.variants}
        names |= {name: [name] for name in own}
        return {name: [read_json(self.paths.forecasts / run / STRATA) for run in runs] for name, runs in names.items()}

    def data_validation(self) -> dict[str, Mapping[str, Any]]:
        """Read the results of data validation by name (raw, synthetic)."""
        return {name: read_json(self.paths.checks / f"{name}.json") for name in ("raw", "synthetic")}

    def measure(self, source: str, validation: str, parameters: ReportParameters) -> Measurements:
        """Read the errors of every variant, baseline and own forecasts on the validation scenes.

        Raises:
            InputError: errors and metrics file disagree, the errors belong to other scenes, or own forecasts have the
                name of a variant or baseline or were scored with other parameters.
        """
        taken = sorted(set(parameters.own_forecasts) & {*self.variants, *BASELINES})
        if taken:
            raise InputError("report.own_forecasts", taken[0], "a name that no variant or baseline has")
        for name in parameters.own_forecasts:
            self._check_scoring(name)
        sources = self.synthetic.manifest["source"].to_pylist()
        scene_ids = self.val.scene_ids
        return Measurements(
            source=source,
            validation=validation,
            scene_count=len(self.val),
            train_scenes=len(self.train),
            windows=len(self.synthetic),
            windows_augmented=sources.count("augmented"),
            seeds=self.seeds,
            variants={name: variant_errors(self.paths, name, self.seeds, scene_ids) for name in self.variants},
            baselines={name: variant_errors(self.paths, name, (), scene_ids) for name in BASELINES},
            own={name: variant_errors(self.paths, name, (), scene_ids) for name in parameters.own_forecasts},
            samples=parameters.bootstrap_samples,
            seed=parameters.seed,
        )

    def _check_scoring(self, name: str) -> None:
        """Raise InputError unless own forecasts were scored with the parameters of the runs."""
        runs = parameters_of(next(iter(self.metadata.values()))["evaluate"], "evaluate")
        where = self.paths.forecasts / name
        again = "Score these forecasts again."
        try:
            own = parameters_of(load_forecast_metadata(where), "evaluate")
        except InputError as error:
            raise InputError(where, f"no readable metadata ({error})", "forecasts with metadata", again) from None
        for key in SCORING:
            if own.get(key) != runs.get(key):
                found, expected = f"scored with evaluate.{key} {own.get(key)}", f"{runs.get(key)}, as in the runs"
                raise InputError(where, found, expected, again)


def variant_errors(paths: RunPaths, name: str, seeds: Sequence[int], scene_ids: Sequence[str]) -> VariantErrors:
    """Read the errors of one variant or, without seeds, of the baseline or own forecasts of that name."""
    runs = [_read_errors(paths, run, scene_ids) for run in ([f"{name}-{seed}" for seed in seeds] or [name])]
    scenes = {one: np.stack([run[one] for run in runs]) * metric(one).scale for one in runs[0]}
    return VariantErrors(name, tuple(seeds), scenes)


def curves_of(folder: Path, runs: Sequence[str]) -> dict[str, Curve]:
    """Read the training curves by run; runs without one are left out."""
    return {run: _read_curve(folder / run / CURVE) for run in runs if (folder / run / CURVE).is_file()}


def parameters_of(metadata: Metadata, section: str) -> dict[str, Any]:
    """Return a section of the parameters with which an artifact was made; empty if it is missing."""
    return dict(metadata.get("parameters", {}).get(section, {}))


def reconstruction_of(folder: Path, runs: Sequence[str]) -> dict[str, dict[str, float]]:
    """Read the losses of masked pre-training and of simple predictors on held-out windows, as means over the runs.

    Returns:
        For `lanes` and `trajectory`, if all runs have them: loss; the losses of the predictors zero, repeat, straight,
        constant_velocity and quadratic, where they apply; blind, the loss of a decoder that does not see the encoder;
        gain, the encoder gain 1 - loss / blind.
    """
    found = [read_json(path) for run in runs if (path := folder / run / RECONSTRUCTION).is_file()]
    means: dict[str, dict[str, float]] = {}
    for kind in ("lanes", "trajectory"):
        values = [losses[kind] for losses in found if losses.get(kind)]
        if len(values) == len(runs) > 0:
            means[kind] = {name: float(np.mean([one[name] for one in values])) for name in values[0]}
    return means


def _read_metadata(paths: RunPaths, run: str, pretraining: str) -> dict[str, Metadata]:
    """Read a run's metadata by stage; `pretrain` only if it was pre-trained, from the run `pretraining`."""
    found: dict[str, Metadata] = {
        "finetune": load_metadata(paths.finetuned / run),
        "evaluate": load_forecast_metadata(paths.forecasts / run),
    }
    if found["finetune"].get("pretrained", {}).get("trained"):
        found["pretrain"] = load_metadata(paths.pretrained / pretraining)
    return found


def _read_errors(paths: RunPaths, name: str, scene_ids: Sequence[str]) -> dict[str, Floats]:
    found, errors = load_scene_errors(paths.forecasts / name)
    where = paths.forecasts / name
    if found != list(scene_ids):
        raise InputError(where, f"errors of {len(found)} other scenes", f"the {len(scene_ids)} validation scenes",
                         "Evaluate again.")  # fmt: skip
    file = paths.metrics / f"{name}.json"
    stated = read_json(file)
    for entry in HEADLINE:
        value = stated.get(entry) if isinstance(stated, dict) else None
        mean = float(errors[entry].mean())
        if not isinstance(value, (int, float)) or abs(value - mean) > AGREE:
            raise InputError(f"{file}: {entry}", str(value), f"{mean:.6f}, the mean of {where}", "Evaluate again.")
    return errors


def _read_curve(path: Path) -> Curve:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    try:
        return {name: np.array([float(row[name]) for row in rows]) for name in (rows[0] if rows else ())}
    except (TypeError, ValueError) as error:
        raise InputError(path, f"a non-numeric value ({error})", "a training curve") from None
