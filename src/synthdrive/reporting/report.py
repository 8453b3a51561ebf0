"""The report of a run: read the artifacts, measure, judge, draw, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthdrive.augmentation.augmented_scenes import AugmentedScenes
from synthdrive.config.report import ReportParameters, SelectedRuns
from synthdrive.config.synthesize import DriverParameters
from synthdrive.config.training import ModelParameters
from synthdrive.core.artifacts import atomic_directory, write_json
from synthdrive.core.parameters import from_values
from synthdrive.reporting.claim_outcome import Evidence
from synthdrive.reporting.claims import Claim, judge, load_claims
from synthdrive.reporting.content import Content
from synthdrive.reporting.dvc_plots import write_curves, write_metrics, write_results
from synthdrive.reporting.encoder_gradient import OBJECTIVE, encoder_gradient
from synthdrive.reporting.gallery import Artifacts, draw_pictures
from synthdrive.reporting.gates import gates
from synthdrive.reporting.layout import markdown, page
from synthdrive.reporting.measurements import Measurements
from synthdrive.reporting.motion_evidence import MotionEvidence, motion_evidence, released_motion
from synthdrive.reporting.pictures.released_drives import released_errors
from synthdrive.reporting.published import Published
from synthdrive.reporting.records import records
from synthdrive.reporting.results_table import results_table
from synthdrive.reporting.run_outputs import RunPaths, cards_of, curves_of, gate_results, strata_of, variant_errors
from synthdrive.reporting.scope import settings, source_in_words
from synthdrive.reporting.strata_table import strata_table
from synthdrive.reporting.summary import summary
from synthdrive.scenes.lane_map import LaneMap, load_maps
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.synthesis.released import DrivenAgain, drive_all_again

OTHER_METRICS = ("minADE1", "minFDE1", "MR1", "brier_minFDE6", "p_minFDE6", "p_minADE6", "p_MR6")


@dataclass(frozen=True)
class ReportInputs:
    """What the report is made from.

    Attributes:
        paths: the run's artifacts.
        cells: its variants and seeds; the report reads these and no others, whatever else lies in the folders.
        source: data source of the run.
        published, claims: data files.
        parameters: of the report.
        released: folder of the authors' released windows, to drive them again and compare; None leaves these out.
        driver: our driver's parameters, for these.
    """

    paths: RunPaths
    cells: SelectedRuns
    source: str
    published: Path
    claims: Path
    parameters: ReportParameters
    released: Path | None = None
    driver: DriverParameters | None = None


def write_report(inputs: ReportInputs, out: Path) -> Content:
    """Write all that the report is, or nothing: index.html, report.md, summary.txt, pictures/, results.json, and for
    DVC results.csv, metrics.json and curves/.

    Raises:
        InputError: an artifact is missing or damaged, artifacts disagree, or a claim cannot be read; names it.
    """
    published, claims = Published.load(inputs.published), load_claims(inputs.claims)
    artifacts = open_artifacts(inputs)
    content = make_content(inputs, artifacts, published, claims)
    with atomic_directory(out) as partial:
        for picture in content.pictures.all():
            picture.write(partial / "pictures")
        (partial / "index.html").write_text(page(content), encoding="utf-8")
        (partial / "report.md").write_text(markdown(content), encoding="utf-8")
        write_json(partial / "results.json", content.as_json())
        write_results(partial / "results.csv", content.measured)
        write_metrics(partial / "metrics.json", content.measured)
        (partial / "summary.txt").write_text(summary(content) + "\n", encoding="utf-8")
        for stage, curves in artifacts.curves.items():
            write_curves(partial / "curves" / stage, curves)
    return content


def open_artifacts(inputs: ReportInputs) -> Artifacts:
    """Open everything that the run left."""
    paths, cells = inputs.paths, inputs.cells
    maps = load_maps(paths.maps)
    return Artifacts(
        maps=maps,
        released=_drive_released(inputs, maps),
        augmented=AugmentedScenes.load(paths.augmented),
        synthetic=SceneStore.load(paths.synthetic),
        train=SceneStore.load(paths.train),
        val=SceneStore.load(paths.val),
        cards={cell: cards_of(paths, cell) for variant in cells.variants for cell in paths.cells(variant, cells.seeds)},
        curves={
            stage: {variant: curves_of(folder, paths.cells(variant, cells.seeds)) for variant in cells.variants}
            for stage, folder in (("pretrain", paths.pretrained), ("finetune", paths.finetuned))
        },
    )


def make_content(inputs: ReportInputs, artifacts: Artifacts, published: Published, claims: list[Claim]) -> Content:
    """Everything the report says, with its pictures."""
    paths, cells, parameters = inputs.paths, inputs.cells, inputs.parameters
    measured = measure(inputs, artifacts)
    most, seed = parameters.motion_tracks, parameters.seed
    evidence = motion_evidence(artifacts.synthetic, artifacts.train, most, seed)
    windows = [one.released for one in artifacts.released]
    beside_released = released_motion(windows, artifacts.synthetic, artifacts.train, most, seed)
    rows = results_table(measured, published)
    strata = {name: [strata_of(paths, name)] for name in parameters.baselines}
    strata |= {
        variant: [strata_of(paths, cell) for cell in paths.cells(variant, cells.seeds)] for variant in cells.variants
    }
    source = source_in_words(inputs.source)
    return Content(
        measured=measured,
        published=published,
        variants=[(variant, _description(artifacts, f"{variant}-{cells.seeds[0]}")) for variant in cells.variants],
        rows=rows,
        other_rows=results_table(measured, published, OTHER_METRICS),
        other_metrics=OTHER_METRICS,
        judged=judge(claims, gather_evidence(artifacts, measured, published, evidence)),
        strata=strata_table(strata),
        settings=settings(measured, published, artifacts.cards[_informative_cell(artifacts)]),
        gates=gates(gate_results(paths)),
        records=records(artifacts.cards),
        motion=evidence,
        beside_released=beside_released,
        released_errors=released_errors(artifacts.released),
        pictures=draw_pictures(paths, artifacts, measured, rows, evidence, beside_released, parameters, source),
    )


def measure(inputs: ReportInputs, artifacts: Artifacts) -> Measurements:
    """Errors of every variant and baseline on the validation scenes."""
    paths, cells, scene_ids = inputs.paths, inputs.cells, artifacts.val.scene_ids
    sources = artifacts.synthetic.manifest["source"].to_pylist()
    return Measurements(
        source=inputs.source,
        scene_count=len(artifacts.val),
        train_scenes=len(artifacts.train),
        windows=len(artifacts.synthetic),
        windows_augmented=sources.count("augmented"),
        seeds=cells.seeds,
        variants={variant: variant_errors(paths, variant, cells.seeds, scene_ids) for variant in cells.variants},
        baselines={name: variant_errors(paths, name, (), scene_ids) for name in inputs.parameters.baselines},
        samples=inputs.parameters.bootstrap_samples,
        seed=inputs.parameters.seed,
    )


def gather_evidence(
    artifacts: Artifacts, measured: Measurements, published: Published, motion: MotionEvidence
) -> Evidence:
    """What the tests of the claims look at."""
    card = next(iter(artifacts.cards.values()))["finetune"]
    model = from_values(ModelParameters, card["model"], "model of the fine-tuned cards")
    distance = np.asarray(artifacts.synthetic.manifest["max_lane_distance"].to_numpy(), dtype=np.float64)
    return Evidence(
        measured=measured,
        published=published,
        synthetic=motion.synthetic,
        recorded=motion.recorded,
        max_lane_distance=distance,
        gradient=encoder_gradient(artifacts.synthetic, model, OBJECTIVE),
    )


def _drive_released(inputs: ReportInputs, maps: Mapping[str, LaneMap]) -> list[DrivenAgain]:
    if inputs.released is None or inputs.driver is None:
        return []
    return drive_all_again(inputs.released, maps, inputs.driver)


def _informative_cell(artifacts: Artifacts) -> str:
    """The first cell that was pre-trained, else the first."""
    trained = [cell for cell, cards in artifacts.cards.items() if cards["pretrain"].get("pretrained")]
    return (trained or list(artifacts.cards))[0]


def _description(artifacts: Artifacts, cell: str) -> str:
    return str(artifacts.cards[cell]["finetune"].get("description", ""))
