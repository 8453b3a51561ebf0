"""How metrics are called, in which unit they are shown and with how many digits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One metric as the report shows it.

    Attributes:
        name: its name in the metrics files.
        label: its name in the report.
        unit: as shown.
        digits: after the point.
        scale: shown value = stored value times this.
    """

    name: str
    label: str
    unit: str
    digits: int
    scale: float = 1.0

    def text(self, value: float) -> str:
        """A shown value with its digits and a real minus sign."""
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
ONE_GUESS = ("MR1", "minFDE1", "minADE1")  # of the likeliest trajectory alone


def metric(name: str) -> Metric:
    """The metric of this name; one that the report does not know is shown under its own name with three digits."""
    return METRICS.get(name, Metric(name, name.replace("_", "-"), "", 3))


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign and a real minus."""
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 seed, 2 seeds, 2,399 scenes."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
