"""What a test of a claim may look at, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from synthdrive.reporting.encoder_gradient import GradientCheck
from synthdrive.reporting.measurements import Measurements
from synthdrive.reporting.metric_names import metric
from synthdrive.reporting.published import Published
from synthdrive.synthesis.windows import MotionDistributions


class Verdict(StrEnum):
    """What a test can say of a claim."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_TESTABLE = "not testable here"


@dataclass(frozen=True)
class Outcome:
    """What a test found.

    Attributes:
        measured: the value in words, empty where nothing was measured.
        verdict: the decision.
        why: the reason, one or two sentences.
    """

    measured: str
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Evidence:
    """Everything that a test may look at.

    Attributes:
        measured: errors of every variant and baseline.
        published: the published numbers.
        synthetic, recorded: motion of the synthetic windows and of the recorded target agents (train scenes).
        max_lane_distance: of each synthetic window, metres from the nearest centreline.
        gradient: by `decoder_sees_encoder`, how many encoder tensors the reconstruction loss reaches.
    """

    measured: Measurements
    published: Published
    synthetic: MotionDistributions
    recorded: MotionDistributions
    max_lane_distance: npt.NDArray[np.float64]
    gradient: Mapping[bool, GradientCheck]


def label(name: str) -> str:
    """A metric's name as shown."""
    return metric(name).label


def unit(name: str) -> str:
    """A metric's unit as shown."""
    return metric(name).unit


def level_text(name: str, value: float) -> str:
    """A metric's value with its unit."""
    return f"{metric(name).text(value)} {metric(name).unit}"
