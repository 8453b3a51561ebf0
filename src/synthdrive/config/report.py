"""Sections `report` and `verify`, and the runs (every variant with every seed) that the pipeline trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from synthdrive.core.errors import ParameterError
from synthdrive.core.parameters import DEFAULT_PATH, read_parameters
from synthdrive.core.schema import from_values, value


@dataclass(frozen=True)
class ReportParameters:
    """Section `report` of params.yaml: what the report shows.

    Attributes:
        seed: seed of the random choice of examples and of the bootstrap.
        bootstrap_samples: resamples for each 95 % interval.
        own_forecasts: names of your own forecasts, scored by stages/score_forecasts.py, that the table also lists.
        recorded_scenes, synthetic_windows, augmented_scenes, drives, forecast_scenes: number of panels of each picture.
        reconstructions: windows shown for each kind of masking of each variant; pre-training keeps three.
        motion_tracks: most tracks of each set that the motion distributions are computed from.
        min_encoder_gain: effects of a variant are not testable if its encoder gain is smaller for both lanes and
            trajectory.
        transform_amplitude: amplitude of the map transforms that are shown.
    """

    seed: int = value(at_least=0, unit="")
    bootstrap_samples: int = value(at_least=100, at_most=100_000, unit="")
    own_forecasts: list[str] = value(distinct=True)
    recorded_scenes: int = value(at_least=1, at_most=30, unit="")
    synthetic_windows: int = value(at_least=1, at_most=60, unit="")
    augmented_scenes: int = value(at_least=1, at_most=30, unit="")
    drives: int = value(at_least=1, at_most=12, unit="")
    forecast_scenes: int = value(at_least=1, at_most=30, unit="")
    reconstructions: int = value(at_least=1, at_most=3, unit="")
    motion_tracks: int = value(at_least=10, at_most=1_000_000, unit="")
    min_encoder_gain: float = value(at_least=0, at_most=1, unit="")
    transform_amplitude: float = value(at_least=-20, at_most=20, unit="")

    def validate(self, where: str) -> None:
        """The transform's amplitude must not be 0."""
        if self.transform_amplitude == 0:
            raise ParameterError(f"{where}.transform_amplitude", "0", "another number from -20 to 20")


@dataclass(frozen=True)
class VerifyParameters:
    """Section `verify` of params.yaml: which stages are run again, and how close the results must be.

    Attributes:
        spot_stages: stages that level `spot` runs again; their outputs must have the same bytes.
        tolerances: largest absolute difference that level `full` allows for each metric of a trained variant; other
            rates have the tolerance of MR6, other distances that of minFDE6.
    """

    spot_stages: list[str] = value(fewest=1, distinct=True)
    tolerances: dict[str, float] = value(at_least=0, unit="m, or fraction of scenes")


@dataclass(frozen=True)
class SelectedRuns:
    """Variants and seeds that the pipeline trains; a run is one variant with one seed.

    Attributes:
        variants: the variants trained from scratch, then the pre-trained ones, then those that share a pre-training,
            each in the order of the file. The first is the baseline that the others are compared with.
        seeds: training seeds; every variant is trained with each.
        shared: for each variant that shares the pre-training of another, that other variant.
    """

    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    shared: Mapping[str, str] = field(default_factory=dict)

    def pretraining(self, variant: str) -> str:
        """Return the variant whose pre-training `variant` starts from: itself, unless it shares another's."""
        return self.shared.get(variant, variant)


@dataclass(frozen=True)
class SharedPretraining:
    """An entry of `shared_pretraining`.

    Attributes:
        variant: the variant that is fine-tuned.
        pretraining: the variant of `run_variants` whose pre-training it starts from.
    """

    variant: str = value()
    pretraining: str = value()


@dataclass
class _Runs:
    """The parameters at the top level of a parameter file."""

    from_scratch: list[str] = value(fewest=1, distinct=True)
    run_variants: list[str] = value(distinct=True)
    shared_pretraining: list[SharedPretraining] = value()
    seeds: list[int] = value(at_least=0, unit="", fewest=1, distinct=True)


def load_selected_runs(path: Path = DEFAULT_PATH) -> SelectedRuns:
    """Load `from_scratch`, `run_variants`, `shared_pretraining` and `seeds` of a parameter file.

    Raises:
        ParameterError: one of them is missing or not valid, a variant is listed twice, or a variant shares the
            pre-training of one that is not in `run_variants`.
    """
    return selected_runs(read_parameters(path), path)


def selected_runs(content: Mapping[str, Any], path: object) -> SelectedRuns:
    """Like `load_selected_runs`, but from the whole content of a parameter file; `path` is for error messages."""
    names = [each.name for each in fields(_Runs)]
    runs = from_values(_Runs, {key: content[key] for key in names if key in content}, f"{path}: ")
    shared = {entry.variant: entry.pretraining for entry in runs.shared_pretraining}
    variants = (*runs.from_scratch, *runs.run_variants, *(entry.variant for entry in runs.shared_pretraining))
    if twice := next((name for name in variants if variants.count(name) > 1), None):
        key = "run_variants" if twice in runs.run_variants else "shared_pretraining"
        raise ParameterError(f"{path}: {key}", f"{twice} a second time", "every variant in one of the lists, once")
    if unknown := next((name for name in shared.values() if name not in runs.run_variants), None):
        raise ParameterError(
            f"{path}: shared_pretraining", f"the pre-training of {unknown}", "that of a variant in run_variants"
        )
    return SelectedRuns(variants=variants, seeds=tuple(runs.seeds), shared=shared)
