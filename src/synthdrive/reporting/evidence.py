"""The evidence on which claims are judged (published numbers, measurements, motion, gradients), and the verdicts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import savgol_filter

from synthdrive.core.errors import InputError, from_extra

with from_extra("report"):
    import torch

from synthdrive.config.training import ModelParameters, ObjectiveParameters
from synthdrive.core.artifacts import read_yaml
from synthdrive.core.seeding import generator
from synthdrive.models.batch import collate
from synthdrive.pretraining.masked_autoencoder import MaskedAutoencoder
from synthdrive.reporting.measurements import Measurements
from synthdrive.reporting.wording import HEADLINE
from synthdrive.scenes.scene_store import SceneStore
from synthdrive.synthesis.motion import MotionDistributions, agent_tracks, compare, even_tracks, motion_distributions

WINDOWS = 8  # windows in the gradient check, enough for both kinds of masking to occur
SMOOTHING_STEPS = 31  # 3.1 s; otherwise tracking noise would dominate the recorded acceleration
SMOOTHING_DEGREE = 3

_SECTIONS = ("paper", "data", "table", "table_changes", "abstract", "other", "motion", "settings")
_TEXTS = {"paper": ("title", "authors", "venue", "link"), "data": ("source",)}
_COUNTS = ("train_scenes", "val_scenes", "windows", "seeds")
_BASELINE = "none"  # the table's row to which its changes refer


@dataclass(frozen=True)
class Published:
    """The published numbers.

    Attributes:
        values: content of published.yaml; MR6 in per cent, minFDE6 and minADE6 in metres, changes in per cent.
    """

    values: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> Published:
        """Read published.yaml.

        Raises:
            InputError: a section, the baseline's row, a headline metric or another value that the report shows is
                missing, or a number is not finite; names the key.
        """
        values = read_yaml(path, "the published numbers")
        for section in _SECTIONS:
            if not isinstance(values, dict) or not isinstance(values.get(section), dict):
                raise InputError(path, f"no section {section!r}", f"sections {', '.join(_SECTIONS)}")
        for section, names in _TEXTS.items():
            for name in names:
                if not isinstance(values[section].get(name), str):
                    raise InputError(f"{path}: {section}", f"no text {name}", ", ".join(names))
        for section in ("table", "table_changes", "other"):
            for row, numbers in values[section].items():
                _require_numbers(numbers, HEADLINE, f"{path}: {section}.{row}")
        _require_numbers(values["abstract"], HEADLINE, f"{path}: abstract")
        _require_numbers(values["data"], _COUNTS, f"{path}: data")
        _require_numbers(
            values["settings"], [key for key in values["settings"] if key != "source"], f"{path}: settings"
        )
        for row in (_BASELINE, *values["table_changes"]):
            if row not in values["table"]:
                raise InputError(f"{path}: table", f"no row {row!r}", "the baseline's row and those of table_changes")
        for row, numbers in values["other"].items():
            if not isinstance(numbers.get("label"), str):
                raise InputError(f"{path}: other.{row}", "no text label", "the name to show")
        _require_finite(values, f"{path}: ")
        return cls(values)

    def level(self, row: str, metric: str) -> float | None:
        """Return a value of the main table; None if the variant is not in it."""
        return self._number("table", row, metric)

    def change(self, row: str, metric: str) -> float | None:
        """Return the printed change from the baseline, per cent; None if none is printed."""
        return self._number("table_changes", row, metric)

    def recomputed_change(self, row: str, metric: str) -> float:
        """Compute the change from the baseline, per cent, from the values of the main table."""
        table = self.values["table"]
        return 100.0 * (float(table[row][metric]) / float(table[_BASELINE][metric]) - 1.0)

    def fill(self, text: str) -> str:
        """Replace the fields of a text ({table.map.MR6:.2f}) by numbers; raises InputError for an unknown field."""
        try:
            filled = text.format(**{section: _namespace(self.values[section]) for section in _SECTIONS})
        except (AttributeError, KeyError, ValueError, IndexError, TypeError) as error:
            raise InputError(
                repr(text), f"a field that cannot be filled ({error})", "a number of published.yaml"
            ) from None
        return re.sub(r"(?<!\w)-(?=\d)", "\N{MINUS SIGN}", filled)

    def _number(self, section: str, row: str, metric: str) -> float | None:
        value = self.values[section].get(row, {}).get(metric)
        return None if value is None else float(value)


def _require_numbers(found: Any, names: Sequence[str], where: str) -> None:
    for name in names:
        if not isinstance(found, dict) or type(found.get(name)) not in (int, float):
            raise InputError(where, f"no number {name}", ", ".join(names))


def _require_finite(found: Any, where: str) -> None:
    """Raise InputError if a number, however deep in a mapping, is infinite or NaN."""
    for key, value in found.items():
        if isinstance(value, dict):
            _require_finite(value, f"{where}{key}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{where}{key}", str(value), "a finite number")


class Verdict(StrEnum):
    """What a test can conclude about a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_TESTABLE = "not testable here"


@dataclass(frozen=True)
class Outcome:
    """The result of a test.

    Attributes:
        measured: the value in words; empty if nothing was measured.
        verdict: the decision.
        why: the reason, one or two sentences.
    """

    measured: str
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class GradientCheck:
    """How many tensors of the encoder a loss trains.

    Attributes:
        tensors: number of the encoder's tensors.
        reached: how many of them have a gradient other than zero.
    """

    tensors: int
    reached: int


@dataclass(frozen=True)
class MotionEvidence:
    """Motion of the focal agents of synthetic windows and of recorded scenes, measured in the same way.

    Attributes:
        synthetic, recorded: the distributions.
        synthetic_tracks, recorded_tracks: number of tracks behind them.
        distances: quantity -> Wasserstein distance, in the quantity's unit.
        steps: number of steps of each track.
    """

    synthetic: MotionDistributions
    recorded: MotionDistributions
    synthetic_tracks: int
    recorded_tracks: int
    distances: dict[str, float]
    steps: int


@dataclass(frozen=True)
class Evidence:
    """Everything that a test may use.

    Attributes:
        measured: errors of every variant and baseline.
        published: the published numbers.
        motion: motion of synthetic windows and recorded scenes (train split); None if only results are judged.
        gradient: `decoder_sees_encoder` -> how many encoder tensors the reconstruction loss trains.
        without_encoder_gain: variants whose pre-training hardly trained the encoder.
        undertrained: variants that reconstruct no better than simple predictors.
    """

    measured: Measurements
    published: Published
    motion: MotionEvidence | None
    gradient: Mapping[bool, GradientCheck]
    without_encoder_gain: frozenset[str] = frozenset()
    undertrained: frozenset[str] = frozenset()


def encoder_gradient(
    store: SceneStore, model: ModelParameters, objective: ObjectiveParameters
) -> dict[bool, GradientCheck]:
    """Count the tensors of a newly initialised encoder that the loss of a few windows trains.

    Returns:
        `decoder_sees_encoder` -> counts.
    """
    batch = collate(store, range(min(WINDOWS, len(store))))
    checks = {}
    for sees in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = MaskedAutoencoder(model, replace(objective, decoder_sees_encoder=sees), store.timing)
        network(batch).total.backward()
        gradients = [tensor.grad for tensor in network.encoder.parameters()]
        reached = sum(gradient is not None and bool(gradient.abs().max() > 0) for gradient in gradients)
        checks[sees] = GradientCheck(len(gradients), reached)
    return checks


def motion_evidence(synthetic: SceneStore, recorded: SceneStore, most: int, seed: int) -> MotionEvidence:
    """Measure the motion of at most `most` random tracks of each store, at even steps of 0.1 s, smoothed equally."""
    synthetic.timing.require(recorded.timing, "recorded scenes, beside the synthetic windows")
    ours, ours_count = _distributions(synthetic, most, seed)
    theirs, theirs_count = _distributions(recorded, most, seed)
    return MotionEvidence(ours, theirs, ours_count, theirs_count, compare(ours, theirs), synthetic.timing.steps)


def _distributions(store: SceneStore, most: int, seed: int) -> tuple[MotionDistributions, int]:
    chosen: npt.NDArray[np.int64] = np.arange(len(store))
    if len(store) > most:
        chosen = np.sort(generator(seed, "motion").choice(len(store), most, replace=False))
    # Recorded steps are uneven: if each counted as 0.1 s, a missing sweep would look like a fast step.
    even = even_tracks(agent_tracks(store, chosen), np.asarray(store.times[chosen], dtype=np.float64))
    smooth = savgol_filter(even, min(SMOOTHING_STEPS, (store.steps - 1) // 2 * 2 + 1), SMOOTHING_DEGREE, axis=1)
    return motion_distributions(smooth), len(chosen)


def _namespace(values: Any) -> Any:
    if isinstance(values, dict):
        return SimpleNamespace(**{str(key): _namespace(value) for key, value in values.items()})
    return values
