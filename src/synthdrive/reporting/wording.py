"""Names of metrics, variants, kinds of scene and data sources in the report, and the format of its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One metric as the report shows it.

    Attributes:
        name: its name in the metrics files.
        label: its name in the report.
        unit: unit of the values shown.
        digits: number of digits after the point.
        scale: factor from stored to shown values.
    """

    name: str
    label: str
    unit: str
    digits: int
    scale: float = 1.0

    def text(self, value: float) -> str:
        """Format a value in the unit shown."""
        return f"{value:.{self.digits}f}".replace("-", "\N{MINUS SIGN}")


METRICS = {
    metric.name: metric
    for metric in (
        Metric("MR6", "MR6", "%", 2, 100.0),
        Metric("minFDE6", "minFDE6", "m", 3),
        Metric("minADE6", "minADE6", "m", 3),
        Metric("MR1", "MR1", "%", 2, 100.0),
        Metric("minFDE1", "minFDE1", "m", 3),
        Metric("minADE1", "minADE1", "m", 3),
        Metric("brier_minFDE6", "brier-minFDE6", "m", 3),
        Metric("brier_minADE6", "brier-minADE6", "m", 3),
        Metric("p_minFDE6", "p-minFDE6", "m", 3),
        Metric("p_minADE6", "p-minADE6", "m", 3),
        Metric("p_MR6", "p-MR6", "%", 2, 100.0),
    )
}

HEADLINE = ("MR6", "minFDE6", "minADE6")  # the paper's table, in its order
ONE_GUESS = ("MR1", "minFDE1", "minADE1")  # metrics of the most probable trajectory alone


LABELS = {
    "none": "No pre-training",
    "map": "Map reconstruction",
    "trajectory": "Trajectory reconstruction",
    "combined": "Combined",
    "as_released": "Combined, as released",
    "scene_reconstruction": "Scene reconstruction",
    "forecast": "Forecasting pre-training",
    "constant_velocity": "Constant velocity",
    "lane_following": "Lane following",
}

STRATA = {
    "all": "all scenes", "left": "left turns", "straight": "straight on", "right": "right turns", "slow": "slow",
    "medium": "medium speed", "fast": "fast", "intersection": "at intersections",
    "no_intersection": "away from intersections",
}  # fmt: skip

SOURCES = {  # data.source: (in a sentence, in a table)
    "sample": (
        "the embedded sample, SUMO traffic on streets of Berlin and Braunschweig",
        "embedded sample",
    ),
    "argoverse1": ("Argoverse 1 motion forecasting", "Argoverse 1"),
    "argoverse2": ("Argoverse 2 motion forecasting", "Argoverse 2"),
}


def metric(name: str) -> Metric:
    """Return the metric of this name; an unknown one is shown under its own name with three digits."""
    return METRICS.get(name, Metric(name, name.replace("_", "-"), "", 3))


def signed(value: float, digits: int = 2) -> str:
    """Format a number with its sign, using a real minus; a number that rounds to zero has none."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text[1:]


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: 1 seed, 2 seeds, 2,399 scenes."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def number_and_unit(name: str, value: float) -> str:
    """Format a metric's value with its unit: 1.915 m."""
    return f"{metric(name).text(value)} {metric(name).unit}"


def listed(words: Sequence[str]) -> str:
    """Join words for a sentence: one, two and three."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def label_of(name: str) -> str:
    """Return a variant's or baseline's name as shown; an unknown one keeps its name, with spaces."""
    return LABELS.get(name, name.replace("_", " "))


def source_in_words(source: str) -> str:
    """Return the data source as named in a sentence."""
    return SOURCES.get(source, (source, source))[0]


def short_source(source: str) -> str:
    """Return the short name of the data source."""
    return SOURCES.get(source, (source, source))[1]


def stratum_order(stratum: str) -> tuple[int, float, str]:
    """Return the sorting key of a kind of scene: first in the order of STRATA, then by displacement, then by name."""
    if stratum in STRATA:
        return list(STRATA).index(stratum), 0.0, stratum
    first = stratum.removeprefix("displacement_").removeprefix("from_").split("_")[0]
    return len(STRATA), float(first) if first.replace(".", "").isdigit() else float("inf"), stratum


def stratum_words(stratum: str) -> str:
    """Return a kind of scene in words."""
    if stratum.startswith("displacement_from_"):
        return f"moves {stratum.removeprefix('displacement_from_')} m or more"
    if stratum.startswith("displacement_"):
        low, high = stratum.removeprefix("displacement_").split("_")
        return f"moves {low} to {high} m"
    if stratum.startswith("type_"):
        return f"focal agent: {stratum.removeprefix('type_').replace('_', ' ')}"
    return STRATA.get(stratum, stratum.replace("_", " "))
