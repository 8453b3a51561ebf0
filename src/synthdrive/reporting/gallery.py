"""Every picture of the report, from a run's artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthdrive.augmentation.augmented_scenes import AugmentedScenes
from synthdrive.augmentation.transforms import SHAPES
from synthdrive.config.report import ReportParameters
from synthdrive.config.training import MASKED, PretrainParameters
from synthdrive.core.parameters import from_values
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.pretraining.reconstructions import Reconstructions
from synthdrive.reporting.content import Pictures
from synthdrive.reporting.measurements import Measurements
from synthdrive.reporting.motion_evidence import MotionEvidence, ReleasedMotion
from synthdrive.reporting.picture import Picture
from synthdrive.reporting.pictures.city_maps import city_maps
from synthdrive.reporting.pictures.contact_sheet import contact_sheet
from synthdrive.reporting.pictures.corridors import corridors
from synthdrive.reporting.pictures.forecasts import forecasts
from synthdrive.reporting.pictures.motion import motion, motion_beside_released
from synthdrive.reporting.pictures.reconstructions import reconstructions
from synthdrive.reporting.pictures.recorded_scenes import recorded_scenes
from synthdrive.reporting.pictures.released_drives import released_drives
from synthdrive.reporting.pictures.results import difference_picture, level_picture
from synthdrive.reporting.pictures.synthetic_drives import synthetic_drives
from synthdrive.reporting.pictures.training_curves import Curve, training_curves
from synthdrive.reporting.pictures.transforms import transform_pictures
from synthdrive.reporting.results_table import Row, label_of
from synthdrive.reporting.run_outputs import RunPaths
from synthdrive.scenes.lane_map import LaneMap
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.synthesis.released import DrivenAgain
from synthdrive.training.metadata import RECONSTRUCTIONS

RELEASED_SHOWN = 5  # released windows whose path and speed are drawn

Cards = Mapping[str, Mapping[str, Mapping[str, Any]]]  # cell -> stage -> card


@dataclass(frozen=True)
class Artifacts:
    """A run's data, open.

    Attributes:
        maps: city -> its lanes.
        augmented: the augmented scenes.
        synthetic, train, val: scene stores.
        released: the authors' released windows and ours beside them; empty where none were given.
        cards: cell -> stage -> card.
        curves: stage -> variant -> the curve of each seed.
    """

    maps: Mapping[str, LaneMap]
    augmented: AugmentedScenes
    synthetic: SceneStore
    train: SceneStore
    val: SceneStore
    released: Sequence[DrivenAgain]
    cards: Cards
    curves: Mapping[str, Mapping[str, Sequence[Curve]]]


def draw_pictures(
    paths: RunPaths,
    artifacts: Artifacts,
    measured: Measurements,
    rows: Sequence[Row],
    evidence: MotionEvidence,
    beside_released: ReleasedMotion | None,
    parameters: ReportParameters,
    source: str,
) -> Pictures:
    """All pictures; those for which the run has nothing to show are left out."""
    variants, seed = list(measured.variants), parameters.seed
    given = artifacts
    curves = [training_curves(stage, given.curves[stage], variants) for stage in ("pretrain", "finetune")]
    results = [difference_picture(rows, measured.scene_count, len(measured.seeds)), level_picture(rows)]
    synthesis = [
        transform_pictures(next(iter(given.maps.values())), SHAPES["released"], parameters.transform_amplitude),
        corridors(given.augmented, given.maps, parameters.augmented_scenes, seed),
        synthetic_drives(given.synthetic, given.maps, parameters.drives),
        released_drives(given.released, given.maps, RELEASED_SHOWN),
        contact_sheet(given.synthetic, parameters.synthetic_windows, seed),
        motion(evidence, source),
        motion_beside_released(beside_released, source),
    ]
    return Pictures(
        results=_present(results),
        data=(
            city_maps(given.maps, given.train, given.val),
            recorded_scenes(given.train, "train", parameters.recorded_scenes, seed),
        ),
        synthesis=_present(synthesis),
        training=_present([*curves, *_reconstructions(paths, given, measured, parameters)]),
        forecasts=(_forecasts(paths, given.val, measured, parameters),),
    )


def _reconstructions(
    paths: RunPaths, artifacts: Artifacts, measured: Measurements, parameters: ReportParameters
) -> list[Picture]:
    found = []
    for variant in measured.variants:
        cell = f"{variant}-{measured.seeds[0]}"
        card = artifacts.cards[cell]["pretrain"]
        if not card.get("pretrained"):
            continue
        directory = paths.pretrained / cell
        settings = from_values(PretrainParameters, card["run"]["parameters"]["pretrain"], f"{directory}: pretrain")
        if settings.objective != MASKED:
            continue
        kept = Reconstructions.load(directory / RECONSTRUCTIONS)
        label = label_of(variant).lower()
        found.append(reconstructions(kept, variant, label, parameters.reconstructions, settings.mask_ratio))
    return found


def _forecasts(paths: RunPaths, val: SceneStore, measured: Measurements, parameters: ReportParameters) -> Picture:
    from synthdrive.training.checkpoints import load_forecaster

    best = min(measured.variants, key=lambda variant: measured.level(variant, "minFDE6").mean)
    cell = f"{best}-{measured.seeds[0]}"
    network, _ = load_forecaster(paths.finetuned / cell)
    made = Forecasts.load(paths.forecasts / cell)
    name = f"{label_of(best)}, seed {measured.seeds[0]}"
    return forecasts(
        network, name, val, made.trajectories, made.probabilities, parameters.forecast_scenes, parameters.seed
    )


def _present(pictures: Sequence[Picture | None]) -> tuple[Picture, ...]:
    return tuple(picture for picture in pictures if picture is not None and picture.panels)
