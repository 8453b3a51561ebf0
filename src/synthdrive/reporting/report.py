"""The report of a run: read the artifacts, measure, judge, draw, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synthdrive.augmentation.transforms import SHAPES
from synthdrive.config.report import ReportParameters, SelectedRuns
from synthdrive.config.training import MASKED, ModelParameters, ObjectiveParameters, PretrainParameters
from synthdrive.core.artifacts import atomic_directory, check_replaceable
from synthdrive.core.schema import from_values
from synthdrive.forecasting.forecasts import Forecasts
from synthdrive.models.densetnt import DenseTNT
from synthdrive.pretraining.reconstructions import Reconstructions
from synthdrive.reporting.claims import Claim, judge, load_claims, untrained
from synthdrive.reporting.content import Content, Pictures, undertrained, without_encoder_gain
from synthdrive.reporting.evidence import Evidence, MotionEvidence, Published, encoder_gradient, motion_evidence
from synthdrive.reporting.measurements import Measurements
from synthdrive.reporting.page import write_pages
from synthdrive.reporting.picture import Picture
from synthdrive.reporting.pictures.driving import contact_sheet, motion, synthetic_drives
from synthdrive.reporting.pictures.maps import city_maps, corridors, transform_pictures
from synthdrive.reporting.pictures.reconstructions import reconstructions
from synthdrive.reporting.pictures.results import effects_picture, floors_picture, level_picture, training_curves
from synthdrive.reporting.pictures.scenes import forecast_sheet, forecasts, recorded_scenes
from synthdrive.reporting.run_results import Artifacts, Metadata, RunPaths, parameters_of
from synthdrive.reporting.tables import Row, results_table, settings, strata_table, validated
from synthdrive.reporting.wording import label_of, source_in_words
from synthdrive.training.checkpoints import RECONSTRUCTIONS

OTHER_METRICS = ("minADE1", "minFDE1", "MR1", "brier_minFDE6", "p_minFDE6", "p_minADE6", "p_MR6")


@dataclass(frozen=True)
class ReportInputs:
    """What the report is made from.

    Attributes:
        paths: the run's artifacts.
        runs: its variants and seeds; the report ignores any others in the folders.
        source, validation: the run's data source and validation scenes (`data.source`, `ingest.validation`).
        published, claims: published.yaml and claims.yaml.
        parameters: section `report`.
    """

    paths: RunPaths
    runs: SelectedRuns
    source: str
    validation: str
    published: Path
    claims: Path
    parameters: ReportParameters


def write_report(inputs: ReportInputs, out: Path) -> Content:
    """Write the report completely or not at all.

    Its files are index.html, report.md, summary.txt, pictures/, results.json and, for `dvc exp show` and `exp diff`,
    metrics.json.

    Raises:
        InputError: an artifact is missing or damaged, artifacts disagree, or a claim cannot be read; names it. Or see
            `artifacts.check_replaceable`.
    """
    check_replaceable(out, ["report.md", "summary.txt"])
    published, claims = Published.load(inputs.published), load_claims(inputs.claims)
    artifacts = Artifacts.load(inputs.paths, inputs.runs)
    content = make_content(inputs, artifacts, published, claims)
    with atomic_directory(out) as partial:
        write_pages(content, partial)
    return content


def make_content(inputs: ReportInputs, artifacts: Artifacts, published: Published, claims: Sequence[Claim]) -> Content:
    """Compute the content of the report, including its pictures."""
    parameters = inputs.parameters
    measured = artifacts.measure(inputs.source, inputs.validation, parameters)
    motion = motion_evidence(artifacts.synthetic, artifacts.train, parameters.motion_tracks, parameters.seed)
    made = next(iter(artifacts.metadata.values()))["finetune"]
    model = from_values(ModelParameters, made["model"], "model of the fine-tuned networks")
    objective = objective_of(artifacts)
    gradient = encoder_gradient(artifacts.synthetic, model, objective) if objective is not None else {}
    without_gain = without_encoder_gain(artifacts.reconstruction, parameters.min_encoder_gain)
    too_short = undertrained(artifacts.reconstruction)
    evidence = Evidence(measured, published, motion, gradient, without_gain, too_short)
    rows = results_table(measured, published)
    return Content(
        measured=measured,
        published=published,
        variants=[(name, _description(artifacts, name)) for name in artifacts.variants],
        rows=rows,
        other_rows=results_table(measured, published, OTHER_METRICS),
        other_metrics=OTHER_METRICS,
        judged=judge(claims, evidence),
        untrained=untrained(evidence),
        without_encoder_gain=without_gain,
        reconstruction=artifacts.reconstruction,
        strata=strata_table(artifacts.strata(parameters.own_forecasts)),
        settings=settings(measured, published, _informative_run(artifacts)),
        validation=validated(artifacts.data_validation()),
        motion=motion,
        pictures=draw_pictures(artifacts, measured, rows, motion, parameters),
    )


def draw_pictures(
    artifacts: Artifacts,
    measured: Measurements,
    rows: Sequence[Row],
    evidence: MotionEvidence,
    parameters: ReportParameters,
) -> Pictures:
    """Draw all pictures for which the run has something to show."""
    variants, seed, maps = artifacts.variants, parameters.seed, artifacts.maps
    curves = [training_curves(stage, artifacts.curves[stage], variants) for stage in ("pretrain", "finetune")]
    synthesis = [
        transform_pictures(next(iter(maps.values())), SHAPES["released"], parameters.transform_amplitude),
        corridors(artifacts.augmented, maps, parameters.augmented_scenes, seed),
        synthetic_drives(artifacts.synthetic, maps, parameters.drives),
        contact_sheet(artifacts.synthetic, parameters.synthetic_windows, seed),
        motion(evidence, source_in_words(measured.source)),
    ]
    network, label, made = shown_forecaster(artifacts, measured)
    return Pictures(
        effects=effects_picture(rows, variants, measured.scene_count, len(measured.seeds)),
        results=(level_picture(rows, variants),),
        data=(
            city_maps(maps, artifacts.train, artifacts.val),
            recorded_scenes(artifacts.train, "train", parameters.recorded_scenes, seed),
        ),
        synthesis=_not_empty(synthesis),
        training=_not_empty(
            [floors_picture(artifacts.reconstruction), *_reconstructions(artifacts, parameters), *curves]
        ),
        forecasts=(
            forecasts(network, label, artifacts.val, made, parameters.forecast_scenes, seed, miss_threshold(artifacts)),
        ),
    )


def write_forecast_sheet(inputs: ReportInputs, path: Path) -> None:
    """Write the forecasts that the page shows as one PNG, for the README."""
    artifacts, parameters = Artifacts.load(inputs.paths, inputs.runs), inputs.parameters
    measured = artifacts.measure(inputs.source, inputs.validation, parameters)
    network, _, made = shown_forecaster(artifacts, measured)
    forecast_sheet(path, network, artifacts.val, made, 6, parameters.seed, miss_threshold(artifacts))


def miss_threshold(artifacts: Artifacts) -> float | None:
    """Return the minFDE6 in metres above which the evaluation counted a miss; None if the metadata lack it."""
    evaluated = next(iter(artifacts.metadata.values()))["evaluate"]
    recorded = parameters_of(evaluated, "evaluate").get("miss_threshold")
    return None if recorded is None else float(recorded)


def shown_forecaster(artifacts: Artifacts, measured: Measurements) -> tuple[DenseTNT, str, Forecasts]:
    """Return network, label and forecasts of the variant with the lowest minFDE6, from its median seed."""
    from synthdrive.training.checkpoints import load_forecaster

    best = min(measured.variants, key=lambda variant: measured.mean(variant, "minFDE6"))
    seed = measured.median_seed(best)
    network, _ = load_forecaster(artifacts.paths.finetuned / f"{best}-{seed}")
    return (
        network,
        f"{label_of(best)}, median seed {seed}",
        Forecasts.load(artifacts.paths.forecasts / f"{best}-{seed}"),
    )


def _reconstructions(artifacts: Artifacts, parameters: ReportParameters) -> list[Picture]:
    """Draw the reconstructions of every variant with masked pre-training, from the seed with the median final loss."""
    found = []
    for variant in artifacts.variants:
        settings = _masked_pretraining(artifacts, f"{variant}-{artifacts.seeds[0]}")
        curves = artifacts.curves["pretrain"][variant]
        if settings is None or not curves:  # no curve: shares another's
            continue
        order = sorted(curves, key=lambda run: float(curves[run]["loss"][-5:].mean()))
        median = order[(len(order) - 1) // 2]
        kept = Reconstructions.load(artifacts.paths.pretrained / median / RECONSTRUCTIONS)
        label = f"{label_of(variant).lower()}, median seed {median.removeprefix(f'{variant}-')}"
        found += reconstructions(kept, variant, label, parameters.reconstructions, settings.mask_ratio)
    return found


def _masked_pretraining(artifacts: Artifacts, run: str) -> PretrainParameters | None:
    """Return the parameters of a run's masked pre-training; None if it has none."""
    made = artifacts.metadata[run].get("pretrain")
    if made is None:
        return None
    where = f"{artifacts.paths.pretrained / run}: pretrain"
    settings = from_values(PretrainParameters, parameters_of(made, "pretrain"), where)
    return settings if settings.objective == MASKED else None


def objective_of(artifacts: Artifacts) -> ObjectiveParameters | None:
    """Return the objective of the first run with masked pre-training; None if there is no such run."""
    return next(
        (found for run in artifacts.metadata if (found := _masked_pretraining(artifacts, run)) is not None), None
    )


def _informative_run(artifacts: Artifacts) -> dict[str, Metadata]:
    """Return the metadata by stage of the first pre-trained run or, without any, of the first run."""
    runs = list(artifacts.metadata.values())
    return dict(next((stages for stages in runs if "pretrain" in stages), runs[0]))


def _description(artifacts: Artifacts, variant: str) -> str:
    return str(artifacts.metadata[f"{variant}-{artifacts.seeds[0]}"]["finetune"].get("description", ""))


def _not_empty(pictures: Sequence[Picture | None]) -> tuple[Picture, ...]:
    return tuple(picture for picture in pictures if picture is not None and picture.panels)
